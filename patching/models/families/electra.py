"""ELECTRA: as BERT; an embedding narrower than the stream is projected to its width."""

from patching.models.architecture import Architecture

ELECTRA = Architecture(
    family="electra",
    model_type="electra",
    model_class="ElectraForSequenceClassification",
    embedding=("electra.embeddings_project", "electra.embeddings"),
    layers="electra.encoder.layer",
    attention="attention.self",
    q="attention.self.query",
    k="attention.self.key",
    v="attention.self.value",
    o="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    mlp="output.dense",
    mlp_norm="output.LayerNorm",
    layout="post-norm",
    reads="first token",
)
