"""Cuts inputs, sorted by length, into batches that fit a processor's cache.

On a CPU a batch whose widest activation stays in the cache runs faster than a large one, and
sorting keeps padding away. Longest first: if memory is short, it is short at once.
"""

import math
from collections.abc import Sequence

import torch

from behavior.errors import DataError

_CACHED_BYTES = 4 * 2**20
_DEVICE_BYTES = 256 * 2**20
_FEWEST, _MOST = 4, 128


def length_sorted_chunks(
    lengths: Sequence[int], batch_size: int | None, row_bytes: int, device: torch.device
) -> list[list[int]]:
    """Positions of all inputs, in chunks of similar length.

    Args:
        lengths: Tokens of each input.
        batch_size: Inputs in a chunk; None fits them to the processor.
        row_bytes: Size of the widest activation, per token.
        device: Where the model is.

    Raises:
        DataError: If the batch size is not positive.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"The batch size is {batch_size}; expected at least 1.")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    chunks: list[list[int]] = []
    start = 0
    while start < len(order):
        left = len(order) - start
        most = batch_size or _fitting_rows(lengths[order[start]] * row_bytes, device)
        rows = math.ceil(left / math.ceil(left / most))
        chunks.append(order[start : start + rows])
        start += rows
    return chunks


def _fitting_rows(bytes_per_input: int, device: torch.device) -> int:
    if device.type == "cpu":
        return min(_MOST, max(_FEWEST, _CACHED_BYTES // bytes_per_input))
    return max(_FEWEST, _DEVICE_BYTES // bytes_per_input)
