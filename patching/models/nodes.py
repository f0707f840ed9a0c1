"""Names of a model's components (nodes) and of its activations (sites).

Nodes carry the field's names: `input`, `a3.h5` (head 5 of layer 3), `a3` (all heads of layer 3
together), `m2` (MLP of layer 2), `logits`. Sites are written `L3.h5.z` or `L3.resid_pre`;
TransformerLens' names (`blocks.3.attn.hook_z`, `blocks.3.hook_resid_pre`, `hook_embed`) are read
as aliases.

| activation | shape | meaning |
|---|---|---|
| `resid_pre` | batch pos d_model | stream that enters the layer; `L0.resid_pre` is the embedding |
| `resid_mid` | batch pos d_model | stream between attention and MLP, see below |
| `resid_post` | batch pos d_model | stream that leaves the layer |
| `q`, `k`, `v` | batch pos head d_head | projections, with bias |
| `pattern` | batch head pos pos | attention probabilities; rows sum to one |
| `z` | batch pos head d_head | pattern times v |
| `result` | batch pos head d_model | z times the head's columns of W_O, without the bias |
| `attn_out` | batch pos d_model | sum of the results plus the bias |
| `mlp_out` | batch pos d_model | output of the MLP, before residual and norm |

In a post-norm model (BERT) the stream is normalised after each addition, and `resid_mid` and
`resid_post` are taken *after* that norm: `resid_mid` is what the MLP reads, and `resid_post` is
the next layer's `resid_pre`. (TransformerLens' old HookedEncoder took both before the norm.)
"""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from behavior.errors import DataError

Activation = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "result",
    "attn_out",
    "mlp_out",
]
NodeKind = Literal["input", "head", "heads", "mlp", "logits"]

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
HEAD_ACTIVATIONS: frozenset[Activation] = frozenset({"q", "k", "v", "pattern", "z", "result"})

_SITE = re.compile(r"L(?P<layer>\d+)(\.h(?P<head>\d+))?\.(?P<activation>\w+)")
_LENS_SITE = re.compile(r"blocks\.(?P<layer>\d+)\.(attn\.)?hook_(?P<activation>\w+)")
_NODE = re.compile(r"a(?P<a>\d+)(\.h(?P<head>\d+))?|m(?P<m>\d+)|input|logits")


@dataclass(frozen=True, order=True, slots=True)
class Site:
    """One activation of one layer, or of one attention head.

    Attributes:
        layer: Layer index, counted from 0.
        activation: What is read or written there.
        head: Head index for an activation with a head axis; None means all heads.
    """

    layer: int
    activation: Activation
    head: int | None = None

    def __post_init__(self) -> None:
        if self.head is not None and self.activation not in HEAD_ACTIVATIONS:
            raise DataError(f"{self.activation} has no head axis, but head={self.head} was given.")

    def __str__(self) -> str:
        head = "" if self.head is None else f".h{self.head}"
        return f"L{self.layer}{head}.{self.activation}"

    @property
    def whole(self) -> "Site":
        """The same activation for all heads."""
        return Site(self.layer, self.activation)

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read `L3.resid_pre`, `L3.h5.z`, or a TransformerLens name.

        Raises:
            DataError: If it is none of these; the message lists the activations.
        """
        if text == "hook_embed":
            return cls(0, "resid_pre")
        match = _SITE.fullmatch(text) or _LENS_SITE.fullmatch(text)
        if match is None or match["activation"] not in ACTIVATIONS:
            raise DataError(
                f"Cannot read {text!r} as a site. Expected a form like 'L3.resid_pre', 'L3.h5.z' "
                f"or 'blocks.3.attn.hook_z', with one of: {', '.join(ACTIVATIONS)}."
            )
        head = match.groupdict().get("head")
        activation = cast(Activation, match["activation"])
        return cls(int(match["layer"]), activation, None if head is None else int(head))


@dataclass(frozen=True, slots=True)
class Node:
    """One component of a model, as the field writes it.

    Attributes:
        kind: What it is; `heads` is all heads of a layer together.
        layer: Layer index; None for `input` and `logits`.
        head: Head index; None unless the kind is `head`.
    """

    kind: NodeKind
    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        if self.kind in ("input", "logits"):
            return self.kind
        if self.kind == "mlp":
            return f"m{self.layer}"
        return f"a{self.layer}" if self.head is None else f"a{self.layer}.h{self.head}"

    @property
    def site(self) -> Site:
        """Where the node's output is read and written: z, mlp_out, or the embedding.

        Raises:
            DataError: For `logits`, which no later component reads.
        """
        if self.kind == "logits":
            raise DataError("The node 'logits' is the output and cannot be patched.")
        if self.kind == "input":
            return Site(0, "resid_pre")
        layer = cast(int, self.layer)
        return Site(layer, "mlp_out") if self.kind == "mlp" else Site(layer, "z", self.head)

    @classmethod
    def parse(cls, text: str) -> "Node":
        """Read `input`, `a3.h5`, `a3`, `m2` or `logits`.

        Raises:
            DataError: If it is none of these.
        """
        match = _NODE.fullmatch(text)
        if match is None:
            raise DataError(
                f"Cannot read {text!r} as a node. Expected 'input', 'a3.h5' (head 5 of layer 3), "
                "'a3' (all heads of layer 3), 'm2' (MLP of layer 2) or 'logits'."
            )
        if match["m"] is not None:
            return cls("mlp", int(match["m"]))
        if match["a"] is None:
            return cls(cast(NodeKind, text))
        head = None if match["head"] is None else int(match["head"])
        return cls("heads" if head is None else "head", int(match["a"]), head)


def head_nodes(n_layers: int, n_heads: int) -> tuple[str, ...]:
    """`a0.h0`, `a0.h1`, ..., layer by layer."""
    return tuple(f"a{layer}.h{head}" for layer in range(n_layers) for head in range(n_heads))


def layer_nodes(n_layers: int) -> tuple[str, ...]:
    """`a0`, `a1`, ...: all heads of a layer together."""
    return tuple(f"a{layer}" for layer in range(n_layers))


def mlp_nodes(n_layers: int) -> tuple[str, ...]:
    """`m0`, `m1`, ..."""
    return tuple(f"m{layer}" for layer in range(n_layers))


def parse_site(text: "str | Site") -> Site:
    """A site from a site, its text, a TransformerLens name, or a node's name.

    Raises:
        DataError: If it is none of these.
    """
    if isinstance(text, Site):
        return text
    if _NODE.fullmatch(text):
        return Node.parse(text).site
    return Site.parse(text)
