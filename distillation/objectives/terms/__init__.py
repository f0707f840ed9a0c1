"""What a student is asked besides its teacher's logits, one file per term.

A term compares activations of student and teacher (hidden states, attention, relations of queries,
keys and values, where a convolution looks), or what their heads do. `terms` of the objective
`logit-distillation` lists them with their weights.
"""

from distillation.objectives.terms.attention import AttentionTerm
from distillation.objectives.terms.attention_transfer import AttentionTransferTerm
from distillation.objectives.terms.circuit import CircuitTerm
from distillation.objectives.terms.hidden import HiddenTerm
from distillation.objectives.terms.relations import RelationsTerm
from distillation.objectives.terms.term import Step, Term, TermLoss

__all__ = ["TERMS", "Step", "Term", "TermLoss", "term_name"]

TERMS: dict[str, type[Term]] = {
    "attention": AttentionTerm,
    "attention-transfer": AttentionTransferTerm,
    "circuit": CircuitTerm,
    "hidden": HiddenTerm,
    "relations": RelationsTerm,
}
"""Adding a term is one file and one line here."""


def term_name(term: Term) -> str:
    """The name that recipes call a term by."""
    return next(name for name, kind in TERMS.items() if kind is type(term))
