"""Keeps the pairs and quads whose inputs a model sees as aligned.

Patching moves activations from one run into another, position by position, which means something
only if both texts have as many tokens, and the second text starts at the same one, or both images
reach the model with the same size. All depend on the model's tokenizer or image processor, so
alignment is a property of a pair *for* a model.
"""

from collections import Counter
from collections.abc import Sequence

from behavior.errors import DataError
from behavior.examples import CELLS, Input, InputT_co, Pairs, Quad, SourceReport
from patching.models.encoders import EncodedInput
from patching.models.image_encoding import ImageEncoder
from patching.models.model import PatchableModel

AlignmentReport = SourceReport
"""How many were kept, and how many were dropped, by reason."""


def align_pairs(
    model: PatchableModel, pairs: Pairs[InputT_co]
) -> tuple[Pairs[InputT_co], AlignmentReport]:
    """The pairs whose clean and corrupted inputs are aligned, in order, and what was dropped.

    Raises:
        DataError: If no pair is left.
    """
    reasons = _reasons(model, (pairs.clean, pairs.corrupted))
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    report = _report(reasons)
    if not kept:
        raise DataError(_nothing_left(model, "pair", report))
    return pairs.take(kept), report


def align_quads(
    model: PatchableModel, quads: Sequence[Quad[InputT_co]]
) -> tuple[tuple[Quad[InputT_co], ...], AlignmentReport]:
    """The quads whose four inputs are aligned, in order, and what was dropped.

    Raises:
        DataError: If no quad is left.
    """
    reasons = _reasons(model, [[quad.cell(cell) for quad in quads] for cell in CELLS])
    kept = tuple(quad for quad, reason in zip(quads, reasons, strict=True) if reason is None)
    report = _report(reasons)
    if not kept:
        raise DataError(_nothing_left(model, "quad", report))
    return kept, report


def encode_aligned(
    model: PatchableModel, pairs: Pairs[Input]
) -> tuple[list[EncodedInput], list[EncodedInput]]:
    """The clean and the corrupted inputs as the model's encoder keeps them.

    Raises:
        DataError: If there are no pairs, or one is not aligned.
    """
    if not len(pairs):
        raise DataError("There are no pairs. Give at least one.")
    clean, corrupted = model.encode(pairs.clean), model.encode(pairs.corrupted)
    for i, (a, b) in enumerate(zip(clean, corrupted, strict=True)):
        if reason := model.encoder.misalignment([a, b]):
            counts = f", {len(a)} and {len(b)} tokens" if len(a) != len(b) else ""
            raise DataError(
                f"Pair {i} ({pairs.units[i]!r}) has inputs {reason}{counts}. Choose the aligned "
                "pairs with align_pairs first."
            )
    return list(clean), list(corrupted)


def _reasons(model: PatchableModel, columns: Sequence[Sequence[Input]]) -> list[str | None]:
    """Why each row of inputs is not aligned; None where it is."""
    encoded = [model.encoder.encode(column) for column in columns]
    return [model.encoder.misalignment(row) for row in zip(*encoded, strict=True)]


def _report(reasons: Sequence[str | None]) -> AlignmentReport:
    dropped = Counter(reason for reason in reasons if reason is not None)
    return AlignmentReport(kept=reasons.count(None), dropped=dict(dropped))


def _nothing_left(model: PatchableModel, item: str, report: AlignmentReport) -> str:
    if isinstance(model.encoder, ImageEncoder):
        return (
            f"No {item} is pixel-aligned for {model.name!r}: {report}. Within a {item}, images "
            "need one size; set height and width as size in preprocessor_config.json."
        )
    return (
        f"No {item} is token-aligned for {model.name!r}: {report}. Within a {item}, inputs need "
        "equal numbers of tokens in each text."
    )
