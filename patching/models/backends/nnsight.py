"""nnsight: traces over a copy of the model, for any family.

Modules are found by the declaration, not by path, so it does not matter that nnsight calls a
module `E_output` where the model calls it `output`. Within a trace places must be visited in the
order in which the model runs them; that order is taken from one run with plain hooks.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from behavior.errors import DataError
from patching.models.backends.copies import copy_model, refuse_hooks
from patching.models.backends.libraries import nnsight_library
from patching.models.backends.protocol import OFFERED, OpenModel
from patching.models.nodes import Site
from patching.models.places import End, Place, place_of

_SNAPSHOT = re.compile(r"models--(?P<id>[^/\\]+)[/\\]snapshots[/\\](?P<revision>[^/\\]+)")

_End = tuple[nn.Module, End]


class NNsightBackend:
    """Runs traces of nnsight over a copy of the model.

    Attributes:
        name: `nnsight`.
    """

    name = "nnsight"

    def __init__(self, model: OpenModel) -> None:
        library = nnsight_library()
        self._model = model
        self._copy = copy_model(model)
        self._root = _wrapped(library.NNsight, self._copy.hf)
        self._envoys = {envoy._module: envoy for envoy in self._root.modules()}
        self._order: dict[_End, int] = {}

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch."""
        return self._run(batch, _Visits())

    def read(
        self, batch: Mapping[str, Tensor], sites: Iterable[Site]
    ) -> tuple[Float[Tensor, "batch n_classes"], dict[Site, Tensor]]:
        """Logits of one batch, and the values at some sites."""
        visits = _Visits(wanted=tuple(sites))
        return self._run(batch, visits), visits.values

    def patched(
        self, batch: Mapping[str, Tensor], values: Mapping[Site, Tensor]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch with some sites set to values."""
        return self._run(batch, _Visits(edits=values))

    def _run(
        self, batch: Mapping[str, Tensor], visits: "_Visits"
    ) -> Float[Tensor, "batch n_classes"]:
        refuse_hooks(self._model)
        if not self._order:
            self._order = self._running_order(batch)
        stops = self._stops(visits)
        found: list[Tensor] = []
        # nnsight runs the lines of this block in the midst of the forward pass.
        with torch.no_grad(), self._root.trace(dict(batch), fn=self._copy.call) as tracer:
            for envoy, end, places in stops:
                visits.visit(envoy, end, places)
            found.append(tracer.result)
        return found[0]

    def _stops(self, visits: "_Visits") -> list[tuple[Any, End, dict[Site, Place]]]:
        """The places to visit, in the order in which they run; sites of one place together."""
        stops: dict[_End, dict[Site, Place]] = {}
        for site in (*visits.wanted, *visits.edits):
            place = place_of(self._copy.row(site), site.activation)
            stops.setdefault((place.module, place.end), {})[site] = place
        return [
            (self._envoys[module], end, stops[module, end])
            for module, end in sorted(stops, key=self._order.__getitem__)
        ]

    def _running_order(self, batch: Mapping[str, Tensor]) -> dict[_End, int]:
        order: dict[_End, int] = {}

        def pass_by(module: nn.Module, end: End) -> None:
            order.setdefault((module, end), len(order))

        rows = self._copy.modules.layers
        modules = {
            place_of(row, activation).module
            for row in rows
            for activation in OFFERED
            if row.has(activation)
        }
        handles = [
            handle
            for module in modules
            for handle in (
                module.register_forward_pre_hook(lambda at, _args: pass_by(at, "input")),
                module.register_forward_hook(lambda at, _args, _out: pass_by(at, "output")),
            )
        ]
        try:
            with torch.no_grad():
                self._copy.call(batch)
        finally:
            for handle in handles:
                handle.remove()
        return order


@dataclass(slots=True)
class _Visits:
    """What one trace does at its places.

    Attributes:
        wanted: Sites to read.
        edits: Values to set.
        values: What was read.
    """

    wanted: tuple[Site, ...] = ()
    edits: Mapping[Site, Tensor] = field(default_factory=dict[Site, Tensor])
    values: dict[Site, Tensor] = field(default_factory=dict[Site, Tensor])

    def visit(self, envoy: Any, end: End, places: Mapping[Site, Place]) -> None:
        """Read and set one end of one module, inside a trace."""
        whole: Any = envoy.input if end == "input" else envoy.output
        raw: Tensor = whole[0] if isinstance(whole, tuple) else whole
        changed = raw
        for site, place in places.items():
            if site in self.edits:
                changed = place.write(changed, self.edits[site])
            else:
                # A copy: a block of a ResNet adds to the tensor in place.
                self.values[site] = place.read(raw).clone()
        if changed is raw:
            return
        after = (changed, *whole[1:]) if isinstance(whole, tuple) else changed
        if end == "input":
            envoy.input = after
        else:
            envoy.output = after


def nnsight_of(model: OpenModel, *, remote: bool = False) -> Any:
    """An nnsight model for traces of one's own, over a copy of the model.

    It is nnsight's `TransformersModel`, which traces batches and texts, and takes `remote=True`
    (or `remote="local"` to try that without a server) in `trace`; a model that answers with words
    is a plain `NNsight`, for local traces. A remote trace runs what the server has under the
    model's hub id and revision, without an adapter that was merged on load. A module that the
    model calls `output` is called `E_output` here. The library is handed over as its own import
    leaves it; see `patching.models.backends.libraries`.

    Args:
        model: The model.
        remote: Whether remote traces will be asked for: checks that the model is on the hub.

    Raises:
        CheckpointError: If nnsight is not installed.
        DataError: If remote traces are wanted of a model that is not from the hub, or answers
            with words.
    """
    repository, revision = _on_the_hub(model)
    if remote:
        _check_remote(model, repository)
    library = nnsight_library(hand_over=True)
    copied = copy_model(model).hf
    if model.architecture.label_words:
        return _wrapped(library.NNsight, copied)
    is_text = isinstance(model.processor, PreTrainedTokenizerBase)
    traced = _wrapped(
        library.TransformersModel,
        copied,
        task="text-classification" if is_text else "image-classification",
        revision=revision,
        **{"tokenizer" if is_text else "image_processor": deepcopy(model.processor)},
    )
    traced.repo_id = repository or model.name
    return traced


def _wrapped(kind: Any, hf: PreTrainedModel, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*nnsight already serves")
        return kind(hf, **options)


def _check_remote(model: OpenModel, repository: str | None) -> None:
    if model.architecture.label_words:
        raise DataError(
            f"A {model.architecture.model_class} that answers with words cannot be traced "
            "remotely: a server would load it as another class. Trace it here."
        )
    if repository is None:
        raise DataError(
            f"{model.name!r} was opened from a local folder, which a server does not have. Open it "
            "by hub id (org/name), or trace it here."
        )


def _on_the_hub(model: OpenModel) -> tuple[str | None, str | None]:
    """Hub id and commit that the weights came from, by where the hub's cache keeps them."""
    found = _SNAPSHOT.search(str(model.hf.name_or_path))
    if found is None:
        return None, None
    return found["id"].replace("--", "/"), found["revision"]
