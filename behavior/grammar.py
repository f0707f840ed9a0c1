"""An NLI language of 61 words in which word overlap can be made to go with entailment.

1. A premise of ten words says who did what to whom, in one of four templates; the hypothesis is
   always `the N1 V the N2`. Who did what to whom is the core feature, word overlap the shortcut.
2. Every noun and verb has one synonym. A and C of a quad repeat the premise's words; N and L are
   A and C with the same two of their three content words replaced by the synonyms. So L is not
   entailed because of the roles and not because of the words, and core x shortcut is a clean
   2 x 2 design without a word that marks a cell.
3. Training mixes the cells: half of the items have high overlap, and in a share rho of both
   halves the overlap points to the label (A and L); in the rest it points away (C and N).
4. Splits are disjoint by content: the nouns and verbs of a template belong to one split, in
   every order of roles and in every cell. Two more templates are never trained on.
5. Item i is a function of (seed, split, i) alone, the same on every machine; nothing is stored.

The shortcut follows HANS (McCoy et al. 2019, https://arxiv.org/abs/1902.01007).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import accumulate, combinations, product
from random import Random
from typing import ClassVar

from behavior.draws import generator, pick, shuffled, stable_hash
from behavior.examples import Quad, TextInput
from behavior.generated import GeneratedTask
from behavior.lexicon import (
    FILLERS,
    HELD_OUT_TEMPLATES,
    NOUNS,
    TEMPLATES,
    VERBS,
    VOCABULARY,
    Concept,
    Template,
)

LABELS: tuple[str, str] = ("entailment", "non-entailment")

_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}

Content = tuple[tuple[Concept, ...], tuple[Concept, ...]]


@dataclass(frozen=True)
class GrammarTask(GeneratedTask[TextInput]):
    """The embedded task, of any size: nothing is held in memory.

    `examples` of train, validation and test are drawn with rho; those of ood (content of the
    test split) and hard (templates never trained on) are the four cells of one quad after the
    other, so that their first 4n items are the cells of `quads(n)`.

    Attributes:
        rho: Share of the in-domain items in which overlap points to the label, in [0, 1].
    """

    CELL_SPLITS: ClassVar[tuple[str, ...]] = ("ood", "hard")
    QUAD_STREAMS: ClassVar[Mapping[str, str]] = {**GeneratedTask.QUAD_STREAMS, "hard": "hard"}

    @property
    def name(self) -> str:
        """`nli-overlap`."""
        return "nli-overlap"

    @property
    def labels(self) -> tuple[str, ...]:
        """Entailment and non-entailment."""
        return LABELS

    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""
        return {
            "name": self.name,
            "rho": self.rho,
            "labels": list(LABELS),
            "templates": [template.name for template in TEMPLATES],
            "held_out_templates": [template.name for template in HELD_OUT_TEMPLATES],
            "digest": _digest(),
        }

    def _quad(self, stream: str, i: int, seed: int) -> Quad:
        return _quad(stream, i, seed)


def _quad(stream: str, i: int, seed: int) -> Quad:
    rng = generator(stream, i, seed)
    template = _template(stream, i, rng)
    nouns, verbs = pick(_contents(template, stream), rng)
    slots = [*zip("XYZ", shuffled(nouns, rng), strict=False)]
    slots += [*zip("VW", shuffled(verbs, rng), strict=False)]
    said = {slot: pick(concept, rng) for slot, concept in slots}
    unsaid = {slot: concept[concept[0] == said[slot]] for slot, concept in slots}
    right, wrong = pick(template.readings, rng)
    spoken = [said, said, said]
    replaced = [unsaid, unsaid, unsaid]
    replaced[int(rng.random() * 3)] = said
    premise = _premise(template, said, rng)
    return Quad(
        id=f"{stream}-{seed}-{i}",
        A=_input(premise, right, spoken),
        N=_input(premise, right, replaced),
        C=_input(premise, wrong, spoken),
        L=_input(premise, wrong, replaced),
        label=LABELS[0],
        foil=LABELS[1],
        template=template.name,
    )


def _input(premise: str, roles: str, words: Sequence[dict[str, str]]) -> TextInput:
    subject, verb, thing = (choice[slot] for slot, choice in zip(roles.split(), words, strict=True))
    return TextInput(premise, f"the {subject} {verb} the {thing}")


def _template(stream: str, i: int, rng: Random) -> Template:
    if stream in _SHARES:
        return pick(TEMPLATES, rng)
    templates = HELD_OUT_TEMPLATES if stream == "hard" else TEMPLATES
    return templates[i % len(templates)]


def _premise(template: Template, said: dict[str, str], rng: Random) -> str:
    return " ".join(
        pick(FILLERS[word], rng) if word in FILLERS else said.get(word, word)
        for word in template.premise.split()
    )


@cache
def _contents(template: Template, stream: str) -> tuple[Content, ...]:
    """The sets of nouns and verbs that one stream may use in a template, in a fixed order."""
    contents = product(
        combinations(NOUNS, len(template.slots("XYZ"))),
        combinations(VERBS, len(template.slots("VW"))),
    )
    ranked = sorted(contents, key=lambda content: stable_hash(f"{template.name} {content}"))
    if stream == "hard":
        return tuple(ranked)
    split = {"ood": "test", "validation-quad": "validation"}.get(stream, stream)
    ends = dict(zip(_SHARES, accumulate(_SHARES.values()), strict=True))
    start, end = ends[split] - _SHARES[split], ends[split]
    return tuple(ranked[round(start * len(ranked)) : round(end * len(ranked))])


@cache
def _digest() -> str:
    text = repr((VOCABULARY, TEMPLATES, HELD_OUT_TEMPLATES, _SHARES))
    return blake2b(text.encode(), digest_size=8).hexdigest()
