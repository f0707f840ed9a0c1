"""BERT, RoBERTa and ELECTRA with a classifier in place of the language model's head."""

from patching.models.backends.adapters.declaration import LensAdapter

BERT = LensAdapter(
    model_class="BertForSequenceClassification",
    body="BertForMaskedLM",
    unembed="classifier",
    dropped=("mlm_head", "ln_final"),
)

ROBERTA = LensAdapter(
    model_class="RobertaForSequenceClassification",
    body="RobertaForMaskedLM",
    unembed="classifier.out_proj",
    head={"classifier_dense": "classifier.dense"},
    dropped=("mlm_head", "ln_final"),
)

ELECTRA = LensAdapter(
    model_class="ElectraForSequenceClassification",
    body="BertForMaskedLM",
    unembed="classifier.out_proj",
    head={"classifier_dense": "classifier.dense"},
    dropped=("mlm_head", "ln_final"),
    moved={
        "embed": "electra.embeddings.word_embeddings",
        "token_type_embed": "electra.embeddings.token_type_embeddings",
        "pos_embed": "electra.embeddings.position_embeddings",
        "embed_ln": "electra.embeddings.LayerNorm",
        "blocks": "electra.encoder.layer",
    },
)
