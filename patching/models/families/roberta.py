"""RoBERTa: as BERT, with positions that are counted from the id of the padding token."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

ROBERTA = Architecture(
    family="roberta",
    model_type="roberta",
    model_class="RobertaForSequenceClassification",
    stacks=(
        StackPaths(
            layers="roberta.encoder.layer",
            embedding="roberta.embeddings",
            rows=(
                RowPaths(
                    attention="attention.self",
                    o="attention.output.dense",
                    norm="attention.output.LayerNorm",
                    q="attention.self.query",
                    k="attention.self.key",
                    v="attention.self.value",
                    mlp="output.dense",
                    mlp_in="intermediate",
                    mlp_norm="output.LayerNorm",
                ),
            ),
        ),
    ),
    layout="post-norm",
    reads="first token",
    head=("first token", "classifier.dense", "tanh", "classifier.out_proj"),
    positions_follow_padding=True,
    token_types="type_vocab_size",
)
