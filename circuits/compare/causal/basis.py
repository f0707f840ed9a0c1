"""Do two models write into the same stream? Only then can one's activations be put into the other.

Two models share a basis if their streams are equally wide, see the same positions, and point the
same way: the cosine of the two streams of one token, the mean over all tokens taken away from
each, averaged over tokens and then over the rows of the student, is at least `SHARED`. Copies have
1; nets that were initialised apart have about 0, give or take 1 / sqrt(d_model); nets with the same
initial weights that were trained on different data had .2 to .6 here, which is not enough.

Rows are matched by the same numbers: equally many rows in order, otherwise each row of the student
with the row of the teacher, later than the one before, whose stream its own is most like.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from behavior.inputs import Input
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

SHARED = 0.7
MOST_INPUTS = 128


@dataclass(frozen=True, slots=True)
class StreamBasis:
    """Whether the student's stream is the teacher's, and which rows belong together.

    Attributes:
        shared: Whether activations may be exchanged.
        cosine: Mean over the student's rows; 0 where the streams cannot be compared.
        rows: [row of the student] position of the teacher's row.
        reason: Why not, in words; empty if shared.
        cosines: [row, other] of each row of the student with each of the teacher; None if their
            streams cannot be compared.
    """

    shared: bool
    cosine: float
    rows: tuple[int, ...]
    reason: str = ""
    cosines: Float[np.ndarray, "row other"] | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {
            "shared": self.shared,
            "cosine": self.cosine,
            "rows": list(self.rows),
            **({"reason": self.reason} if self.reason else {}),
        }


def stream_basis(
    teacher: PatchableModel, student: PatchableModel, inputs: Sequence[Input]
) -> StreamBasis:
    """Compare the streams of two models on some inputs.

    Args:
        teacher: One model.
        student: The other.
        inputs: That both read; the first `MOST_INPUTS` are used.
    """
    mine, theirs = student.modules.layers, teacher.modules.layers
    if [_kind(row) for row in mine][:1] != [_kind(row) for row in theirs][:1]:
        return StreamBasis(False, 0.0, (), "the models are of different kinds")
    if student.spec.d_model != teacher.spec.d_model:
        widths = f"{teacher.spec.d_model} and {student.spec.d_model}"
        return StreamBasis(False, 0.0, (), f"the streams have different widths, {widths}")
    if len(mine) > len(theirs):
        return StreamBasis(False, 0.0, (), "the student has more rows than the teacher")
    used = _alike(teacher, student, inputs[:MOST_INPUTS])
    if not used:
        return StreamBasis(False, 0.0, (), "the models cut the inputs into different tokens")
    found = _cosines(_streams(teacher, used), _streams(student, used))
    rows = _match_rows(found, mine, theirs)
    cosine = float(torch.stack([found[i, j] for i, j in enumerate(rows)]).mean())
    shared = cosine >= SHARED
    reason = "" if shared else f"the streams point different ways (mean cosine {cosine:.2f})"
    return StreamBasis(shared, cosine, tuple(rows), reason, found.cpu().numpy())


def _kind(row: LayerModules) -> tuple[str, bool]:
    return row.stack, row.is_image


def _alike(
    teacher: PatchableModel, student: PatchableModel, inputs: Sequence[Input]
) -> list[Input]:
    lengths = [[len(row) for row in model.encode(inputs)] for model in (teacher, student)]
    return [one for one, a, b in zip(inputs, *lengths, strict=True) if a == b]


def _streams(
    model: PatchableModel, inputs: Sequence[Input]
) -> list[Float[Tensor, "token d_model"]]:
    sites = [row.site("resid_post") for row in model.modules.layers]
    _, cache = model.run_with_cache(inputs, sites=sites)
    mask = model.encoder.batch(model.encode(inputs)).get("attention_mask")
    return [_centred(cache[site], mask) for site in sites]


def _centred(
    stream: Float[Tensor, "batch pos d_model"], mask: Tensor | None
) -> Float[Tensor, "token d_model"]:
    if mask is None or mask.shape[1] != stream.shape[1]:
        mask = torch.ones(stream.shape[:2], device=stream.device)
    kept = mask.bool()
    return stream[kept] - stream[kept].mean(dim=0)


def _cosines(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Float[Tensor, "row other"]:
    """By row of the student and of the teacher; -1 where they have other shapes."""
    found = torch.full((len(student), len(teacher)), -1.0)
    for i, mine in enumerate(student):
        for j, theirs in enumerate(teacher):
            if mine.shape == theirs.shape:
                found[i, j] = torch.cosine_similarity(mine, theirs, dim=-1).mean()
    return found


def _match_rows(
    cosines: Float[Tensor, "row other"],
    mine: Sequence[LayerModules],
    theirs: Sequence[LayerModules],
) -> list[int]:
    """The increasing map from rows to rows, of one stack each, with the largest sum of cosines."""
    if len(mine) == len(theirs):
        return list(range(len(mine)))
    n, m = cosines.shape
    best = torch.full((n + 1, m + 1), float("-inf"))
    best[0] = 0
    for i in range(1, n + 1):
        for j in range(i, m + 1):
            same = mine[i - 1].stack == theirs[j - 1].stack
            taken = best[i - 1, j - 1] + (cosines[i - 1, j - 1] if same else float("-inf"))
            best[i, j] = torch.maximum(best[i, j - 1], taken)
    rows, j = [0] * n, m
    for i in range(n, 0, -1):
        while j > i and best[i, j] == best[i, j - 1]:
            j -= 1
        rows[i - 1], j = j - 1, j - 1
    return rows
