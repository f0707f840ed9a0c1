"""Faithfulness: its ends, its areas, what was held out, and what it says on the bundled student."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from modelmaking import make_family, make_pairs_for

from behavior.errors import DataError
from behavior.resampling import resample_units
from behavior.tasks import load_task
from circuits import Circuit, faithfulness
from circuits.circuit_runs import CircuitMargins, measure_circuits
from circuits.discovery import METHODS, EdgeScores
from circuits.discovery.edge_runs import EdgeRunner
from circuits.faithfulness_result import said
from circuits.ratios import NO_RANGE, Ratios
from circuits.selection import top_k
from patching import load_checkpoint
from patching.models.model import PatchableModel

N = 8
QUICK: dict[str, Any] = {"n_resamples": 50, "most_edges": 4, "most_nodes": 3}


@pytest.fixture(scope="module", params=["bert", "t5", "vit", "resnet"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_family(tmp_path_factory.mktemp("faithful") / "model", request.param)
    model = load_checkpoint(folder, dtype="float64", check=False)
    # Oriented, so that every pair's clean margin is the larger one.
    pairs = make_pairs_for(request.param, N, seed=3)
    clean, corrupted = EdgeRunner(model, pairs).margins()
    swapped = [
        pairs.take([i]) if up else pairs.take([i]).swapped()
        for i, up in enumerate(clean > corrupted)
    ]
    return model, joined(swapped)


def joined(parts: list[Any]) -> Any:
    fields = ("clean", "corrupted", "labels", "foils", "units", "templates", "steps")
    return type(parts[0])("core", *(sum((getattr(p, f) for p in parts), ()) for f in fields))


@pytest.fixture(scope="module")
def student() -> PatchableModel:
    return load_checkpoint("student", check=False)


def measured(**values: list[float]) -> Ratios:
    columns = torch.tensor(values["circuits"]).T
    margins = CircuitMargins(
        columns, torch.tensor(values["clean"]), torch.tensor(values["corrupted"])
    )
    units = [f"u{i}" for i in range(len(values["clean"]))]
    return Ratios(margins, resample_units(units, n_resamples=100))


def test_the_whole_graph_is_one_and_no_edge_is_zero(opened: Any) -> None:
    model, pairs = opened
    runner = EdgeRunner(model, pairs)
    whole = torch.ones(len(runner.graph), dtype=torch.bool)
    found = measure_circuits(runner, [whole, ~whole])
    torch.testing.assert_close(found.values[:, 0], found.clean, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.values[:, 1], found.corrupted, atol=1e-9, rtol=0)
    result = faithfulness(model, METHODS["eap"](model, pairs), pairs, **QUICK)
    last = result.points[-1]
    assert last.percent == 100 and last.faithfulness.value == pytest.approx(1)
    assert last.complement.value == pytest.approx(0, abs=1e-9)
    assert last.random.value == pytest.approx(1) and set(last.steps) == {"A->C"}
    json.dumps(result.to_json(), allow_nan=False)
    assert result.held_out and not set(result.chosen_units) & set(result.tested_units)
    assert sorted((*result.chosen_units, *result.tested_units)) == sorted(set(pairs.units))


def test_circuits_do_not_depend_on_batches_and_equal_ones_run_once(opened: Any) -> None:
    model, pairs = opened
    scores = METHODS["eap"](model, pairs)
    circuits = [top_k(scores, k) for k in (5, 20, 5)]
    calls: list[tuple[int, int]] = []
    together = measure_circuits(EdgeRunner(model, pairs), circuits, lambda *c: calls.append(c))
    apart = measure_circuits(EdgeRunner(model, pairs, batch_size=1), circuits)
    torch.testing.assert_close(together.values, apart.values, atol=1e-10, rtol=0)
    assert torch.equal(together.values[:, 0], together.values[:, 2])
    assert calls[-1] == (2 * N, 2 * N)


def test_areas_are_those_of_trapezoids_from_the_first_size() -> None:
    ratios = measured(
        circuits=[[0.0] * 6, [1.5] * 6, [1.0] * 6], clean=[1.0] * 6, corrupted=[0.0] * 6
    )
    cpr, cmd = ratios.areas([[0], [1], [2]], (10.0, 50.0, 100.0))
    assert cpr.value == pytest.approx(0.4 * 0.75 + 0.5 * 1.25)
    assert cmd.value == pytest.approx(0.4 * 0.75 + 0.5 * 0.25)
    assert ratios.areas([[0]], (10.0,))[0].value is None


def test_faithfulness_is_a_ratio_of_means() -> None:
    ratios = measured(
        circuits=[[2.0, 1.0, 2.0, 1.0, 2.0, 1.0]],
        clean=[4.0, 1.0, 4.0, 1.0, 4.0, 1.0],
        corrupted=[0.0] * 6,
    )
    share = ratios.share([0])
    assert share.value == pytest.approx(9 / 15) and share.n == 6
    assert share.low is not None and share.low < 0.6 < (share.high or 0)
    assert ratios.share([0], [True, False] * 3).value == pytest.approx(0.5)
    assert said(share).startswith("0.60 [")


def test_a_model_that_does_not_respond_has_no_faithfulness() -> None:
    noise = np.random.default_rng(0).normal(size=8).tolist()
    ratios = measured(circuits=[noise], clean=noise, corrupted=noise[::-1])
    share = ratios.share([0])
    assert share.value is None and share.reason == NO_RANGE
    assert said(share) == f"unknown ({NO_RANGE})"


def test_one_circuit_is_measured_on_pairs_that_did_not_choose_it(opened: Any) -> None:
    model, pairs = opened
    half = METHODS["eap"](model, pairs.take(range(N // 2)))
    circuit = Circuit.choose(half, top_k(half, 20), selection="top 20")
    result = faithfulness(model, circuit, pairs, **QUICK)
    assert result.held_out and result.points == () and result.cpr.value is None
    assert set(result.tested_units) == set(pairs.units[N // 2 :])
    assert result.circuit is not None and result.circuit.n_edges == 20
    same = faithfulness(model, circuit, pairs.take(range(N // 2)), **QUICK)
    assert not same.held_out
    beside = faithfulness(model, half, pairs, circuit=circuit, **QUICK)
    assert beside.circuit is not None and len(beside.points) == 7
    assert beside.circuit.faithfulness == result.circuit.faithfulness


def test_joint_scores_cannot_be_chosen_again_on_a_half(student: PatchableModel) -> None:
    pairs = load_task("nli-overlap").pairs("core", n=16, seed=0)
    scores = METHODS["random"](student, pairs)
    assert not faithfulness(student, scores, pairs, **QUICK).held_out
    others = load_task("nli-overlap").pairs("core", n=16, seed=9)
    assert faithfulness(student, scores, others, **QUICK).held_out


def test_found_edges_beat_random_ones_on_the_student(student: PatchableModel) -> None:
    pairs = load_task("nli-overlap").pairs("core", n=64, seed=0)
    scores = METHODS["eap_ig_inputs"](student, pairs)
    result = faithfulness(student, scores, pairs, **QUICK)
    assert result.cmd.value is not None and result.random_cmd.value is not None
    assert result.cmd.value < 0.35 < 0.6 < result.random_cmd.value
    half, faithful = result.smallest(0.5), result.smallest()
    assert half is not None and half.n_edges < len(scores.edges) and faithful is not None
    assert abs(half.complement.value or 0) < 0.2
    assert result.minimality.n_edges == faithful.n_connected
    assert len(result.minimality.edges) == 4 and len(result.redundancy) == 3
    assert all(0 <= pair.q <= 1 for pair in result.redundancy)
    back = METHODS["eap_ig_inputs"](student, pairs.swapped(), "denoise")
    swapped = faithfulness(student, back, pairs.swapped(), **QUICK)
    assert swapped.clean.value == pytest.approx(-(result.corrupted.value or 0), abs=1e-4)


def test_what_does_not_fit_is_said(opened: Any, student: PatchableModel) -> None:
    model, pairs = opened
    scores = METHODS["eap"](model, pairs)
    core = load_task("nli-overlap").pairs("core", n=8, seed=0)
    with pytest.raises(DataError, match="weights are not those"):
        faithfulness(student, scores, core)
    other = load_task("nli-overlap").pairs("shortcut", n=8, seed=0)
    found = METHODS["random"](student, core)
    with pytest.raises(DataError, match="pairs are of the shortcut"):
        faithfulness(student, found, other)
    cut = EdgeScores(
        **{**fields_of(found), "edges": found.edges[:-1], "values": found.values[:, :-1]}
    )
    with pytest.raises(DataError, match="do not fit"):
        faithfulness(student, cut, core)


def fields_of(scores: EdgeScores) -> dict[str, Any]:
    return {name: getattr(scores, name) for name in EdgeScores.__dataclass_fields__}
