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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import accumulate, combinations, count, islice, product
from random import Random
from typing import TypeVar

from behavior.errors import DataError
from behavior.examples import (
    CELLS,
    Cell,
    Contrast,
    Example,
    Pairs,
    Quad,
    SourceReport,
    TextInput,
    pairs_from_quads,
)
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
SPLITS: tuple[str, ...] = ("train", "validation", "test", "ood", "hard")

_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_QUAD_STREAMS = {"validation": "validation-quad", "test": "ood", "hard": "hard"}

Content = tuple[tuple[Concept, ...], tuple[Concept, ...]]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class GrammarTask:
    """The embedded task, of any size: nothing is held in memory.

    `examples` of train, validation and test are drawn with rho; those of ood (content of the
    test split) and hard (templates never trained on) are the four cells of one quad after the
    other, so that their first 4n items are the cells of `quads(n)`.

    Attributes:
        rho: Share of the in-domain items in which overlap points to the label, in [0, 1].
    """

    rho: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.rho <= 1:
            raise DataError(
                f"rho is {self.rho}, but it is the share of items in which the shortcut points "
                "to the label. Give a number from 0 to 1, such as 0.99."
            )

    @property
    def name(self) -> str:
        """`nli-overlap`."""
        return "nli-overlap"

    @property
    def labels(self) -> tuple[str, ...]:
        """Entailment and non-entailment."""
        return LABELS

    @property
    def splits(self) -> tuple[str, ...]:
        """In-domain: train, validation, test; cells in equal numbers: ood, hard."""
        return SPLITS

    @property
    def has_quads(self) -> bool:
        """True."""
        return True

    @property
    def n_quads(self) -> int | None:
        """None: there is no end of quads."""
        return None

    @property
    def reports(self) -> Mapping[str, SourceReport]:
        """Empty: nothing was read, so nothing was dropped."""
        return {}

    def n_pairs(self, contrast: Contrast) -> int | None:
        """None: there is no end of pairs."""
        return None

    def examples(self, split: str, n: int | None = None, seed: int = 0) -> Iterator[Example]:
        """The first n items of a split, or without end; `group` is the cell.

        Raises:
            DataError: If there is no such split, or n is negative.
        """
        if split not in SPLITS:
            raise DataError(f"Unknown split {split!r}. Expected one of: {', '.join(SPLITS)}.")
        if n is not None and n < 0:
            raise DataError(f"n is {n}, but a number of examples is at least 0.")
        make = self._cell_by_cell if split in ("ood", "hard") else self._in_domain
        return islice((make(split, i, seed) for i in count()), n)

    def training_quad(self, i: int, seed: int = 0) -> Quad:
        """The quad that item i of the train split is one cell of.

        Its other cells are the item's counterfactual twins: other roles, other overlap, or both.
        """
        return _quad("train", i, seed)

    def quads(self, n: int, seed: int = 0, split: str = "test") -> tuple[Quad, ...]:
        """Quads, the templates in turn: from the content of test, or of validation, or hard.

        Raises:
            DataError: If the split holds no quads, or n is not positive.
        """
        if split not in _QUAD_STREAMS:
            raise DataError(
                f"No quads are made for split {split!r}. Expected test, validation or hard."
            )
        if n < 1:
            raise DataError(f"n is {n}, but a number of quads is at least 1.")
        return tuple(_quad(_QUAD_STREAMS[split], i, seed) for i in range(n))

    def pairs(self, contrast: Contrast, n: int = 256, seed: int = 0, split: str = "test") -> Pairs:
        """Pairs, n of them: both pairs of each of the first ceil(n / 2) quads, cut to n.

        Raises:
            DataError: If the split holds no quads, or n is not positive.
        """
        quads = self.quads((n + 1) // 2, seed, split)
        return pairs_from_quads(quads, contrast).take(range(n))

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

    def _in_domain(self, split: str, i: int, seed: int) -> Example:
        cell = _cell(_generator(f"{split}-cell", i, seed), self.rho)
        return _quad(split, i, seed).example(cell)

    def _cell_by_cell(self, split: str, i: int, seed: int) -> Example:
        return _quad(split, i // len(CELLS), seed).example(CELLS[i % len(CELLS)])


def _quad(stream: str, i: int, seed: int) -> Quad:
    rng = _generator(stream, i, seed)
    template = _template(stream, i, rng)
    nouns, verbs = _pick(_contents(template, stream), rng)
    slots = [*zip("XYZ", _shuffled(nouns, rng), strict=False)]
    slots += [*zip("VW", _shuffled(verbs, rng), strict=False)]
    said = {slot: _pick(concept, rng) for slot, concept in slots}
    unsaid = {slot: concept[concept[0] == said[slot]] for slot, concept in slots}
    right, wrong = _pick(template.readings, rng)
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


def _cell(rng: Random, rho: float) -> Cell:
    aligned, high_overlap = rng.random() < rho, rng.random() < 0.5
    if high_overlap:
        return "A" if aligned else "C"
    return "L" if aligned else "N"


def _template(stream: str, i: int, rng: Random) -> Template:
    if stream in _SHARES:
        return _pick(TEMPLATES, rng)
    templates = HELD_OUT_TEMPLATES if stream == "hard" else TEMPLATES
    return templates[i % len(templates)]


def _premise(template: Template, said: dict[str, str], rng: Random) -> str:
    return " ".join(
        _pick(FILLERS[word], rng) if word in FILLERS else said.get(word, word)
        for word in template.premise.split()
    )


@cache
def _contents(template: Template, stream: str) -> tuple[Content, ...]:
    """The sets of nouns and verbs that one stream may use in a template, in a fixed order."""
    contents = product(
        combinations(NOUNS, len(template.slots("XYZ"))),
        combinations(VERBS, len(template.slots("VW"))),
    )
    ranked = sorted(contents, key=lambda content: _hash(f"{template.name} {content}"))
    if stream == "hard":
        return tuple(ranked)
    split = {"ood": "test", "validation-quad": "validation"}.get(stream, stream)
    ends = dict(zip(_SHARES, accumulate(_SHARES.values()), strict=True))
    start, end = ends[split] - _SHARES[split], ends[split]
    return tuple(ranked[round(start * len(ranked)) : round(end * len(ranked))])


def _generator(stream: str, i: int, seed: int) -> Random:
    return Random(_hash(f"{stream} {seed} {i}"))


def _hash(text: str) -> int:
    # hash() differs from run to run.
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _pick(items: Sequence[Item], rng: Random) -> Item:
    # Only random() is promised to stay the same in later versions of Python; choice() is not.
    return items[int(rng.random() * len(items))]


def _shuffled(items: Sequence[Item], rng: Random) -> list[Item]:
    return sorted(items, key=lambda _: rng.random())


@cache
def _digest() -> str:
    text = repr((VOCABULARY, TEMPLATES, HELD_OUT_TEMPLATES, _SHARES))
    return blake2b(text.encode(), digest_size=8).hexdigest()
