"""TransformerLens adapters for classifiers that it has none for: one file of declarations each.

TransformerLens 4.3 describes the body of these models, but with the head of a language model.
`ADAPTED` says, by transformers class, whose body it is and where the classifier is;
`adapter_class` makes TransformerLens' adapter of it.
"""

from patching.models.backends.adapters.bert import BERT, ELECTRA, ROBERTA
from patching.models.backends.adapters.declaration import LensAdapter, adapter_class
from patching.models.backends.adapters.distilbert import DISTILBERT
from patching.models.backends.adapters.gpt2 import GPT2
from patching.models.backends.adapters.t5 import T5

ADAPTED = {
    declared.model_class: declared for declared in (BERT, ROBERTA, ELECTRA, DISTILBERT, T5, GPT2)
}

__all__ = ["ADAPTED", "LensAdapter", "adapter_class"]
