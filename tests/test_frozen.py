"""Frozen runs: exact at both ends, a sum over edges between them, and beside the live curve."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_pairs_for
from torch import Tensor

from circuits import faithfulness
from circuits.circuit_runs import measure_circuits
from circuits.discover_command import run_command
from circuits.discover_options import read_discover_options
from circuits.discovery import METHODS
from circuits.discovery.edge_runs import EdgeRunner
from circuits.frozen import frozen_gates, measure_frozen
from circuits.live import record_pair, run_circuit
from circuits.stream import TwoRuns, carry
from patching import load_checkpoint
from patching.models.model import PatchableModel

N = 6
# The variance in T5's norm is in float32, whatever the model is in.
CLOSE = {"t5": 2e-6}
GATED = ("bert", "roberta", "distilbert", "electra", "resnet", "resnet-bottleneck")
QUICK: dict[str, Any] = {"n_resamples": 50, "most_edges": 2, "most_nodes": 0}


@pytest.fixture(scope="module", params=FAMILIES)
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EdgeRunner:
    folder = make_family(tmp_path_factory.mktemp("frozen") / "model", request.param)
    model = load_checkpoint(folder, dtype="float64", check=False)
    return EdgeRunner(model, make_pairs_for(request.param, N, seed=3))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_family(tmp_path_factory.mktemp("bert") / "model", "bert")
    return load_checkpoint(folder, dtype="float64", check=False)


def close(runner: EdgeRunner) -> float:
    return CLOSE.get(runner.model.spec.family, 1e-9)


def halves(runner: EdgeRunner, n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(len(runner.graph), generator=generator) < 0.5 for _ in range(n)]


def test_the_whole_graph_is_the_clean_run_and_no_edge_the_corrupted_one(runner: EdgeRunner) -> None:
    whole = torch.ones(len(runner.graph), dtype=torch.bool)
    found = measure_frozen(runner, [whole, ~whole])
    for column, end in zip(found.T, runner.margins(), strict=True):
        torch.testing.assert_close(column, end, atol=close(runner), rtol=0)
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3


def test_what_the_classifier_reads_is_a_sum_over_its_edges(runner: EdgeRunner) -> None:
    """Where all else is kept, its writers write what they do in the clean run."""
    model, rows = runner.model, list(range(N))
    kept = halves(runner, 1)[0] | torch.tensor(
        [not e.endswith("logits") for e in runner.graph.edges]
    )
    pair = record_pair(model, runner.sites, *(runner.batch(rows, x) for x in (True, False)))
    *_, last = carry(model, runner.graph, TwoRuns(pair.corrupted, pair.clean))
    site = model.modules.layers[-1].site("resid_post")
    carries = kept[[e.endswith("logits") for e in runner.graph.edges]]
    expected = pair.corrupted[site] + last.changes[carries].sum(dim=0)
    with model.hooks.editing({site: lambda value: expected.reshape(value.shape)}):
        margins = runner.runner.margins(model.forward(pair.batch), rows)
    found = measure_frozen(runner, [kept])[:, 0]
    torch.testing.assert_close(found, margins.detach(), atol=close(runner), rtol=0)
    live = measure_circuits(runner, [kept]).values[:, 0]
    if model.spec.family in GATED:
        assert (live - found).abs().max() > 1e-6
    else:
        # No gate lies before the classifier of a pre-norm model.
        torch.testing.assert_close(live, found, atol=close(runner), rtol=0)


def test_between_the_ends_frozen_runs_are_others_than_live_ones(runner: EdgeRunner) -> None:
    circuits = halves(runner, 3)
    frozen, live = measure_frozen(runner, circuits), measure_circuits(runner, circuits).values
    assert frozen.isfinite().all()
    assert (frozen - live).abs().max() > 1e-5
    alone = measure_frozen(EdgeRunner(runner.model, runner.pairs, batch_size=1), circuits)
    torch.testing.assert_close(alone, frozen, atol=1e-9, rtol=0)


def test_gates_are_live_again_afterwards(bert: PatchableModel) -> None:
    runner = EdgeRunner(bert, make_pairs_for("bert", N, seed=3))
    mask = runner.graph.edge_mask(halves(runner, 1)[0])
    batches = [runner.batch(list(range(N)), clean) for clean in (True, False)]
    pair = record_pair(bert, runner.sites, *batches)
    before = run_circuit(bert, runner.graph, pair, mask)
    with pytest.raises(KeyError), frozen_gates(bert, runner.graph, pair):
        assert not torch.equal(run_circuit(bert, runner.graph, pair, mask), before)
        raise KeyError
    assert torch.equal(run_circuit(bert, runner.graph, pair, mask), before)
    # Two runs that are the same have nothing to carry, whatever is frozen.
    same = record_pair(bert, runner.sites, batches[0], batches[0])
    with frozen_gates(bert, runner.graph, same):
        torch.testing.assert_close(
            run_circuit(bert, runner.graph, same, mask), bert.forward(batches[0])
        )


def test_the_curve_has_a_frozen_one_beside_it_if_asked_for(bert: PatchableModel) -> None:
    pairs = make_pairs_for("bert", 8, seed=3)
    scores = METHODS["eap"](bert, pairs)
    plain, both = (faithfulness(bert, scores, pairs, frozen=f, **QUICK) for f in (False, True))
    assert all(point.frozen is None for point in plain.points)
    assert plain.to_json()["points"][0]["frozen"] is None  # type: ignore[index]
    assert [p.faithfulness for p in plain.points] == [p.faithfulness for p in both.points]
    stored = json.loads(json.dumps(both.to_json(), allow_nan=False))
    values = [point["frozen"]["value"] for point in stored["points"]]
    if values[-1] is not None:
        assert values[-1] == pytest.approx(1) and stored["points"][-1]["frozen"]["n"] > 0
        assert values[1:-1] != [point["faithfulness"]["value"] for point in stored["points"]][1:-1]
    assert both.cpr == plain.cpr and both.cmd == plain.cmd


def test_the_command_says_what_frozen_gates_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["student", "--method", "eap", "--n-pairs", "8", "--size", "20%", "--no-check"]
    assert not read_discover_options(given).frozen
    options = ["--frozen", "--attention", "exact_pattern", "--out", str(tmp_path / "found")]
    assert run_command([*given, *options]) == 0
    said = capsys.readouterr().out
    assert "a diagnostic and not a result" in said and "100% 1.00" in said
    stored = json.loads((tmp_path / "found" / "faithfulness.json").read_text())
    assert stored["circuit"]["frozen"]["value"] is not None
    assert stored["settings"]["scores"]["attention"] == "exact_pattern"
    wrong = [
        "student",
        "--method",
        "exact_edges",
        "--attention",
        "linear",
        "--out",
        str(tmp_path / "no"),
    ]
    assert run_command([*wrong, "--n-pairs", "8"]) == 2
    assert "takes no attention" in capsys.readouterr().err
