"""Words and templates of the embedded NLI language.

A premise has ten words. Its capitals are slots: X, Y, Z are nouns, V, W verbs, and each name of
`FILLERS` stands for a free choice that decides nothing. A hypothesis is named by its roles:
`X V Y` is read `the X V the Y`.
"""

from dataclasses import dataclass

Concept = tuple[str, str]
"""Two words of one meaning."""

NOUNS: tuple[Concept, ...] = (
    ("doctor", "physician"),
    ("lawyer", "attorney"),
    ("teacher", "instructor"),
    ("author", "writer"),
    ("actor", "performer"),
    ("child", "kid"),
    ("sailor", "seaman"),
    ("student", "pupil"),
)
VERBS: tuple[Concept, ...] = (
    ("helped", "aided"),
    ("noticed", "spotted"),
    ("called", "phoned"),
    ("liked", "enjoyed"),
    ("scared", "frightened"),
    ("followed", "trailed"),
)
_ADJECTIVES = "tall young quiet clever tired famous polite nervous friendly busy"
_ADVERBS = "yesterday today recently often again suddenly briefly eventually"
FILLERS: dict[str, tuple[str, ...]] = {
    "ADJ": tuple(_ADJECTIVES.split()),
    "ADV": tuple(_ADVERBS.split()),
    "PREP": ("near", "behind", "beside", "with"),
    "PLACE": ("park", "garden", "station", "library", "market", "office"),
}
FUNCTION_WORDS: tuple[str, ...] = ("the", "was", "by", "who", "in")

VOCABULARY: tuple[str, ...] = (
    *FUNCTION_WORDS,
    *(word for concept in (*NOUNS, *VERBS) for word in concept),
    *(word for words in FILLERS.values() for word in words),
)
"""Every word of the language; each is one token."""


@dataclass(frozen=True, slots=True)
class Template:
    """One form of premise, with what follows from it.

    Attributes:
        name: Cluster name, stored as `Example.template`.
        premise: Ten words and slots.
        readings: Pairs of hypotheses, what follows and what does not, by their roles.
    """

    name: str
    premise: str
    readings: tuple[tuple[str, str], ...]

    def slots(self, letters: str) -> tuple[str, ...]:
        """The slots of the premise that are among these letters, in their order."""
        return tuple(word for word in self.premise.split() if word in tuple(letters))


TEMPLATES: tuple[Template, ...] = (
    Template("active", "the ADJ X V the ADJ Y in the PLACE", (("X V Y", "Y V X"),)),
    Template("passive", "the ADJ X was V by the ADJ Y ADV", (("Y V X", "X V Y"),)),
    Template("prep", "the X PREP the Y V the ADJ Z ADV", (("X V Z", "Y V Z"), ("X V Z", "Z V X"))),
    Template("subjrel", "the X who V the Y W the Z ADV", (("X W Z", "Y W Z"), ("X V Y", "Y V X"))),
)
HELD_OUT_TEMPLATES: tuple[Template, ...] = (
    Template("passive-place", "the X was V by the Y in the PLACE", (("Y V X", "X V Y"),)),
    Template(
        "object-prep", "the ADJ X V the Y PREP the Z ADV", (("X V Y", "X V Z"), ("X V Y", "Y V X"))
    ),
)
