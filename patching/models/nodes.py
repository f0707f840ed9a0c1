"""Names of a model's components (nodes) and of its activations (sites).

Nodes carry the field's names. `a3.h5` is head 5 of layer 3, `a3` all heads of layer 3 together,
`m2` the MLP of layer 2; besides there are `input` and `logits`. An encoder-decoder has `enc.a0.h1`,
`dec.a0.h1` (self-attention), `dec.x0.h1` (cross-attention), `enc.m2`, `enc.input`, `dec.input`. In
a ResNet `s2.b1.g3` is group 3 of the hidden channels of block 1 of stage 2, `s2.b1` all groups.

Sites are written `L3.h5.z`, `L3.resid_pre`, `dec.L0.h1.z`, `dec.x.L0.z` (cross-attention) or
`s2.L1.h3.z`; TransformerLens' names (`blocks.3.attn.hook_z`, `blocks.3.hook_resid_pre`,
`decoder_blocks.0.cross_attn.hook_z`, `hook_embed`) are read as aliases.

| activation | shape | meaning |
|---|---|---|
| `resid_pre` | batch pos d_model | stream that enters the layer; `L0.resid_pre` is the embedding |
| `resid_mid` | batch pos d_model | stream after the attention, see below |
| `resid_post` | batch pos d_model | stream that leaves the layer |
| `q`, `k`, `v` | batch pos head d_head | projections, with bias |
| `pattern` | batch head pos pos | attention probabilities; rows sum to one |
| `z` | batch pos head d_head | pattern times v; in a ResNet, what the last convolution reads |
| `result` | batch pos head d_model | z through the head's part of W_O, without the bias |
| `attn_out` | batch pos d_model | sum of the results plus the bias |
| `mlp_out` | batch pos d_model | output of the MLP, before residual and norm |

In a post-norm model (BERT) the stream is normalised after each addition, and `resid_mid` and
`resid_post` are taken *after* that norm: `resid_mid` is what the MLP reads, and `resid_post` is
the next layer's `resid_pre`. (TransformerLens' old HookedEncoder took both before the norm.) The
positions of a ResNet are its pixels, row by row, and `resid_post` is taken after the ReLU.
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

_SITE = re.compile(
    r"((?P<stack>enc|dec(\.x)?|s\d+)\.)?L(?P<layer>\d+)(\.h(?P<head>\d+))?\.(?P<activation>\w+)"
)
_LENS_SITE = re.compile(
    r"(?P<blocks>(encoder_|decoder_)?blocks)\.(?P<layer>\d+)"
    r"\.((attn|self_attn|(?P<cross>cross_attn))\.)?hook_(?P<activation>\w+)"
)
_LENS_STACKS = {"blocks": "", "encoder_blocks": "enc", "decoder_blocks": "dec"}
_NODE = re.compile(
    r"((?P<stack>enc|dec|s\d+)\.)?"
    r"(?:(?P<row>[axb])(?P<layer>\d+)(\.[hg](?P<head>\d+))?|m(?P<mlp>\d+)|(?P<input>input))"
    r"|logits"
)


def own_stack(stack: str) -> str:
    """The stack that a row belongs to: `dec` of `dec.x`, its own name otherwise."""
    return stack.removesuffix(".x")


@dataclass(frozen=True, order=True, slots=True)
class Site:
    """One activation of one layer, or of one attention head.

    Attributes:
        layer: Layer index within its stack, counted from 0.
        activation: What is read or written there.
        head: Head index for an activation with a head axis; None means all heads.
        stack: Empty, `enc`, `dec`, `dec.x` (cross-attention) or `s0`, `s1`, ... (stages).
    """

    layer: int
    activation: Activation
    head: int | None = None
    stack: str = ""

    def __post_init__(self) -> None:
        if self.head is not None and self.activation not in HEAD_ACTIVATIONS:
            raise DataError(f"{self.activation} has no head axis, but head={self.head} was given.")

    def __str__(self) -> str:
        stack = f"{self.stack}." if self.stack else ""
        head = "" if self.head is None else f".h{self.head}"
        return f"{stack}L{self.layer}{head}.{self.activation}"

    @property
    def whole(self) -> "Site":
        """The same activation for all heads."""
        return Site(self.layer, self.activation, stack=self.stack)

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read `L3.resid_pre`, `dec.x.L3.h5.z`, or a TransformerLens name.

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
        found = match.groupdict()
        head = found.get("head")
        blocks = found.get("blocks")
        stack = (found.get("stack") or "") if blocks is None else _LENS_STACKS[blocks]
        return cls(
            int(match["layer"]),
            cast(Activation, match["activation"]),
            None if head is None else int(head),
            f"{stack}.x" if found.get("cross") else stack,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """One component of a model, as the field writes it.

    Attributes:
        kind: What it is; `heads` is all heads of a layer together.
        layer: Layer index within its stack; None for `input` and `logits`.
        head: Head index; None unless the kind is `head`.
        stack: As in `Site`; an `input` without a stack is all inputs together.
    """

    kind: NodeKind
    layer: int | None = None
    head: int | None = None
    stack: str = ""

    def __str__(self) -> str:
        if self.kind == "logits":
            return self.kind
        base = own_stack(self.stack)
        prefix = f"{base}." if base else ""
        if self.kind == "input":
            return f"{prefix}input"
        if self.kind == "mlp":
            return f"{prefix}m{self.layer}"
        is_stage = base.startswith("s")
        letter = "b" if is_stage else "x" if base != self.stack else "a"
        head = "" if self.head is None else f".{'g' if is_stage else 'h'}{self.head}"
        return f"{prefix}{letter}{self.layer}{head}"

    @property
    def row(self) -> str:
        """Name of all heads of its layer together, for a head; else its own name."""
        return str(self if self.kind != "head" else Node("heads", self.layer, stack=self.stack))

    @property
    def site(self) -> Site:
        """Where the node's output is read and written: z, mlp_out, or the embedding.

        Raises:
            DataError: For `logits`, which no later component reads.
        """
        if self.kind == "logits":
            raise DataError("The node 'logits' is the output and cannot be patched.")
        if self.kind == "input":
            return Site(0, "resid_pre", stack=self.stack)
        layer = cast(int, self.layer)
        activation: Activation = "mlp_out" if self.kind == "mlp" else "z"
        return Site(layer, activation, self.head, self.stack)

    @classmethod
    def parse(cls, text: str) -> "Node":
        """Read `input`, `a3.h5`, `a3`, `m2`, `dec.x0.h1`, `s2.b1.g3` or `logits`.

        Raises:
            DataError: If it is none of these.
        """
        match = _NODE.fullmatch(text)
        node = None if match is None else cls._of(match)
        # A letter that does not belong to the stack is written otherwise than it was read.
        if node is None or str(node) != text:
            raise DataError(
                f"Cannot read {text!r} as a node. Expected 'input', 'a3.h5' (head 5 of layer 3), "
                "'a3' (all heads of layer 3), 'm2' (MLP of layer 2) or 'logits'; 'enc.a0.h1', "
                "'dec.a0.h1', 'dec.x0.h1' in an encoder-decoder, 's2.b1.g3' in a ResNet."
            )
        return node

    @classmethod
    def _of(cls, match: re.Match[str]) -> "Node":
        stack = match["stack"] or ""
        if match["mlp"] is not None:
            return cls("mlp", int(match["mlp"]), stack=stack)
        if match["row"] is None:
            return cls("input" if match["input"] else "logits", stack=stack)
        head = None if match["head"] is None else int(match["head"])
        stack = f"{stack}.x" if match["row"] == "x" else stack
        return cls("heads" if head is None else "head", int(match["layer"]), head, stack)


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
