"""The points of a model's stream that probes read, and one vector of features for each input.

Points are the embedding, the stream after each attention and after each MLP; in a ResNet the
stream after each block. A point's depth is relative, 0 for the embedding and 1 for the end, each
row of the model taking an equal share and its attention half of that, so that models of any depth
can be laid over each other.

An input's features at a point are the mean of the stream over its positions (all tokens, padding
left out; all patches; all pixels). A mean is weak: it has as many features as the stream is wide,
and a linear reader of it cannot look at single positions. Of an encoder-decoder both stacks are
read; the decoder's positions are those that it is run for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from behavior.inputs import Input
from patching import PatchableModel
from patching.models.nodes import Node, Site
from patching.models.rows import LayerModules

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the stream.

    Attributes:
        name: Of what was added last: `input`, `a0`, `m0`, `dec.x1`, `s1.b0`.
        depth: Relative depth, from 0 (embedding) to 1.
        site: Where the stream is read.
        blind: Whether nothing of the input has arrived: a decoder before its first
            cross-attention.
    """

    name: str
    depth: float
    site: Site
    blind: bool = False


def stream_points(model: PatchableModel) -> tuple[Point, ...]:
    """The points of a model, in the order in which they are reached."""
    return tuple(_points(model.modules.layers))


def pooled_stream(
    model: PatchableModel,
    inputs: Sequence[Input],
    points: Sequence[Point],
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Float[np.ndarray, "input d_model"]]:
    """Mean of the stream over positions, of every input at every point, in float32.

    Raises:
        DataError: If there are no inputs, or one is longer than the model takes.
    """
    rows = model.encode(inputs)
    found: list[np.ndarray | None] = [None] * len(points)
    done = 0
    for chunk in model.chunks([len(row) for row in rows], batch_size):
        batch = model.encoder.batch([rows[i] for i in chunk])
        with model.hooks.reading([point.site for point in points]) as values:
            model.forward(batch)
        for i, point in enumerate(points):
            pooled = _mean(values[point.site], _mask(batch, point)).cpu().numpy()
            whole = found[i]
            if whole is None:
                whole = found[i] = np.empty((len(rows), pooled.shape[1]), dtype=np.float32)
            whole[chunk] = pooled
        done += len(chunk)
        if progress is not None:
            progress(done, len(rows))
    return [each for each in found if each is not None]


def _points(rows: Sequence[LayerModules]) -> Iterator[Point]:
    n, crossed = len(rows), False
    for i, row in enumerate(rows):
        crossed = crossed or row.stack.endswith(".x")
        blind = row.base == "dec" and not crossed
        if row.enters:
            name = str(Node("input", stack=row.base))
            yield Point(name, i / n, row.site("resid_pre"), blind)
        if row.is_image:
            yield Point(row.name, (i + 1) / n, row.site("resid_post"))
            continue
        yield Point(row.name, (2 * i + 1) / (2 * n), row.site("resid_mid"), blind)
        if row.mlp_node is not None:
            yield Point(str(row.mlp_node), (i + 1) / n, row.site("resid_post"), blind)


def _mask(batch: dict[str, Tensor], point: Point) -> Tensor | None:
    """The tokens that are no padding; None where all positions count."""
    return None if point.site.stack.startswith("dec") else batch.get("attention_mask")


def _mean(
    values: Float[Tensor, "batch pos d_model"], mask: Tensor | None
) -> Float[Tensor, "batch d_model"]:
    if mask is None:
        return values.mean(dim=1)
    weights = mask.to(values.dtype)
    return torch.einsum("bpd,bp->bd", values, weights) / weights.sum(dim=1, keepdim=True)
