"""BERT: post-norm encoder whose classifier reads the first token."""

from patching.models.architecture import Architecture

BERT = Architecture(
    family="bert",
    model_type="bert",
    model_class="BertForSequenceClassification",
    embedding="bert.embeddings",
    layers="bert.encoder.layer",
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
