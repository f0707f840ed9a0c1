"""Numbers that make a plant: sizes, strengths, and what is hidden in it."""

from dataclasses import dataclass, fields
from math import sqrt
from typing import Any, Literal

from behavior.errors import DataError

Kind = Literal["wired", "even", "cancelling", "hard", "trained"]
Family = Literal["bert", "gpt2", "vit", "t5", "resnet"]

KINDS: tuple[Kind, ...] = ("wired", "even", "cancelling", "hard", "trained")
FAMILIES: tuple[Family, ...] = ("bert", "gpt2", "vit", "t5", "resnet")


class NoPlantError(DataError):
    """Nothing that serves came of a seed; another one may do."""


CLASS_WORDS = 8
"""Words of each kind (core, shortcut, filler); half of the core and shortcut ones each way."""
PER_KIND = 3
"""Words of each kind in an input."""


_MOST_GROUPS = 8
"""Of a block of a ResNet, see `patching.models.architecture`."""


def _check(holds: bool, name: str, value: float | int, expected: str) -> None:
    if not holds:
        raise DataError(f"A plant cannot have {name} {value}; expected {expected}.")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a plant is made.

    Attributes:
        family: Of its model.
        n_layers: Layers; in T5, of the encoder: its decoder has one fewer; in a ResNet, blocks.
        n_heads: Heads in a row; groups of channels in a block.
        d_model: Width of the stream.
        embedding_block: Dimensions of the stream that each kind of words has for itself.
        head_block: Dimensions that a head writes into.
        mlp_block: Dimensions that an MLP writes into.
        ballast: Length of the constant part of the stream, in lengths of a word's vector. Norms
            divide by the length of the stream, so through them everything moves everything; the
            share is about 1 / ballast squared. A ResNet has no such norms and no ballast.
        size: Length of what a node writes, in lengths of a word's vector.
        tau: Root mean square of attention scores, centred over keys.
        pre: Root mean square of the pre-activations of an MLP, or of a group's channels.
        kappa: The same of the pooler's, where there is one.
        readout: Root mean square of a logit, about.
        background: How strongly each reader sees everything else; 1 is as strongly as its own.
        n_even: MLPs (or groups of channels) that answer to both classes alike, but have a steep
            slope.
        n_rivals: Pairs of heads that cancel each other.
        floor: Smallest effect of an edge of the truth, mean over pairs of its size, as a share of
            the mean range.
        tolerance: How far from 1 the faithfulness of the true edges may be.
        n_pairs: Pairs that effects are measured on while the plant is made.
    """

    family: str = "bert"
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
        alike = self.n_mlps or self.n_rows
        _check(self.n_even < alike, "n_even", self.n_even, f"at most {alike - 1}")
        most = self.n_rows - 1 if self.n_heads > 3 else 0
        _check(self.n_rivals <= most, "n_rivals", self.n_rivals, f"at most {most}")
        if self.family == "resnet":
            self._check_channels()

    @property
    def n_rows(self) -> int:
        """Rows of heads in the whole model; layers of T5's decoder have two."""
        return 3 * self.n_layers - 2 if self.family == "t5" else self.n_layers

    @property
    def n_mlps(self) -> int:
        """MLPs in the whole model."""
        return {"t5": 2 * self.n_layers - 1, "resnet": 0}.get(self.family, self.n_layers)

    @property
    def dimensions(self) -> int:
        """Dimensions that all writers together take."""
        heads = self.n_rows * self.n_heads * self.head_block
        return 3 * self.embedding_block + heads + self.n_mlps * self.mlp_block

    @property
    def n_words(self) -> int:
        """Words of an input."""
        return 3 * PER_KIND

    @property
    def seen(self) -> float:
        """Length of a word's vector as readers see it."""
        return 1.0 if self.family == "resnet" else sqrt(self.d_model) / self.ballast

    def _check_channels(self) -> None:
        groups = max(n for n in range(1, _MOST_GROUPS + 1) if self.d_model % n == 0)
        _check(self.n_heads == groups, "n_heads", self.n_heads, f"{groups} at this d_model")
        _check(self.embedding_block == 4, "embedding_block", self.embedding_block, "4 in a ResNet")

    def _room(self) -> str:
        return f"at least {self.dimensions + 3}, room for every writer"


_OF_KIND: dict[Kind, dict[str, float | int]] = {
    "wired": {},
    "even": {"n_even": 2},
    "cancelling": {"n_rivals": 2},
    "hard": {
        "n_rivals": 2,
        "tau": 5.0,
        "kappa": 3.0,
        "pre": 3.0,
        "background": 0.03,
        "ballast": 30.0,
        "tolerance": 0.06,
    },
}
_OF_FAMILY: dict[Family, dict[str, float | int]] = {
    "bert": {},
    "gpt2": {},
    "vit": {},
    "t5": {"n_layers": 2, "d_model": 108},
    "resnet": {"n_heads": 8, "embedding_block": 4, "head_block": 3},
}


def recipe_for(kind: str, family: str = "bert", **sizes: float | int) -> Recipe:
    """The recipe of a kind in a family, with some numbers changed.

    Raises:
        DataError: If there is no such kind, family or number, or a number makes no sense.
    """
    if kind not in _OF_KIND:
        raise DataError(f"Unknown kind of plant {kind!r}; expected one of: {', '.join(KINDS)}.")
    if family not in _OF_FAMILY:
        raise DataError(f"No plants of family {family!r}; expected one of: {', '.join(FAMILIES)}.")
    if (kind, family) == ("hard", "resnet"):
        raise DataError(
            "There are no hard plants of family 'resnet': nothing in it saturates and no norm "
            "mixes its channels. Make a cancelling one, with background=0.03 if you like."
        )
    known = {field.name: type(field.default) for field in fields(Recipe) if field.name != "family"}
    unknown = [name for name in sizes if name not in known]
    if unknown:
        raise DataError(f"A plant has no {unknown[0]!r}; it has: {', '.join(known)}.")
    given = {**_OF_FAMILY[family], **_OF_KIND[kind], **sizes}
    typed: dict[str, Any] = {name: known[name](value) for name, value in given.items()}
    return Recipe(family=family, **typed)
