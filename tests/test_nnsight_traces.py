"""Traces of one's own through nnsight, here and up to the request that goes to a server."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import make_family, make_inputs
from torch import Tensor

from behavior.errors import DataError
from patching.models.backends.nnsight import nnsight_of
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

Batch = dict[str, Tensor]


def open_family(folder: Path, family: str) -> tuple[PatchableModel, Batch]:
    """A model, and a batch for it."""
    model = load_checkpoint(make_family(folder / family, family))
    return model, model.encoder.batch(model.encode(make_inputs(family, 4)))


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("family", ["bert", "t5", "t5-words", "gpt2", "deit", "resnet"])
def test_an_nnsight_trace_of_ones_own_reads_what_we_read(tmp_path: Path, family: str) -> None:
    model, batch = open_family(tmp_path, family)
    traced, given = nnsight_of(model), dict(batch)
    if family == "t5-words":
        start = model.hf.config.decoder_start_token_id
        given["decoder_input_ids"] = torch.full((len(batch["input_ids"]), 1), start)
    row = model.modules.layers[1]
    path = next(name for name, module in model.hf.named_modules() if module is row.o)
    envoy = next(one for one in traced.modules() if one.path == f"model.{path}")
    with torch.no_grad(), traced.trace(**given):
        z = envoy.input.save()
    with model.hooks.reading([row.site("z")]) as values:
        model.forward(batch)
    (ours,) = values.values()
    flat = z.flatten(start_dim=2).transpose(1, 2) if row.is_image else z
    assert_close(flat.unflatten(-1, (row.n_heads, -1)), ours)


def test_a_remote_trace_asks_for_the_hub_model_at_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be sent, and the same trace in nnsight's local rehearsal."""
    model, batch = open_family(tmp_path, "bert")
    with pytest.raises(DataError, match="'bert' was opened from a local folder"):
        nnsight_of(model, remote=True)
    with pytest.raises(DataError, match="answers with words cannot be traced remotely"):
        nnsight_of(open_family(tmp_path, "t5-words")[0], remote=True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(
        model.hf, "name_or_path", f"/cache/hub/models--org--some-bert/snapshots/{commit}"
    )
    traced = nnsight_of(model, remote=True)
    huggingface: Any = import_module("nnsight.modeling.huggingface")
    remote: Any = import_module("nnsight.intervention.backends.remote")
    sent: list[Any] = []
    monkeypatch.setitem(huggingface._ID_CACHE, "org/some-bert", "org/some-bert")
    monkeypatch.setattr(
        remote.RemoteBackend,
        "request",
        lambda self, request, tracer: sent.extend((request, self._serialize(tracer))),
    )
    layer = traced.bert.encoder.layer[1]
    with traced.trace(batch, remote=True):
        layer.attention.E_output.dense.input.save()
    request, payload = sent
    wrapper, key = request.model_key.split(":", 1)
    assert wrapper == "nnsight.modeling.transformers.TransformersModel"
    assert json.loads(key) == {
        "repo_id": "org/some-bert",
        "revision": commit,
        "task": "text-classification",
    }
    assert 100 < len(payload) < 100_000, "the trace is sent, the weights are not"
    with torch.no_grad(), traced.trace(batch, remote="local"):
        logits = traced.output.logits.save()
    assert_close(logits, model.forward(batch))
