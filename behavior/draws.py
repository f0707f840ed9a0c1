"""Random draws that depend on their name alone: the same on every machine, in every version.

`hash()` differs from run to run, and of a `Random` only `random()` is promised to stay the same
in later versions of Python; `choice()`, `shuffle()` and `randrange()` are not.
"""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def generator(stream: str, i: int, seed: int) -> Random:
    """The source of randomness of item i of a stream."""
    return Random(stable_hash(f"{stream} {seed} {i}"))


def stable_hash(text: str) -> int:
    """An integer of 64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def pick(items: Sequence[Item], rng: Random) -> Item:
    """One of the items, each with the same probability."""
    return items[int(rng.random() * len(items))]


def shuffled(items: Sequence[Item], rng: Random) -> list[Item]:
    """The items in random order."""
    return sorted(items, key=lambda _: rng.random())
