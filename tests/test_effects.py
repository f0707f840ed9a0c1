"""Effects: shapes, round trips, tables and figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from modelmaking import make_bert, make_pairs

from behavior.errors import DataError, ResultError
from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
from patching.effects import Effects
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.positions import PositionEffects, patch_positions

PAIRS = make_pairs(12, seed=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_bert(tmp_path_factory.mktemp("bert") / "m"))


@pytest.fixture(scope="module")
def effects(model: PatchableModel) -> Effects:
    return patch_nodes(
        model, PAIRS, [*(f"a{i}.h{j}" for i in range(3) for j in range(2)), "m0", "m1", "m2"]
    )


def test_heads_are_pair_by_layer_by_head_in_float32(model: PatchableModel) -> None:
    heads = patch_heads(model, PAIRS)
    assert heads.heads.shape == (12, 3, 2)
    assert heads.heads.dtype == torch.float32
    assert torch.equal(heads.heads[:, 1, 0], heads.node("a1.h0"))
    assert patch_mlps(model, PAIRS).mlps.shape == (12, 3)
    assert patch_layers(model, PAIRS).layers.shape == (12, 3)


def test_stored_effects_read_back_as_they_were(effects: Effects, tmp_path: Path) -> None:
    read = Effects.load(effects.save(tmp_path / "run" / "effects.safetensors"))
    assert torch.equal(read.values, effects.values)
    assert (
        replace(read, values=effects.values, clean=effects.clean, corrupted=effects.corrupted)
        == effects
    )


def test_stored_positions_read_back_as_they_were(model: PatchableModel, tmp_path: Path) -> None:
    found = patch_positions(model, PAIRS)
    read = PositionEffects.load(found.save(tmp_path / "positions.safetensors"))
    assert torch.equal(read.values, found.values)
    assert read.words == found.words


def test_a_file_of_another_kind_is_refused(model: PatchableModel, tmp_path: Path) -> None:
    path = patch_positions(model, PAIRS).save(tmp_path / "positions.safetensors")
    with pytest.raises(ResultError, match="position effects"):
        Effects.load(path)
    with pytest.raises(ResultError, match="Cannot read"):
        Effects.load(tmp_path / "missing.safetensors")


def test_data_frame_has_a_row_for_each_pair_and_node(effects: Effects) -> None:
    table = effects.to_dataframe()
    assert len(table) == effects.values.numel()
    means = table.groupby("node").effect.mean()
    np.testing.assert_allclose(means["m1"], effects.node("m1").double().mean(), rtol=1e-6)


def test_summary_holds_the_means_and_its_intervals_hold_them(effects: Effects) -> None:
    summary = effects.summary()
    np.testing.assert_allclose(summary.mean, effects.values.double().mean(0), rtol=1e-6)
    assert summary.n == 12
    assert (summary.low <= summary.mean).all()
    assert (summary.mean <= summary.high).all()
    assert (summary.q >= summary.p).all()


def test_figure_has_layer_zero_at_the_bottom_and_is_centred_at_zero(effects: Effects) -> None:
    figure = effects.figure()
    heatmap = figure.data[0]
    assert heatmap.zmin == -heatmap.zmax
    assert "noise" in figure.layout.title.text
    assert "12" in figure.layout.title.text
    assert figure.layout.yaxis.autorange != "reversed"
    np.testing.assert_allclose(
        np.asarray(heatmap.z)[0][:2], effects.heads.double().mean(0)[0], rtol=1e-5
    )


def test_missing_nodes_are_named(effects: Effects) -> None:
    with pytest.raises(DataError, match=r"a0\.h0"):
        effects.node("a7.h7")
    with pytest.raises(DataError, match="as many names"):
        replace(effects, units=effects.units[:-1])
