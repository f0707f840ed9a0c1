"""DistilBERT: BERT's parts in other places, without token types or pooler."""

from patching.models.backends.adapters.declaration import LensAdapter

DISTILBERT = LensAdapter(
    model_class="DistilBertForSequenceClassification",
    body="BertForMaskedLM",
    unembed="classifier",
    head={"classifier_dense": "pre_classifier"},
    dropped=("mlm_head", "ln_final", "token_type_embed"),
    moved={
        "embed": "distilbert.embeddings.word_embeddings",
        "pos_embed": "distilbert.embeddings.position_embeddings",
        "embed_ln": "distilbert.embeddings.LayerNorm",
        "blocks": "distilbert.transformer.layer",
        "blocks.ln1": "sa_layer_norm",
        "blocks.ln2": "output_layer_norm",
        "blocks.attn.q": "q_lin",
        "blocks.attn.k": "k_lin",
        "blocks.attn.v": "v_lin",
        "blocks.attn.o": "out_lin",
        "blocks.mlp.in": "ffn.lin1",
        "blocks.mlp.out": "ffn.lin2",
    },
)
