"""Ablation in the weights: a plain Hugging Face model in which some nodes say nothing.

| node | zero | mean |
|---|---|---|
| head | its columns of W_O are zero | and the bias takes W_O times its mean z |
| group of a ResNet | its input channels are zero | the norm before gives its mean z |
| MLP | its last weight and bias are zero | and the bias is its mean output |

Means are taken over all positions that are no padding, so that they are the same at each. What
came out is proved on a tiny batch before it is handed on: its logits are those of
`model.patch({node: value})`.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from behavior.errors import DataError, ResultError, SelfCheckError
from behavior.inputs import Input
from patching.models.binding import bind
from patching.models.cache import Value
from patching.models.calling import Caller
from patching.models.nodes import Node, Site
from patching.models.processors import Processor
from patching.models.projections import output_matrix, without_inputs
from patching.models.rows import LayerModules
from patching.models.tinybatch import tiny_batch

if TYPE_CHECKING:
    from patching.models.model import PatchableModel

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True, slots=True)
class AblatedModel:
    """A plain transformers model without some of its nodes.

    Attributes:
        hf: A copy of the model, with other weights.
        processor: Its tokenizer or image processor.
        nodes: What says nothing any more.
        kind: `zero` or `mean`.
        name: Of the model that it was made from.
    """

    hf: PreTrainedModel
    processor: Processor
    nodes: tuple[str, ...]
    kind: str
    name: str

    def save_pretrained(self, folder: Path | str) -> Path:
        """Write a plain Hugging Face folder, model and processor; returns it.

        A prompt and label words are no part of such a folder; give them to `load_checkpoint`.

        Raises:
            ResultError: If the folder holds something already, or cannot be written.
        """
        path = Path(folder)
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise ResultError(
                f"{path} holds something already. Give a new folder, so that no model is lost."
            )
        try:
            self.hf.save_pretrained(path)
            self.processor.save_pretrained(path)
        except OSError as error:
            raise ResultError(f"Cannot write {path}: {error.strerror or error}.") from error
        return path


def ablate_model(
    model: "PatchableModel", nodes: Sequence[str], inputs: Sequence[Input] | None
) -> AblatedModel:
    """A copy of the model whose weights leave these nodes out; see `PatchableModel.ablate`."""
    _check(model, nodes)
    sites = [model.site(name) for name in nodes]
    means = None if inputs is None else _means(model, sites, inputs)
    caller = deepcopy(model._caller)
    rows = bind(model.architecture, caller._hf).layers
    for name, site in zip(nodes, sites, strict=True):
        row = rows[model.modules.layers.index(model.row(site))]
        is_mlp = site.activation == "mlp_out"
        silence = _silence_mlp if is_mlp else _silence_group if row.is_image else _silence_head
        silence(name, row, site, None if means is None else means[site])
    _prove(model, caller, dict.fromkeys(sites, 0.0) if means is None else means)
    kind = "zero" if means is None else "mean"
    return AblatedModel(caller._hf, model.processor, tuple(nodes), kind, model.name)


def _check(model: "PatchableModel", nodes: Sequence[str]) -> None:
    if model.is_patched:
        raise DataError("A model cannot be ablated inside `with model.patch(...)`.")
    if not nodes:
        raise DataError("There are no nodes to ablate. Give at least one, such as 'a0.h0'.")
    found = [Node.parse(name) for name in nodes]
    for name, node in zip(nodes, found, strict=True):
        if node.kind in ("input", "logits"):
            raise DataError(f"{name!r} cannot be ablated in the weights. Give heads or MLPs.")
        if nodes.count(name) > 1 or (node.kind == "head" and node.row in nodes):
            raise DataError(f"{name!r} stands twice in {', '.join(nodes)}. Give each once.")


def _means(
    model: "PatchableModel", sites: Sequence[Site], inputs: Sequence[Input]
) -> dict[Site, Tensor]:
    """Mean of each site over all positions of all inputs that are no padding."""
    rows = model.encode(inputs)
    totals: dict[Site, Tensor] = {}
    counts: dict[Site, float] = {}
    for chunk in model.chunks([len(row) for row in rows]):
        batch = model.encoder.batch([rows[i] for i in chunk])
        with model.hooks.reading({site.whole for site in sites}) as values:
            model.forward(batch)
        for site, value in values.items():
            real = batch.get("attention_mask", torch.ones(value.shape[:2], device=value.device))
            weighted = value.double().flatten(2) * real[:, :, None]
            totals[site] = totals.get(site, 0.0) + weighted.sum(dim=(0, 1))
            counts[site] = counts.get(site, 0.0) + float(real.sum())
    found: dict[Site, Tensor] = {}
    for site in sites:
        mean = (totals[site.whole] / counts[site.whole]).to(model.dtype)
        row = model.row(site)
        found[site] = mean if site.activation == "mlp_out" else mean[_channels(row, site)]
    return found


def _channels(row: LayerModules, site: Site) -> slice:
    return row.columns(0, row.n_heads - 1) if site.head is None else row.columns(site.head)


@torch.no_grad()
def _silence_head(
    name: str, row: LayerModules, site: Site, mean: Float[Tensor, " z"] | None
) -> None:
    channels = _channels(row, site)
    if mean is not None:
        bias = _bias(row.o, name)
        bias += output_matrix(row.o)[:, channels] @ mean
    cast(Tensor, row.o.weight).copy_(without_inputs(row.o, channels))


@torch.no_grad()
def _silence_group(
    _name: str, row: LayerModules, site: Site, mean: Float[Tensor, " z"] | None
) -> None:
    """A mean comes from the norm before the convolution.

    Behind a padded convolution it would not be the same at the border. The ReLU between lets it
    pass, because a mean of what it gave is not negative.
    """
    channels = _channels(row, site)
    if mean is None:
        cast(Tensor, row.o.weight).copy_(without_inputs(row.o, channels))
        return
    norms = [module for module in row.attention.modules() if isinstance(module, nn.BatchNorm2d)]
    before = norms[norms.index(cast(nn.BatchNorm2d, row.norm)) - 1]
    before.weight[channels] = 0
    before.bias[channels] = mean


@torch.no_grad()
def _silence_mlp(
    name: str, row: LayerModules, _site: Site, mean: Float[Tensor, " d_model"] | None
) -> None:
    assert row.mlp is not None, "the model has the node"
    *_, last = (module for module in row.mlp.modules() if isinstance(module, nn.Linear | Conv1D))
    if mean is not None:
        _bias(last, name).copy_(mean)
    elif isinstance(bias := getattr(last, "bias", None), Tensor):
        bias.zero_()
    last.weight.zero_()


def _bias(projection: nn.Module, name: str) -> Tensor:
    bias = getattr(projection, "bias", None)
    if not isinstance(bias, Tensor):
        raise DataError(
            f"{name!r} cannot be ablated to its mean in the weights, because a "
            f"{type(projection).__name__} without a bias writes it. Leave inputs out (zero)."
        )
    return bias


def _prove(model: "PatchableModel", caller: Caller, values: Mapping[Site, Value]) -> None:
    """Compare with patching, relative to the largest logit.

    Raises:
        SelfCheckError: If they differ.
    """
    batch = tiny_batch(model)
    by_site: dict[str | Site, Value] = {
        site: _by_head(model.row(site), site, value) for site, value in values.items()
    }
    with torch.no_grad(), model.patch(by_site):
        expected = model.forward(batch)
        found = caller.logits(batch)
    difference = float((found - expected).abs().max())
    if not difference <= _TOLERANCE[model.dtype] * max(1.0, float(expected.abs().max())):
        raise SelfCheckError(
            f"Ablation of {model.name!r} failed: its weights give other logits than a patch "
            f"(difference {difference:.2g}). Patch the nodes with model.patch instead."
        )


def _by_head(row: LayerModules, site: Site, value: Value) -> Value:
    """A mean of all heads of a row, in the shape of their site."""
    if isinstance(value, Tensor) and site.activation == "z" and site.head is None:
        return value.unflatten(0, (row.n_heads, row.d_head))
    return value
