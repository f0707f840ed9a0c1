"""RoBERTa: as BERT, with positions that are counted from the id of the padding token."""

from patching.models.architecture import Architecture

ROBERTA = Architecture(
    family="roberta",
    model_type="roberta",
    model_class="RobertaForSequenceClassification",
    embedding="roberta.embeddings",
    layers="roberta.encoder.layer",
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
    positions_follow_padding=True,
)
