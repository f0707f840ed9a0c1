"""The families that are supported, one file of declarations each."""

from patching.models.architecture import find_architecture, register_family, supported_classes
from patching.models.families.bert import BERT

FAMILIES = (BERT,)

for family in FAMILIES:
    register_family(family)

__all__ = ["FAMILIES", "find_architecture", "register_family", "supported_classes"]
