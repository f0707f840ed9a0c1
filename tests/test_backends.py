"""Three libraries, one protocol: the same logits, values and patches in every family."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_pairs_for
from torch import Tensor

from behavior.errors import CheckpointError, DataError, SelfCheckError, UnsupportedModelError
from patching.activation import patch_heads, patch_layers, patch_mlps
from patching.models.backends import BACKENDS, OFFERED, Backend, BackendName, open_backend
from patching.models.backends.nnsight import nnsight_of
from patching.models.backends.transformer_lens import bridge_of
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import Site

Batch = dict[str, Tensor]
CASES = [
    (family, backend)
    for family in FAMILIES
    for backend in BACKENDS[1:]
    if not (family.startswith("resnet") and backend == "transformer-lens")
]
PARTS = {
    True: (
        patch_mlps,
        partial(patch_layers, what="patterns"),
        partial(patch_layers, what="values"),
    ),
    False: (),
}
"""By whether there is attention."""
ROOT = Path(__file__).parents[1]
UNMOVED = {
    *(f"dec.L0.{activation}" for activation in ("resid_pre", "q", "k", "v", "z", "attn_out")),
    *("dec.x.L0.resid_pre", "dec.x.L0.q", "dec.L1.q", "dec.L1.k"),
}
"""The same in all runs where the decoder sees its start token alone."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PatchableModel]:
    folder = tmp_path_factory.mktemp("families")
    return {
        family: load_checkpoint(make_family(folder / family, family), check=False)
        for family in FAMILIES
    }


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(
    request: pytest.FixtureRequest, opened: dict[str, PatchableModel]
) -> Iterator[tuple[PatchableModel, Backend, Batch, Batch]]:
    """A model, one of its backends, and a clean and a corrupted batch."""
    family, backend = request.param
    model = opened[family]
    yield model, open_backend(backend, model), *batches(model, family)


def batches(model: PatchableModel, family: str, n: int = 5) -> tuple[Batch, Batch]:
    pairs = make_pairs_for(family, n, seed=3)
    clean, corrupted = (
        model.encoder.batch(model.encode(inputs)) for inputs in (pairs.clean, pairs.corrupted)
    )
    return clean, corrupted


@contextmanager
def on_backend(model: PatchableModel, backend: Backend) -> Iterator[None]:
    before = model.backend
    model.backend = backend
    try:
        yield
    finally:
        model.backend = before


def assert_same(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value, or of one."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.fixture(scope="module")
def process(opened: dict[str, PatchableModel]) -> list[Any]:
    """What a process of its own found in `tests/backend_process.py`, step by step."""
    command = [sys.executable, ROOT / "tests/backend_process.py", opened["bert"].hf.name_or_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-3:]]


def test_logits_and_values_are_those_of_the_model(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    model, backend, clean, _ = case
    sites = model.sites(OFFERED)
    assert len(sites) > 5
    expected, values = open_backend("hooks", model).read(clean, sites)
    assert expected.std(dim=0).min() > 1e-2, "inputs should differ"
    logits, found = backend.read(clean, sites)
    assert_same(logits, expected)
    assert_same(backend.logits(clean), expected)
    assert found.keys() == values.keys() == set(sites)
    for site in sites:
        assert_same(found[site], values[site])


def test_a_patch_at_every_site_gives_the_same_logits(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    model, backend, clean, corrupted = case
    hooks = open_backend("hooks", model)
    sites = model.sites(OFFERED)
    plain, (_, source) = hooks.logits(clean), hooks.read(corrupted, sites)
    for site in sites:
        expected = hooks.patched(clean, {site: source[site]})
        moved = float((expected - plain).abs().max())
        moves = not (model.architecture.label_words and str(site) in UNMOVED)
        assert moved > 2e-4 if moves else moved == 0, site
        assert_same(backend.patched(clean, {site: source[site]}), expected)


def test_several_sites_are_patched_in_one_run(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    """Queries and keys, which may come from one module; all heads; everything that enters."""
    model, backend, clean, corrupted = case
    hooks = open_backend("hooks", model)
    rows = model.modules.layers
    groups = [[row.site("resid_pre") for row in rows if row.enters]]
    groups.append([row.site("z") for row in rows])
    groups += [[row.site("k"), row.site("q")] for row in rows if row.has("q")]
    _, source = hooks.read(corrupted, {site for group in groups for site in group})
    for group in groups:
        values = {site: source[site] for site in group}
        assert_same(backend.patched(clean, values), hooks.patched(clean, values))


def test_patching_with_own_values_changes_nothing(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    model, backend, clean, _ = case
    logits, values = backend.read(clean, model.sites(OFFERED))
    assert_same(backend.patched(clean, values), logits)


def test_all_inputs_patched_give_the_other_run(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    model, backend, clean, corrupted = case
    sites = [row.site("resid_pre") for row in model.modules.entries]
    expected, source = backend.read(corrupted, sites)
    assert_same(backend.patched(clean, source), expected)


def test_effects_are_the_same_to_a_hundred_thousandth_of_the_margin(
    case: tuple[PatchableModel, Backend, Batch, Batch],
) -> None:
    """The suffix engine on one side, whole forwards of another library on the other."""
    model, backend, *_ = case
    family = str(model.hf.name_or_path).rsplit("/", 1)[-1]
    pairs = make_pairs_for(family, 3, seed=4)
    for measure in (patch_heads, patch_layers, *PARTS[model.modules.layers[0].has("q")]):
        expected = measure(model, pairs)
        with on_backend(model, backend):
            found = measure(model, pairs)
        margins = torch.stack([expected.clean, expected.corrupted]).abs().amax(dim=0)
        difference = (found.values - expected.values).abs().amax(dim=1)
        assert expected.values.std() > 1e-4
        assert (difference <= 1e-5 * margins.clamp(min=1.0)).all()


@pytest.mark.parametrize("family", ["bert", "t5", "resnet"])
def test_the_model_itself_stays_untouched(opened: dict[str, PatchableModel], family: str) -> None:
    model = opened[family]
    clean, _ = batches(model, family)
    weights, types = deepcopy(model.hf.state_dict()), [type(part) for part in model.hf.modules()]
    logits, kernel = model.forward(clean), model.hf.config._attn_implementation
    for name in BACKENDS:
        if family != "resnet" or name != "transformer-lens":
            open_backend(name, model).read(clean, model.sites(["z"]))
    for copied in [nnsight_of(model)] + ([] if family == "resnet" else [bridge_of(model)]):
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.zero_()
    assert [type(part) for part in model.hf.modules()] == types
    for part in model.hf.modules():
        assert "forward" not in part.__dict__
        assert not part._forward_hooks and not part._forward_pre_hooks
    assert model.hf.config._attn_implementation == kernel
    for name, weight in model.hf.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert torch.equal(model.forward(clean), logits)


def test_a_resnet_is_refused_by_transformer_lens_with_what_can_open_it(
    opened: dict[str, PatchableModel],
) -> None:
    for refused in (bridge_of, lambda model: open_backend("transformer-lens", model)):
        with pytest.raises(UnsupportedModelError, match=r"'hooks' or 'nnsight', which can\.$"):
            refused(opened["resnet"])


def test_an_unknown_backend_is_named_beside_the_known(opened: dict[str, PatchableModel]) -> None:
    with pytest.raises(CheckpointError, match="'jax'; expected hooks, nnsight or transformer-lens"):
        open_backend("jax", opened["bert"])


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_a_missing_library_is_named_with_what_installs_it(
    opened: dict[str, PatchableModel], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name.replace("-", "_"), None)
    with pytest.raises(CheckpointError, match=rf"{name}.*not installed.*debias-circuits\[backends"):
        open_backend(name, opened["vit"])


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_patterns_and_open_patches_are_for_hooks_alone(
    opened: dict[str, PatchableModel], name: str
) -> None:
    model = opened["bert"]
    backend, (clean, _) = open_backend(name, model), batches(model, "bert")
    with pytest.raises(DataError, match=r"^L0\.pattern can be .* the backend 'hooks' only"):
        backend.read(clean, [Site(0, "pattern")])
    with pytest.raises(DataError, match=r"no whole site L7\.z"):
        backend.read(clean, [Site(7, "z")])
    with model.patch({"a0.h0": 0.0}):
        with pytest.raises(DataError, match="hooks on 'bert', which reach the backend"):
            backend.logits(clean)
        with pytest.raises(DataError, match="hooks on 'bert', which reach the backend"):
            open_backend(name, model)


def test_a_hook_that_never_fires_is_no_silent_patch(
    opened: dict[str, PatchableModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TransformerLens takes a name of its own that BERT's forward never passes."""
    model = opened["bert"]
    backend, (clean, _) = open_backend("transformer-lens", model), batches(model, "bert")
    names = "patching.models.backends.transformer_lens.hook_name"
    monkeypatch.setattr(names, lambda _row, _activation: "blocks.1.attn.hook_hidden_states")
    with pytest.raises(SelfCheckError, match=r"hook at L1\.mlp_out 0 times.*'hooks' or 'nnsight'"):
        backend.read(clean, [Site(1, "mlp_out")])


def test_opening_and_patching_with_hooks_imports_neither_library(process: list[Any]) -> None:
    assert process[0] == []


def test_backends_put_back_what_their_imports_change(process: list[Any]) -> None:
    assert process[1] == []


def test_a_library_that_is_handed_over_is_as_its_own_import_leaves_it(process: list[Any]) -> None:
    assert process[2] == ["backward", "save", "validation"]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_checkpoint_is_opened_with_a_backend(
    opened: dict[str, PatchableModel], name: BackendName
) -> None:
    model = load_checkpoint(opened["roberta"].hf.name_or_path, backend=name)
    assert model.backend.name == name
    pairs = make_pairs_for("roberta", 3)
    found, expected = (patch_heads(one, pairs) for one in (model, opened["roberta"]))
    assert_same(found.values, expected.values)
