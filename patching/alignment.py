"""Keeps the pairs and quads whose inputs a model sees as token-aligned.

Patching moves activations from one run into another, position by position, which means something
only if both inputs have as many tokens, and the second text starts at the same one. Both depend on
the model's tokenizer, so alignment is a property of a pair *for* a model.
"""

from collections import Counter
from collections.abc import Sequence

from behavior.errors import DataError
from behavior.examples import CELLS, Pairs, Quad, SourceReport, TextInput
from patching.models.encoding import Encoded
from patching.models.model import PatchableModel

AlignmentReport = SourceReport
"""How many were kept, and how many were dropped, by reason."""

_LENGTHS = "with different numbers of tokens"
_BOUNDARIES = "whose second text starts at different tokens"
_LONG = "longer than the model takes"


def align_pairs(model: PatchableModel, pairs: Pairs) -> tuple[Pairs, AlignmentReport]:
    """The pairs whose clean and corrupted inputs are aligned, in order, and what was dropped.

    Raises:
        DataError: If no pair is left.
    """
    rows = _rows(model, (pairs.clean, pairs.corrupted))
    reasons = [_misaligned(model, pair) for pair in rows]
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    report = _report(reasons)
    if not kept:
        raise DataError(_nothing_left(model, "pair", report))
    return pairs.take(kept), report


def align_quads(
    model: PatchableModel, quads: Sequence[Quad]
) -> tuple[tuple[Quad, ...], AlignmentReport]:
    """The quads whose four inputs are aligned, in order, and what was dropped.

    Raises:
        DataError: If no quad is left.
    """
    cells = tuple([quad.cell(cell) for quad in quads] for cell in CELLS)
    reasons = [_misaligned(model, four) for four in _rows(model, cells)]
    kept = tuple(quad for quad, reason in zip(quads, reasons, strict=True) if reason is None)
    report = _report(reasons)
    if not kept:
        raise DataError(_nothing_left(model, "quad", report))
    return kept, report


def encode_aligned(model: PatchableModel, pairs: Pairs) -> tuple[list[Encoded], list[Encoded]]:
    """Token ids of the clean and the corrupted inputs.

    Raises:
        DataError: If there are no pairs, or one is not aligned.
    """
    if not len(pairs):
        raise DataError("There are no pairs. Give at least one.")
    clean, corrupted = model.encode(pairs.clean), model.encode(pairs.corrupted)
    for i, pair in enumerate(zip(clean, corrupted, strict=True)):
        if reason := _misaligned(model, pair):
            raise DataError(
                f"Pair {i} ({pairs.units[i]!r}) has inputs {reason}, {len(pair[0])} and "
                f"{len(pair[1])} tokens. Choose the aligned pairs with align_pairs first."
            )
    return clean, corrupted


def _rows(
    model: PatchableModel, columns: Sequence[Sequence[TextInput]]
) -> list[tuple[Encoded, ...]]:
    encoded = [model.encoder.encode(column) for column in columns]
    return list(zip(*encoded, strict=True))


def _misaligned(model: PatchableModel, rows: Sequence[Encoded]) -> str | None:
    if len({len(row) for row in rows}) > 1:
        return _LENGTHS
    if len({(row.second_start, row.types.tobytes()) for row in rows}) > 1:
        return _BOUNDARIES
    return _LONG if len(rows[0]) > model.spec.max_length else None


def _report(reasons: Sequence[str | None]) -> AlignmentReport:
    dropped = Counter(reason for reason in reasons if reason is not None)
    return AlignmentReport(kept=reasons.count(None), dropped=dict(dropped))


def _nothing_left(model: PatchableModel, item: str, report: AlignmentReport) -> str:
    return (
        f"No {item} is token-aligned for {model.name!r}: {report}. Within a {item}, inputs need "
        "equal numbers of tokens in each text."
    )
