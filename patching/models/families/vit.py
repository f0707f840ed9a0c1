"""ViT and DeiT: pre-norm encoders of image patches whose classifier reads the first token."""

from patching.models.architecture import Architecture, RowPaths, StackPaths


def vision_transformer(family: str, model_class: str, base: str) -> Architecture:
    """The declaration that both share; `base` is the attribute that holds the encoder."""
    return Architecture(
        family=family,
        model_type=family,
        model_class=model_class,
        stacks=(
            StackPaths(
                layers=f"{base}.layers",
                embedding=f"{base}.embeddings",
                rows=(
                    RowPaths(
                        attention="attention",
                        o="attention.o_proj",
                        norm="layernorm_before",
                        q="attention.q_proj",
                        k="attention.k_proj",
                        v="attention.v_proj",
                        mlp="mlp",
                        mlp_norm="layernorm_after",
                    ),
                ),
            ),
        ),
        layout="pre-norm",
        reads="first token",
        head=("first token", f"{base}.layernorm", "classifier"),
        modality="image",
        max_length=None,
    )


VIT = vision_transformer("vit", "ViTForImageClassification", "vit")
DEIT = vision_transformer("deit", "DeiTForImageClassification", "deit")
