"""The families that are supported, one file of declarations each."""

from patching.models.architecture import find_architecture, register_family, supported_classes
from patching.models.families.bert import BERT
from patching.models.families.distilbert import DISTILBERT
from patching.models.families.electra import ELECTRA
from patching.models.families.gpt2 import GPT2
from patching.models.families.resnet import RESNET
from patching.models.families.roberta import ROBERTA
from patching.models.families.t5 import T5, T5_WORDS
from patching.models.families.vit import DEIT, VIT

FAMILIES = (BERT, ROBERTA, DISTILBERT, ELECTRA, T5, T5_WORDS, VIT, DEIT, RESNET, GPT2)

for family in FAMILIES:
    register_family(family)

__all__ = ["FAMILIES", "find_architecture", "register_family", "supported_classes"]
