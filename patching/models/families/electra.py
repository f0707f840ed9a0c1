"""ELECTRA: as BERT; an embedding narrower than the stream is projected to its width."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

ELECTRA = Architecture(
    family="electra",
    model_type="electra",
    model_class="ElectraForSequenceClassification",
    stacks=(
        StackPaths(
            layers="electra.encoder.layer",
            embedding=("electra.embeddings_project", "electra.embeddings"),
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
    head=("first token", "classifier.dense", "gelu", "classifier.out_proj"),
    token_types="type_vocab_size",
)
