"""Proves on load that a family's declaration describes the model.

One tiny batch of random inputs (of texts the second is padded):

1. hooks change nothing: logits with every site read and written back equal the plain ones;
2. each stream is a chain: its first row reads the embedding, each other row what the one before it
   wrote, norms and MLPs included;
3. z is the pattern times v, and the pattern is the softmax of q and k;
4. the heads' results plus the bias are the output of the attention;
5. for every head, z set to zero gives what zeroed columns of W_O give;
6. a classifier that is said to read the first token reads no other.

Equal logits alone prove nothing about where the hooks are, which is why 2 to 5 exist. A ResNet has
no pattern; its third check is left out.
"""

from contextlib import ExitStack
from typing import Any, cast

import torch
from einops import einsum, repeat
from torch import Tensor, nn
from torch.func import functional_call

from behavior.errors import CircuitsError, SelfCheckError
from patching.models.attention import AttentionCall, intercepted
from patching.models.model import PatchableModel
from patching.models.nodes import ACTIVATIONS, Activation, Site, own_stack
from patching.models.projections import norm_scale, without_inputs
from patching.models.rows import LayerModules
from patching.models.tinybatch import tiny_batch

_ERRORS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError, CircuitsError)
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def check_model(model: PatchableModel) -> None:
    """Run the self-check.

    Raises:
        SelfCheckError: If one of the identities does not hold; the message names it.
    """
    try:
        with torch.no_grad():
            _Check(model).run()
    except SelfCheckError:
        raise
    except _ERRORS as error:
        reason = str(error).strip().splitlines()[0]
        raise _failure(model, f"the tiny batch did not run ({reason})") from error


class _Check:
    def __init__(self, model: PatchableModel) -> None:
        self.model = model
        self.rows = model.modules.layers
        self.batch = tiny_batch(model)
        self.plain = model.forward(self.batch)
        self.values: dict[Site, Tensor] = {}
        self.calls: dict[nn.Module, AttentionCall] = {}
        self.inputs: dict[nn.Module, Tensor] = {}
        self.outputs: dict[nn.Module, Tensor] = {}

    def run(self) -> None:
        self.sizes()
        self.completeness()
        self.record()
        self.own_values()
        for i, row in enumerate(self.rows):
            self.stream(row, self.rows[i + 1] if i + 1 < len(self.rows) else None)
            if row.has("pattern"):
                self.attention(row)
            self.results(row)
            self.zeroed_heads(row)
        if self.model.architecture.reads == "first token":
            self.first_token()

    def sizes(self) -> None:
        spec, rows = self.model.spec, self.rows
        found = len({(own_stack(row.stack), row.index) for row in rows})
        declared = spec.n_layers + spec.n_decoder_layers
        if found != declared:
            raise _failure(self.model, f"{declared} layers declared, but {found} found")
        if self.plain.shape[1] != spec.n_classes:
            raise _failure(
                self.model, f"{spec.n_classes} class names, but {self.plain.shape[1]} logits"
            )
        layout = self.model.architecture.layout
        for row in rows:
            if row.is_image != (layout == "convolution"):
                kind = type(row.o).__name__
                raise _failure(self.model, f"the layout is {layout}, but heads end in a {kind}")
            if row.is_image:
                continue
            shape = tuple(row.output_matrix.shape)
            if shape != (spec.d_model, spec.n_heads * spec.d_head):
                raise _failure(
                    self.model,
                    f"W_O should be {spec.d_model} x {spec.n_heads} heads * {spec.d_head}, "
                    f"but is {shape}",
                )

    def completeness(self) -> None:
        """No attention, and no block of a ResNet, is outside of all rows."""
        declared = {row.enter if row.is_image else row.attention for row in self.rows}
        kinds = {type(module) for module in declared}
        for name, module in self.model.hf.named_modules():
            if type(module) in kinds and module not in declared:
                raise _failure(self.model, f"{name!r} is in no row that is declared")

    def record(self) -> None:
        embedded: dict[str, list[Tensor]] = {stack: [] for stack in self.model.modules.embeddings}
        with ExitStack() as stack:
            for name, module in self.model.modules.embeddings.items():
                keep = embedded[name].append
                hook = module.register_forward_hook(lambda *call, keep=keep: keep(call[-1]))
                stack.callback(hook.remove)
            self.values = stack.enter_context(
                self.model.hooks.reading(self.model.sites(ACTIVATIONS))
            )
            logits = self.model.forward(self.batch)
        for row in self.model.modules.entries:
            ran = embedded[own_stack(row.stack)]
            if len(ran) != 1:
                raise _failure(self.model, f"the embedding ran {len(ran)} times, not once")
            expected = ran[0].flatten(start_dim=2).mT if row.is_image else ran[0]
            claim = f"{_name(row)} reads the embedding"
            self.equal(self.at(row, "resid_pre"), expected, claim)
        self.equal(logits, self.plain, "reading activations changes nothing")
        self.record_calls()

    def record_calls(self) -> None:
        """What attention functions, projections and MLPs are called with, and what leaves rows."""

        def keep(call: AttentionCall) -> Tensor:
            self.calls[call.module] = call
            return call.run()

        attentions = {row.attention: keep for row in self.rows if row.has("pattern")}
        read = {module for row in self.rows for module in (row.q, row.mlp) if module is not None}
        with ExitStack() as stack:
            for module in read:
                hook = module.register_forward_pre_hook(
                    lambda module, args: self.inputs.__setitem__(module, args[0])
                )
                stack.callback(hook.remove)
            for row in self.rows:
                hook = row.leave.register_forward_hook(
                    lambda module, _, output: self.outputs.__setitem__(module, _first(output))
                )
                stack.callback(hook.remove)
            stack.enter_context(intercepted(self.model.hf, attentions))
            self.model.forward(self.batch)

    def own_values(self) -> None:
        kept = {site: value for site, value in self.values.items() if site.activation != "pattern"}
        edits = {site: (lambda _current, value=value: value) for site, value in kept.items()}
        with self.model.hooks.editing(edits):
            logits = self.model.forward(self.batch)
        self.equal(logits, self.plain, "patching every site with its own value changes nothing")

    def stream(self, row: LayerModules, following: LayerModules | None) -> None:
        name, pre, attn_out = _name(row), self.at(row, "resid_pre"), self.at(row, "attn_out")
        layout = self.model.architecture.layout
        owns_post = self.model.modules.row(row.site("resid_post")) is row
        if layout == "convolution":
            post = self.at(row, "resid_post")
        elif layout == "post-norm":
            mid = row.norm(pre + attn_out)
            self.equal(self.at(row, "resid_mid"), mid, f"{name}: resid_mid follows the attention")
            assert row.mlp_norm is not None, "post-norm rows have MLPs"
            post = row.mlp_norm(mid + self.at(row, "mlp_out"))
        else:
            mid = post = pre + attn_out
            self.normed(row.q, row.norm, pre, f"{name}: resid_mid follows the attention")
            if row.mlp is not None and row.mlp_norm is not None:
                post = mid + self.at(row, "mlp_out")
                self.normed(row.mlp, row.mlp_norm, mid, f"{name}: resid_mid is what the MLP reads")
        if owns_post:
            self.equal(self.at(row, "resid_post"), post, f"{name}: resid_post follows the MLP")
        else:
            self.equal(self.outputs[row.leave], post, f"{name}: what leaves it is resid_mid")
        if following is not None and not following.enters:
            claim = f"{_name(following)} reads what {name} wrote"
            self.equal(self.at(following, "resid_pre"), post, claim)

    def normed(self, reader: nn.Module | None, norm: nn.Module, stream: Tensor, claim: str) -> None:
        self.equal(self.inputs[cast(nn.Module, reader)], norm(stream), claim)

    def attention(self, row: LayerModules) -> None:
        name, call = _name(row), self.calls[row.attention]
        self.equal(
            einsum(
                self.at(row, "pattern"),
                self.at(row, "v"),
                "b head dst src, b src head d -> b dst head d",
            ),
            self.at(row, "z"),
            f"{name}: z is the pattern times v",
        )
        read: dict[Activation, Tensor] = {"q": call.query, "k": call.key}
        for activation, used in read.items():
            claim = f"{name}: the pattern is the softmax of q and k"
            self.equal(self.at(row, activation), used.transpose(1, 2), claim)

    def results(self, row: LayerModules) -> None:
        total = self.at(row, "result").sum(dim=2)
        if row.is_image:
            norm = cast(nn.BatchNorm2d, row.norm)
            mean = cast(Tensor, norm.running_mean)
            shift = 0.0 if row.bias is None else row.bias
            total = total + (shift - mean) * norm_scale(norm)
            total = total + norm.bias if norm.affine else total
        elif row.bias is not None:
            total = total + row.bias
        claim = f"{_name(row)}: results plus bias are attn_out"
        self.equal(total, self.at(row, "attn_out"), claim)

    def zeroed_heads(self, row: LayerModules) -> None:
        """Row h of one batch has head h set to zero; beside it, W_O without those columns."""
        one = {name: value[:1] for name, value in self.batch.items()}
        many = {name: repeat(value, "1 ... -> n ...", n=row.n_heads) for name, value in one.items()}
        silenced: list[Tensor] = []

        def silence(z: Tensor) -> Tensor:
            return z * (1 - torch.eye(row.n_heads).to(z))[:, None, :, None]

        hook = row.enter.register_forward_hook(lambda *call: silenced.append(_first(call[-1])))
        with self.model.hooks.editing({row.site("z"): silence}), ExitStack() as stack:
            stack.callback(hook.remove)
            self.model.forward(many)
        call = self.call_of(row, one)
        for head, node in enumerate(row.heads):
            self.equal(
                silenced[0][head : head + 1],
                call(without_inputs(row.o, row.columns(head))),
                f"{node}: z set to zero is W_O without the head's columns",
            )

    def call_of(self, row: LayerModules, batch: dict[str, Tensor]) -> Any:
        """The module that the stream enters as a function of W_O, on its inputs in one batch."""
        seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        hook = row.enter.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
        )
        try:
            self.model.forward(batch)
        finally:
            hook.remove()
        name = next(name for name, module in row.enter.named_modules() if module is row.o)

        def call(weight: Tensor) -> Tensor:
            return _first(functional_call(row.enter, {f"{name}.weight": weight}, *seen[0]))

        return call

    def first_token(self) -> None:
        def change_others(value: Tensor) -> Tensor:
            return torch.cat([value[:, :1], value[:, 1:] + 1], dim=1)

        with self.model.hooks.editing({self.rows[-1].site("resid_post"): change_others}):
            logits = self.model.forward(self.batch)
        self.equal(logits, self.plain, "the classifier reads the first token only")

    def at(self, row: LayerModules, activation: Activation) -> Tensor:
        return self.values[row.site(activation)]

    def equal(self, found: Tensor, expected: Tensor, claim: str) -> None:
        """Compare up to rounding, relative to the largest expected value."""
        if found.shape != expected.shape:
            shapes = f"{tuple(found.shape)} and {tuple(expected.shape)}"
            raise _failure(self.model, f"'{claim}' fails (shapes {shapes})")
        difference = (found - expected).abs().max().item()
        allowed = _TOLERANCE[self.model.dtype] * expected.abs().max().item()
        if not difference <= allowed:
            raise _failure(
                self.model,
                f"'{claim}' fails (difference {difference:.2g}, allowed {allowed:.2g})",
            )


def _name(row: LayerModules) -> str:
    return row.name if row.stack else f"layer {row.index}"


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _failure(model: PatchableModel, what: str) -> SelfCheckError:
    return SelfCheckError(
        f"Self-check of {model.name!r} failed: {what}. The declaration of the family "
        f"{model.architecture.family!r} does not describe this model; mend it in "
        "patching/models/families, or skip the check if you know why."
    )
