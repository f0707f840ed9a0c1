"""ResNet, basic or bottleneck: the hidden channels of each block in groups, which act as heads."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

RESNET = Architecture(
    family="resnet",
    model_type="resnet",
    model_class="ResNetForImageClassification",
    stacks=(
        StackPaths(
            name="s",
            layers="resnet.encoder.stages.*.layers",
            embedding="resnet.embedder",
            rows=(
                RowPaths(
                    attention="layer",
                    o="layer.-1.convolution",
                    norm="layer.-1.normalization",
                    shortcut="shortcut",
                    activation="activation",
                ),
            ),
            n_layers=None,
        ),
    ),
    layout="convolution",
    reads="all tokens",
    head=("mean", "classifier.1"),
    modality="image",
    n_heads=None,
    d_model=None,
    max_length=None,
)
