"""DistilBERT: post-norm encoder without token types or pooler."""

from patching.models.architecture import Architecture

DISTILBERT = Architecture(
    family="distilbert",
    model_type="distilbert",
    model_class="DistilBertForSequenceClassification",
    embedding="distilbert.embeddings",
    layers="distilbert.transformer.layer",
    attention="attention",
    q="attention.q_lin",
    k="attention.k_lin",
    v="attention.v_lin",
    o="attention.out_lin",
    attention_norm="sa_layer_norm",
    mlp="ffn.lin2",
    mlp_norm="output_layer_norm",
    layout="post-norm",
    reads="first token",
    n_layers="n_layers",
    n_heads="n_heads",
    d_model="dim",
    token_types=None,
)
