"""DistilBERT: post-norm encoder without token types or pooler."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

DISTILBERT = Architecture(
    family="distilbert",
    model_type="distilbert",
    model_class="DistilBertForSequenceClassification",
    stacks=(
        StackPaths(
            layers="distilbert.transformer.layer",
            embedding="distilbert.embeddings",
            rows=(
                RowPaths(
                    attention="attention",
                    o="attention.out_lin",
                    norm="sa_layer_norm",
                    q="attention.q_lin",
                    k="attention.k_lin",
                    v="attention.v_lin",
                    mlp="ffn",
                    mlp_norm="output_layer_norm",
                ),
            ),
            n_layers="n_layers",
        ),
    ),
    layout="post-norm",
    reads="first token",
    head=("first token", "pre_classifier", "relu", "classifier"),
    n_heads="n_heads",
    d_model="dim",
)
