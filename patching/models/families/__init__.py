"""The families that are supported, one file of declarations each."""

from patching.models.architecture import find_architecture, register_family, supported_classes
from patching.models.families.bert import BERT
from patching.models.families.distilbert import DISTILBERT
from patching.models.families.electra import ELECTRA
from patching.models.families.roberta import ROBERTA

FAMILIES = (BERT, ROBERTA, DISTILBERT, ELECTRA)

for family in FAMILIES:
    register_family(family)

__all__ = ["FAMILIES", "find_architecture", "register_family", "supported_classes"]
