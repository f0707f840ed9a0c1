"""T5 as a sequence classifier; TransformerLens has the conditional generator."""

from patching.models.backends.adapters.declaration import LensAdapter

T5 = LensAdapter(
    model_class="T5ForSequenceClassification",
    body="T5ForConditionalGeneration",
    unembed="classification_head.out_proj",
    head={"classifier_dense": "classification_head.dense"},
    prefix="transformer.",
)
