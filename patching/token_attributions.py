"""`TokenAttributions`: the first-order effect of every node, position by position."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError, ResultError
from patching.effects import Effects
from patching.files import read_tensors, write_tensors

_KIND = "token attributions"
_MARGINS = ("clean", "corrupted")
_PER_PAIR = ("units", "templates", "steps")


@dataclass(frozen=True, slots=True)
class TokenAttributions:
    """Effect of each node at each position of each pair, in logits; the effects are its sums.

    Attributes:
        values: [pair, node, pos] effects; 0 where a pair or a node has no such position.
        effects: Sums over positions, with all that is known of them.
        tokens: [pair] tokens of each pair, as the tokenizer writes them; `nurse/judge` where clean
            and corrupted differ. Empty for images, whose positions are patches or pixels. The
            positions of a decoder are its own, one behind.
    """

    values: Float[Tensor, "pair node pos"]
    effects: Effects
    tokens: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if self.values.shape[:2] != self.effects.values.shape:
            raise DataError(
                f"Values of {tuple(self.values.shape)} are not those of effects of "
                f"{tuple(self.effects.values.shape)}; expected [pair, node, pos] and [pair, node]."
            )

    def __len__(self) -> int:
        return len(self.values)

    def node(self, name: str) -> Float[Tensor, "pair pos"]:
        """Effects of one node.

        Raises:
            DataError: If it was not attributed.
        """
        self.effects.node(name)
        return self.values[:, self.effects.nodes.index(name)]

    def save(self, path: Path | str) -> Path:
        """Write one safetensors file, with everything else as JSON in its header.

        Raises:
            ResultError: If it cannot be written.
        """
        tensors = {name: getattr(self.effects, name) for name in _MARGINS}
        kept = [f.name for f in fields(Effects) if f.name not in ("values", *_MARGINS)]
        about = {name: getattr(self.effects, name) for name in kept}
        tensors["values"] = self.values
        return write_tensors(Path(path), tensors, {**about, "tokens": self.tokens}, kind=_KIND)

    @classmethod
    def load(cls, path: Path | str) -> "TokenAttributions":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or is of another kind.
        """
        tensors, about = read_tensors(Path(path), kind=_KIND)
        try:
            tokens = tuple(tuple(words) for words in about.pop("tokens"))
            known: dict[str, Any] = {**about, **tensors, "values": tensors["values"].sum(dim=-1)}
            known |= {name: tuple(about[name]) for name in ("nodes", *_PER_PAIR)}
            return cls(tensors["values"], Effects(**known), tokens)
        except (KeyError, TypeError) as error:
            raise ResultError(f"{path} holds no {_KIND} of this version.") from error


def by_token(
    effects: Effects,
    parts: Sequence[tuple[list[int], Float[Tensor, "_batch node _pos"]]],
    tokens: tuple[tuple[str, ...], ...],
) -> TokenAttributions:
    """Positions of all chunks in one array.

    Args:
        effects: Sums over positions.
        parts: Pairs of each chunk, and how their margins move; noise turns the sign.
        tokens: Of each pair.
    """
    most = max(part.shape[2] for _, part in parts)
    values = effects.values.new_zeros(*effects.values.shape, most)
    for rows, part in parts:
        values[rows, :, : part.shape[2]] = -part if effects.direction == "noise" else part
    return TokenAttributions(values, replace(effects, values=values.sum(dim=-1)), tokens)
