"""Where a head looks on one example: its attention over words, or over the patches of an image.

A head has as many patterns as positions that it writes to. Shown is the one of the position at
which it writes most differently when the contrast is turned (by the norm of the change of
`z W_O`), because that is what its effect comes from: in a lower layer that is a word, in the last
one the token that the classifier reads. Attention into the tokens of a word is summed.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.inputs import ImageInput, Input
from circuits.compare.storage import Json
from patching import PatchableModel
from patching.models.encoding import TextEncoder
from patching.models.nodes import Node, Site

_DIGITS = 4


def can_look(model: PatchableModel, node: str) -> bool:
    """Whether a head reads the input by attention.

    A decoder's self-attention looks at what the decoder is given, so it does not count.
    """
    parsed = Node.parse(node)
    rows = {row.name: row for row in model.modules.layers}
    return parsed.stack != "dec" and rows[parsed.row].has("pattern")


def where_it_looks(model: PatchableModel, given: Input, other: Input, node: str) -> Json:
    """Attention of a head on one input, from the position where it differs most from another.

    Args:
        model: A model with attention.
        given: The input that is shown.
        other: The same but for the contrast, aligned with it position by position.
        node: Name of the head.
    """
    return where_they_look(model, given, other, [node])[0]


def where_they_look(
    model: PatchableModel, given: Input, other: Input, nodes: Sequence[str]
) -> list[Json]:
    """The same of several heads at once."""
    places = {node: _sites(node) for node in nodes}
    written = list(dict.fromkeys(written.whole for _, written in places.values()))
    patterns = list(dict.fromkeys(pattern.whole for pattern, _ in places.values()))
    with torch.no_grad():
        _, cache = model.run_with_cache([given], [*patterns, *written])
        _, beside = model.run_with_cache([other], written)
    found: list[Json] = []
    for node, (pattern, own) in places.items():
        position = _most_changed(cache[own][0], beside[own][0])
        weights = cache[pattern][0][position].double().cpu()
        looks = (
            _over_patches(model, weights, position)
            if isinstance(given, ImageInput)
            else _over_words(model, given, weights, position, own.stack)
        )
        found.append({"node": node, **looks})
    return found


def _sites(node: str) -> tuple[Site, Site]:
    """Where a head's pattern and what it writes are read."""
    site = Node.parse(node).site
    return (
        Site(site.layer, "pattern", site.head, site.stack),
        Site(site.layer, "result", site.head, site.stack),
    )


def _most_changed(one: Float[Tensor, "pos d_model"], other: Float[Tensor, "pos d_model"]) -> int:
    n = min(len(one), len(other))
    return int((one[:n] - other[:n]).norm(dim=-1).argmax())


def _over_words(
    model: PatchableModel,
    given: Input,
    weights: Float[Tensor, " src"],
    position: int,
    stack: str,
) -> Json:
    assert isinstance(model.encoder, TextEncoder)
    words, index = model.encoder.words(given)  # pyright: ignore[reportArgumentType]
    summed = [0.0] * len(words)
    for word, weight in zip(index, weights.tolist(), strict=True):
        summed[word] += weight
    special = set(model.tokenizer.all_special_tokens)
    return {
        "from": "the decoder" if stack.startswith("dec") else words[index[position]],
        "words": list(words),
        "special": [word in special for word in words],
        "weights": [round(weight, _DIGITS) for weight in summed],
    }


def _over_patches(model: PatchableModel, weights: Float[Tensor, " src"], position: int) -> Json:
    """Patches row by row; what is left goes to the tokens before them."""
    n_rows, n_columns = _patches(model)
    before = len(weights) - n_rows * n_columns
    row, column = divmod(position - before, n_columns)
    looking = "the first token" if position < before else f"patch {row + 1}, {column + 1}"
    return {
        "from": looking,
        "shape": [n_rows, n_columns],
        "weights": [round(weight, _DIGITS) for weight in weights[before:].tolist()],
        "rest": round(math.fsum(weights[:before].tolist()), _DIGITS),
    }


def _patches(model: PatchableModel) -> tuple[int, int]:
    config: Any = model.hf.config
    height, width = _both(config.image_size)
    down, across = _both(config.patch_size)
    return height // down, width // across


def _both(size: Any) -> tuple[int, int]:
    return (size[0], size[1]) if isinstance(size, (list, tuple)) else (size, size)
