"""GPT-2 as a sequence classifier."""

from patching.models.backends.adapters.declaration import LensAdapter

GPT2 = LensAdapter(
    model_class="GPT2ForSequenceClassification",
    body="GPT2LMHeadModel",
    unembed="score",
)
