"""The modules of one model, row by row, and what a row's heads make of z."""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from patching.models.nodes import Activation, Node, Site, own_stack
from patching.models.projections import (
    Shape,
    head_results,
    input_axis,
    output_matrix,
    project,
    project_image,
    weight_of,
)

_ATTENTION: frozenset[Activation] = frozenset({"q", "k", "v", "pattern"})
_MLP: frozenset[Activation] = frozenset({"mlp_out"})


@dataclass(frozen=True, slots=True)
class LayerModules:
    """The modules of one row of one model; the paths are those of `RowPaths`.

    Attributes:
        stack: As in sites: empty, `enc`, `dec`, `dec.x` for cross-attention, `s0`, ...
        index: Layer within its stack.
        n_heads: Heads, or groups of channels.
        enters: Whether an embedding enters the stream here.
        enter: Module whose input is the stream before the row.
        leave: Module whose output is the stream after it.
        attention: Calls the attention function; in a ResNet, the residual branch.
        o: Output projection.
        norm: Norm of the branch.
        q: Query projection; None without attention.
        k: Key projection.
        v: Value projection.
        mlp: Its output is added to the stream; None if no MLP follows.
        mlp_in: Reads the stream for the MLP; None if `mlp` does.
        mlp_norm: Norm of the MLP branch.
        shortcut: Beside the branch; None without convolutions.
        activation: Of the sum; None without convolutions.
    """

    stack: str
    index: int
    n_heads: int
    enters: bool
    enter: nn.Module
    leave: nn.Module
    attention: nn.Module
    o: nn.Module
    norm: nn.Module
    q: nn.Module | None
    k: nn.Module | None
    v: nn.Module | None
    mlp: nn.Module | None
    mlp_in: nn.Module | None
    mlp_norm: nn.Module | None
    shortcut: nn.Module | None
    activation: nn.Module | None

    @property
    def node(self) -> Node:
        """All its heads together."""
        return Node("heads", self.index, stack=self.stack)

    @property
    def base(self) -> str:
        """Stack that names its MLP and its input; a ResNet has one input before all stages."""
        return "" if self.is_image else own_stack(self.stack)

    @property
    def heads(self) -> tuple[Node, ...]:
        """Each of its heads: `a3.h0`, ..., or its groups of channels: `s2.b1.g0`, ..."""
        return tuple(Node("head", self.index, i, self.stack) for i in range(self.n_heads))

    @property
    def mlp_node(self) -> Node | None:
        """The MLP that follows it, if there is one."""
        return None if self.mlp is None else Node("mlp", self.index, stack=self.base)

    @property
    def name(self) -> str:
        """Of the row: `a3`, `enc.a0`, `dec.x1`, `s2.b1`."""
        return str(self.node)

    @property
    def is_image(self) -> bool:
        """Whether its stream is an image of channels, so that z meets a convolution."""
        return isinstance(self.o, nn.Conv2d)

    @property
    def body(self) -> tuple[nn.Module, ...]:
        """Modules through which the stream passes."""
        return (self.enter,) if self.enter is self.leave else (self.enter, self.leave)

    @property
    def is_fused(self) -> bool:
        """Whether one module gives q, k and v side by side."""
        return self.q is not None and self.q is self.k is self.v

    @property
    def o_inside(self) -> bool:
        """Whether the attention module ends with the output projection."""
        return any(module is self.o for module in self.attention.modules())

    @property
    def d_head(self) -> int:
        """Width of a head's z."""
        return weight_of(self.o).shape[input_axis(self.o)] // self.n_heads

    @property
    def output_matrix(self) -> Float[Tensor, "d_model d_z"]:
        """W_O of a row that is no convolution: head h owns the columns of `columns(h)`."""
        return output_matrix(self.o)

    @property
    def bias(self) -> Float[Tensor, " d_model"] | None:
        """Bias of the output projection, which belongs to no head."""
        return cast("Tensor | None", getattr(self.o, "bias", None))

    def columns(self, first: int, last: int | None = None) -> slice:
        """Input channels of the output projection that some consecutive heads own."""
        end = first if last is None else last
        return slice(first * self.d_head, (end + 1) * self.d_head)

    def has(self, activation: Activation) -> bool:
        """Whether the row has such an activation."""
        if activation in _ATTENTION:
            return self.q is not None
        if activation == "resid_mid":
            return not self.is_image
        return activation not in _MLP or self.mlp is not None

    def site(self, activation: Activation, head: int | None = None) -> Site:
        """The site of one of its activations."""
        stack = own_stack(self.stack) if activation == "mlp_out" else self.stack
        return Site(self.index, activation, head, stack)

    def project(
        self, z: Float[Tensor, "batch pos d_z"], channels: slice, shape: Shape | None
    ) -> Float[Tensor, "batch pos d_model"]:
        """What z of some input channels adds to the stream, without the bias.

        Args:
            z: Values, or a change of them.
            channels: Of the output projection; see `columns`.
            shape: Of the branch's output, where that is an image.
        """
        if shape is None or not self.is_image:
            return project(self.o, z, channels)
        return project_image(cast(nn.Conv2d, self.o), self.norm, z, channels, shape)

    def results(
        self, z: Float[Tensor, "batch pos d_z"], shape: Shape | None
    ) -> Float[Tensor, "batch pos head d_model"]:
        """What each head adds to the stream."""
        if not self.is_image:
            return head_results(self.o, z, self.n_heads)
        cuts = [self.columns(head) for head in range(self.n_heads)]
        return torch.stack([self.project(z[..., cut], cut, shape) for cut in cuts], dim=2)


@dataclass(frozen=True, slots=True)
class BoundModules:
    """All modules of one model that an architecture declares.

    Attributes:
        layers: The rows, in the order in which they run.
        embeddings: By stack, the module whose output enters it.
        final_norms: By stack, the norm after its last row, where a later stack reads it.
        head: From the last stream to the logits: modules, and names of other steps.
    """

    layers: tuple[LayerModules, ...]
    embeddings: dict[str, nn.Module]
    final_norms: dict[str, nn.Module]
    head: tuple[nn.Module | str, ...]

    def row(self, site: Site) -> LayerModules | None:
        """The row that a site belongs to: for what leaves a layer, the last one of the layer."""
        found = [
            row
            for row in self.layers
            if row.index == site.layer
            and site.stack in (row.stack, own_stack(row.stack))
            and row.has(site.activation)
        ]
        exact = [row for row in found if row.stack == site.stack]
        if site.activation in ("mlp_out", "resid_post"):
            return found[-1] if found else None
        return exact[0] if exact else None

    @property
    def entries(self) -> tuple[LayerModules, ...]:
        """The rows that an embedding enters."""
        return tuple(row for row in self.layers if row.enters)
