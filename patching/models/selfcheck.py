"""Proves on load that a family's declaration describes the model.

One tiny batch of random token ids (the second row padded), no text:

1. hooks change nothing: logits with every site read and written back equal the plain ones;
2. the stream is a chain: layer 0 reads the embedding, each other layer what the one before it
   wrote, norms and MLP included;
3. z is the pattern times v, and the pattern is the softmax of q and k;
4. the heads' results plus the bias are the output of the attention;
5. for every head, z set to zero gives what zeroed columns of W_O give;
6. a classifier that is said to read the first token reads no other.

Equal logits alone prove nothing about where the hooks are, which is why 2 to 5 exist.
"""

from contextlib import ExitStack
from typing import Any

import torch
from einops import einsum, repeat
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from behavior.errors import CircuitsError, SelfCheckError
from patching.models.encoding import Encoded
from patching.models.model import PatchableModel
from patching.models.nodes import ACTIVATIONS, Site

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_LENGTHS = (7, 5)


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
    except (AttributeError, RuntimeError, TypeError, CircuitsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise _failure(model, f"the tiny batch did not run ({reason})") from error


class _Check:
    def __init__(self, model: PatchableModel) -> None:
        self.model = model
        self.batch = _tiny_batch(model)
        self.plain = model.forward(self.batch)
        self.values: dict[Site, Tensor] = {}

    def run(self) -> None:
        self.sizes()
        sites = self.model.sites(ACTIVATIONS)
        embedded: list[Tensor] = []
        hook = self.model.modules.embedding.register_forward_hook(
            lambda *call: embedded.append(call[-1])
        )
        with ExitStack() as stack:
            stack.callback(hook.remove)
            self.values = stack.enter_context(self.model.hooks.reading(sites))
            logits = self.model.forward(self.batch)
        if len(embedded) != 1:
            raise _failure(self.model, f"the embedding ran {len(embedded)} times, not once")
        self.equal(self.at(0, "resid_pre"), embedded[0], "layer 0 reads the embedding")
        self.equal(logits, self.plain, "reading activations changes nothing")
        self.own_values()
        for layer in range(self.model.spec.n_layers):
            self.stream(layer)
            self.heads(layer)
            self.zeroed_heads(layer)
        if self.model.architecture.reads == "first token":
            self.first_token()

    def sizes(self) -> None:
        spec, modules = self.model.spec, self.model.modules
        if len(modules.layers) != spec.n_layers:
            raise _failure(
                self.model, f"{spec.n_layers} layers declared, but {len(modules.layers)} found"
            )
        if self.plain.shape[1] != spec.n_classes:
            raise _failure(
                self.model, f"{spec.n_classes} class names, but {self.plain.shape[1]} logits"
            )
        for layer in modules.layers:
            if tuple(layer.output_weight.shape) != (spec.d_model, spec.n_heads * spec.d_head):
                raise _failure(
                    self.model,
                    f"W_O should be {spec.d_model} x {spec.n_heads} heads * {spec.d_head}, "
                    f"but is {tuple(layer.output_weight.shape)}",
                )

    def own_values(self) -> None:
        kept = {site: value for site, value in self.values.items() if site.activation != "pattern"}
        edits = {site: (lambda _current, value=value: value) for site, value in kept.items()}
        with self.model.hooks.editing(edits):
            logits = self.model.forward(self.batch)
        self.equal(logits, self.plain, "patching every site with its own value changes nothing")

    def stream(self, layer: int) -> None:
        modules = self.model.modules.layers[layer]
        pre, mid, post = (self.at(layer, name) for name in ("resid_pre", "resid_mid", "resid_post"))
        attn_out, mlp_out = self.at(layer, "attn_out"), self.at(layer, "mlp_out")
        if self.model.architecture.layout == "post-norm":
            after_attention = modules.attention_norm(pre + attn_out)
            after_mlp = modules.mlp_norm(mid + mlp_out)
        else:
            after_attention, after_mlp = pre + attn_out, mid + mlp_out
        self.equal(mid, after_attention, f"layer {layer}: resid_mid follows the attention")
        self.equal(post, after_mlp, f"layer {layer}: resid_post follows the MLP")
        if layer + 1 < self.model.spec.n_layers:
            following = self.at(layer + 1, "resid_pre")
            self.equal(following, post, f"layer {layer + 1} reads what layer {layer} wrote")

    def heads(self, layer: int) -> None:
        q, k, v, z = (self.at(layer, name) for name in ("q", "k", "v", "z"))
        pattern = self.at(layer, "pattern")
        self.equal(
            einsum(pattern, v, "b head dst src, b src head d -> b dst head d"),
            z,
            f"layer {layer}: z is the pattern times v",
        )
        scores = einsum(q[:1], k[:1], "b dst head d, b src head d -> b head dst src")
        softmax = torch.softmax(scores * self.model.spec.d_head**-0.5, dim=-1)
        self.equal(pattern[:1], softmax, f"layer {layer}: the pattern is the softmax of q and k")
        bias = self.model.modules.layers[layer].output_bias
        total = self.at(layer, "result").sum(dim=2) + (0.0 if bias is None else bias)
        self.equal(
            total, self.at(layer, "attn_out"), f"layer {layer}: results plus bias are attn_out"
        )

    def zeroed_heads(self, layer: int) -> None:
        """Row h of one batch has head h set to zero; beside it, W_O without those columns."""
        n_heads, d_head = self.model.spec.n_heads, self.model.spec.d_head
        row = {name: value[:1] for name, value in self.batch.items()}
        rows = {name: repeat(value, "1 pos -> n pos", n=n_heads) for name, value in row.items()}

        def silence(z: Float[Tensor, "batch pos head d_head"]) -> Tensor:
            return z * (1 - torch.eye(n_heads).to(z))[:, None, :, None]

        with (
            self.model.hooks.editing({Site(layer, "z"): silence}),
            self.model.hooks.reading([Site(layer, "resid_post")]) as silenced,
        ):
            self.model.forward(rows)
        call = self.block_call(layer, row)
        weight = self.model.modules.layers[layer].output_weight
        for head in range(n_heads):
            columns = weight.clone()
            columns[:, head * d_head : (head + 1) * d_head] = 0
            self.equal(
                silenced[Site(layer, "resid_post")][head : head + 1],
                call(columns),
                f"a{layer}.h{head}: z set to zero is W_O without the head's columns",
            )

    def block_call(self, layer: int, batch: dict[str, Tensor]) -> Any:
        """The layer as a function of W_O, on the inputs it has in one batch."""
        block = self.model.modules.layers[layer].block
        seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        hook = block.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
        )
        try:
            self.model.forward(batch)
        finally:
            hook.remove()
        name = f"{self.model.architecture.o}.weight"

        def call(weight: Tensor) -> Tensor:
            output: Any = functional_call(block, {name: weight}, *seen[0])
            return output[0] if isinstance(output, tuple) else output

        return call

    def first_token(self) -> None:
        def change_others(value: Tensor) -> Tensor:
            return torch.cat([value[:, :1], value[:, 1:] + 1], dim=1)

        last = Site(self.model.spec.n_layers - 1, "resid_post")
        with self.model.hooks.editing({last: change_others}):
            logits = self.model.forward(self.batch)
        self.equal(logits, self.plain, "the classifier reads the first token only")

    def at(self, layer: int, activation: Any) -> Tensor:
        return self.values[Site(layer, activation)]

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


def _tiny_batch(model: PatchableModel) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vocabulary = len(model.tokenizer)
    rows: list[Encoded] = []
    for length in _LENGTHS:
        ids = torch.randint(vocabulary, (length,), generator=generator)
        rows.append(Encoded(ids.int().numpy(), torch.zeros(length, dtype=torch.int8).numpy()))
    return model.encoder.batch(rows)


def _failure(model: PatchableModel, what: str) -> SelfCheckError:
    return SelfCheckError(
        f"Self-check of {model.name!r} failed: {what}. The declaration of the family "
        f"{model.architecture.family!r} does not describe this model; mend it in "
        "patching/models/families, or skip the check if you know why."
    )
