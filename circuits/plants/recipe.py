"""Numbers that make a plant: sizes, strengths, and what is hidden in it."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from behavior.errors import DataError

Kind = Literal["wired", "even", "cancelling", "hard"]
Family = Literal["bert", "gpt2", "vit"]

KINDS: tuple[Kind, ...] = ("wired", "even", "cancelling", "hard")
FAMILIES: tuple[Family, ...] = ("bert", "gpt2", "vit")

CLASS_WORDS = 8
"""Words of each kind (core, shortcut, filler); half of the core and shortcut ones each way."""
PER_KIND = 3
"""Words of each kind in an input."""


def _check(holds: bool, name: str, value: float | int, expected: str) -> None:
    if not holds:
        raise DataError(f"A plant cannot have {name} {value}; expected {expected}.")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a plant is made.

    Attributes:
        n_layers: Rows.
        n_heads: Heads in a row.
        d_model: Width of the stream.
        embedding_block: Dimensions of the stream that each kind of words has for itself.
        head_block: Dimensions that a head writes into.
        mlp_block: Dimensions that an MLP writes into.
        ballast: Length of the constant part of the stream, in lengths of a word's vector. Norms
            divide by the length of the stream, so through them everything moves everything; the
            share is about 1 / ballast squared.
        size: Length of what a node writes, in lengths of a word's vector.
        tau: Root mean square of attention scores, centred over keys.
        pre: Root mean square of an MLP's pre-activations.
        kappa: The same of the pooler's, where there is one.
        readout: Root mean square of a logit, about.
        background: How strongly each reader sees everything else; 1 is as strongly as its own.
        n_even: MLPs that answer to both classes alike, but have a steep slope.
        n_rivals: Pairs of heads that cancel each other.
        floor: Smallest effect of an edge of the truth, mean over pairs of its size, as a share of
            the mean range.
        tolerance: How far from 1 the faithfulness of the true edges may be.
        n_pairs: Pairs that effects are measured on while the plant is made.
    """

    n_layers: int = 3
    n_heads: int = 4
    d_model: int = 96
    embedding_block: int = 6
    head_block: int = 4
    mlp_block: int = 6
    ballast: float = 1e6
    size: float = 1.0
    tau: float = 2.0
    pre: float = 1.0
    kappa: float = 0.7
    readout: float = 4.0
    background: float = 0.0
    n_even: int = 0
    n_rivals: int = 0
    floor: float = 0.02
    tolerance: float = 0.03
    n_pairs: int = 48

    def __post_init__(self) -> None:
        _check(self.n_layers >= 2, "n_layers", self.n_layers, "at least 2")
        _check(self.n_heads >= 3, "n_heads", self.n_heads, "at least 3")
        _check(self.d_model % self.n_heads == 0, "d_model", self.d_model, "a multiple of n_heads")
        _check(self.dimensions <= self.d_model - 3, "d_model", self.d_model, self._room())
        _check(self.n_pairs >= 2, "n_pairs", self.n_pairs, "at least 2")
        most = self.n_layers - 1
        _check(self.n_even <= most, "n_even", self.n_even, f"at most {most}")
        _check(self.n_rivals <= most, "n_rivals", self.n_rivals, f"at most {most}")

    @property
    def dimensions(self) -> int:
        """Dimensions that all writers together take."""
        nodes = self.n_heads * self.head_block + self.mlp_block
        return 3 * self.embedding_block + self.n_layers * nodes

    @property
    def n_words(self) -> int:
        """Words of an input."""
        return 3 * PER_KIND

    def _room(self) -> str:
        return f"at least {self.dimensions + 3}, room for every writer"


_OF_KIND: dict[Kind, Recipe] = {
    "wired": Recipe(),
    "even": Recipe(n_even=2),
    "cancelling": Recipe(n_rivals=2),
    "hard": Recipe(
        n_rivals=2, tau=5.0, kappa=3.0, pre=3.0, background=0.03, ballast=30.0, tolerance=0.06
    ),
}


def recipe_for(kind: str, **sizes: float | int) -> Recipe:
    """The recipe of a kind, with some numbers changed.

    Raises:
        DataError: If there is no such kind or number, or a number makes no sense.
    """
    if kind not in _OF_KIND:
        raise DataError(f"Unknown kind of plant {kind!r}; expected one of: {', '.join(KINDS)}.")
    known = {field.name: type(getattr(_OF_KIND[kind], field.name)) for field in fields(Recipe)}
    unknown = [name for name in sizes if name not in known]
    if unknown:
        raise DataError(f"A plant has no {unknown[0]!r}; it has: {', '.join(known)}.")
    typed: dict[str, Any] = {name: known[name](value) for name, value in sizes.items()}
    return replace(_OF_KIND[kind], **typed)
