"""Attention of two models compared on some quads, with intervals, and one example in full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import CELLS, Quad
from behavior.inputs import TextInput
from behavior.resampling import resample_units
from behavior.statistics import estimate_means
from patching import PatchableModel
from probes.attention import (
    all_heads,
    head_distances,
    overlap_attention,
    read_patterns,
)
from probes.stream import Progress
from probes.words import Word, patch_grid, shared_words, text_words

ATTENTION_QUADS = 48
_RESAMPLES = 400
ELSEWHERE = "elsewhere"

_ALIGNED, _CONFLICTING = (
    [i for i, cell in enumerate(CELLS) if cell in cells] for cells in ("AL", "NC")
)


@dataclass(frozen=True, slots=True)
class HeadPair:
    """Distance of a head of the teacher to one of the student, in bits, from 0 to 1.

    Attributes:
        teacher: Name.
        student: Name.
        aligned: On aligned inputs.
        conflicting: On conflicting inputs of the same quads.
        difference: Conflicting less aligned.
    """

    teacher: str
    student: str
    aligned: Estimate
    conflicting: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True)
class HeadOverlap:
    """Attention of a head to overlapping words beyond an even spread, as a share.

    Attributes:
        model: `teacher` or `student`.
        head: Name.
        high: Where the hypothesis repeats the premise's words (A and C).
        low: Where it does not (N and L).
    """

    model: str
    head: str
    high: Estimate
    low: Estimate


@dataclass(frozen=True, eq=False)
class ExampleView:
    """One example in both models.

    Attributes:
        text: The example.
        words: Words that both models see, or the numbers of patches; then `elsewhere`.
        tables: By model and by head: attention from word to word.
    """

    text: str
    words: tuple[str, ...]
    tables: Mapping[str, Mapping[str, Float[np.ndarray, "_ _"]]]


@dataclass(frozen=True, eq=False)
class AttentionFindings:
    """Attention of two models.

    Attributes:
        n_quads: On so many quads.
        pairs: Of heads of one kind.
        overlaps: Of each head; empty for images.
        example: Cell C of one quad: overlap without entailment, or the wrong colour.
    """

    n_quads: int
    pairs: tuple[HeadPair, ...]
    overlaps: tuple[HeadOverlap, ...]
    example: ExampleView


def compare_attention(
    models: Mapping[str, PatchableModel],
    quads: Sequence[Quad[Any]],
    progress: Progress | None = None,
    batch_size: int | None = None,
) -> AttentionFindings | None:
    """Compare the attention of teacher and student; None where one has none to be compared."""
    pair = {role: models[role] for role in ("teacher", "student")}
    if any(not model.modules.layers[0].has("pattern") for model in pair.values()):
        return None
    quads = quads[:ATTENTION_QUADS]
    inputs = [quad.cell(cell) for quad in quads for cell in CELLS]
    words = dict(zip(pair, shared_words(list(pair.values()), inputs), strict=True))
    if not any(words["teacher"]):
        return None
    found = {
        role: read_patterns(model, inputs, words[role], batch_size, progress)
        for role, model in pair.items()
    }
    draws = resample_units([q.id for q in quads], [q.template for q in quads], _RESAMPLES)
    distances = head_distances(found["teacher"], found["student"])
    table = distances.distances.reshape(len(quads), len(CELLS), -1).astype(np.float64)
    means = [_means(table[:, cells], draws) for cells in (_ALIGNED, _CONFLICTING)]
    gap = _means(table[:, _CONFLICTING] - table[:, _ALIGNED], draws)
    names = [(one, other) for one in distances.teacher for other in distances.student]
    pairs = [
        HeadPair(one, other, means[0][i], means[1][i], gap[i])
        for i, (one, other) in enumerate(names)
        if means[0][i].value is not None
    ]
    overlaps: list[HeadOverlap] = []
    for role, model in pair.items():
        try:
            shares = overlap_attention(model, inputs, words[role], found[role])
        except DataError:
            continue
        by_cell = shares.reshape(len(quads), len(CELLS), -1)
        high, low = (_means(by_cell[:, cells], draws) for cells in ([0, 2], [1, 3]))
        heads = zip(all_heads(found[role]), high, low, strict=True)
        overlaps += [HeadOverlap(role, head, one, other) for head, one, other in heads]
    at = CELLS.index("C")
    tables = {
        role: {
            head: table
            for stack, heads in patterns.heads.items()
            for head, table in zip(heads, patterns.tables[stack][at], strict=True)
        }
        for role, patterns in found.items()
    }
    shown = _example(pair["teacher"], quads[0].cell("C"), words["teacher"][at], tables)
    return AttentionFindings(len(quads), tuple(pairs), tuple(overlaps), shown)


def _means(values: Float[np.ndarray, "quad cell pair"], draws: Any) -> list[Estimate]:
    """Means over the quads; cells in which there is nothing do not count."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = np.where(known, values, 0.0).sum(axis=1) / counts
    reason = "nothing to be compared"
    return estimate_means(np.nan_to_num(means), draws, where=counts > 0, missing=reason)


def _example(
    model: PatchableModel,
    given: Any,
    words: Sequence[Word],
    tables: Mapping[str, Mapping[str, Float[np.ndarray, "_ _"]]],
) -> ExampleView:
    if not isinstance(given, TextInput):
        columns = patch_grid(model)[1]
        names = [f"{i // columns},{i % columns}" for i in range(len(words))]
        return ExampleView("an image, by patches (row, column)", (*names, ELSEWHERE), tables)
    spelt = {at: word for word, at in text_words(model, given)}
    # An axis of categories needs names that differ.
    names = [f"{i + 1} {spelt[at]}" for i, at in enumerate(words)]
    text = given.text if given.hypothesis is None else f"{given.text} | {given.hypothesis}"
    return ExampleView(text, (*names, ELSEWHERE), tables)
