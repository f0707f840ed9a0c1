"""Scores of edges: what theory says of each algorithm, in every family."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_bert, make_family, make_pairs, make_pairs_for
from torch import Tensor

from behavior.errors import DataError, ResultError
from behavior.examples import CONTRASTS, Contrast
from circuits.discover_options import METHODS as NAMES
from circuits.discovery import METHODS, EdgeScores, method_of
from circuits.discovery.edge_runs import EdgeRunner
from circuits.graph import Graph
from circuits.live import record_pair, run_circuit, run_shares
from circuits.plants import make_plant
from circuits.stream import flow_sites
from patching import load_checkpoint
from patching.models.model import PatchableModel

SOME = ("bert", "t5", "resnet")
GRADIENT = ("eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted")
STREAMS = ("", "enc", "dec", "s0")
N = 4


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(request.param, tmp_path_factory.mktemp("discovery"))


@pytest.fixture(scope="module", params=SOME)
def one_of_some(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(request.param, tmp_path_factory.mktemp("some"))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(tmp_path_factory.mktemp("bert") / "bert", n_layers=2)
    return load_checkpoint(folder, dtype="float64", check=False)


def opened(family: str, home: Path) -> tuple[PatchableModel, Any]:
    folder = make_family(home / family, family)
    return load_checkpoint(folder, dtype="float64", check=False), make_pairs_for(family, N, seed=3)


def live_margins(model: PatchableModel, pairs: Any, masks: list[Tensor]) -> Tensor:
    runner, rows = EdgeRunner(model, pairs), list(range(len(pairs)))
    pair = record_pair(model, flow_sites(model), *(runner.batch(rows, x) for x in (True, False)))
    run = [run_circuit(model, runner.graph, pair, mask) for mask in masks]
    return torch.stack([runner.runner.margins(logits, rows) for logits in run], dim=1)


def test_the_command_line_names_every_method() -> None:
    assert tuple(METHODS) == NAMES


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_exact_edges_are_circuits_without_one_edge(model: Any, direction: Any) -> None:
    patchable, pairs = model
    scores = METHODS["exact_edges"](patchable, pairs, direction)
    graph = Graph.of(patchable)
    edges = list(range(0, len(graph), max(1, len(graph) // 12)))
    places = graph.mask.nonzero()
    masks = [graph.mask.clone() for _ in edges]
    for mask, edge in zip(masks, edges, strict=True):
        mask[tuple(places[edge])] = False
    given = pairs if direction == "noise" else pairs.swapped()
    margins = live_margins(patchable, given, [graph.mask, *masks])
    expected = margins[:, :1] - margins[:, 1:]
    torch.testing.assert_close(scores.values[:, edges], expected, atol=1e-10, rtol=0)
    assert scores.values.abs().max() > 1e-4


@pytest.mark.parametrize("method", GRADIENT)
def test_gradient_methods_are_finite_and_signed_by_label_and_foil(model: Any, method: str) -> None:
    patchable, pairs = model
    options = {"steps": 2} if "ig" in method else {}
    scores = METHODS[method](patchable, pairs, **options)
    assert scores.values.shape == (N, len(Graph.of(patchable)))
    assert scores.values.isfinite().all() and scores.values.abs().max() > 0
    swapped = METHODS[method](patchable, pairs.swapped(), "denoise", **options)
    torch.testing.assert_close(swapped.values, scores.values, atol=1e-10, rtol=1e-8)


def test_first_order_scores_are_the_slope_of_the_live_circuit(model: Any) -> None:
    """EAP is the derivative of the circuit with respect to each edge's share at a small change."""
    patchable, pairs = model
    graph, rows = Graph.of(patchable), list(range(N))
    runner = EdgeRunner(patchable, pairs)
    both = runner.both(rows, "target")
    close = {site: torch.lerp(v, both.corrupted.cache[site], 1e-5) for site, v in entries(both)}
    edits = {site: (lambda _, value=value: value) for site, value in close.items()}
    with patchable.hooks.editing(edits), patchable.hooks.reading(runner.sites, frames=True) as seen:
        patchable.forward(both.clean.batch)
    pair = record_pair(patchable, runner.sites, both.clean.batch, both.clean.batch)
    pair = type(pair)(pair.batch, pair.clean, type(pair.clean)(seen, seen.frames), pair.calls)
    near = type(both.corrupted)(both.clean.batch, both.clean.margins, pair.corrupted)
    estimated = runner.contract(
        type(both)(rows, both.clean, near, both.clean, near), both.clean.gradients
    )
    shares = graph.mask.to(patchable.dtype).requires_grad_()
    margins = runner.runner.margins(run_shares(patchable, graph, pair, shares), rows)
    own = shares.detach()[..., None].repeat(1, 1, N).requires_grad_()
    apart = runner.runner.margins(run_shares(patchable, graph, pair, own), rows)
    (of_each,) = torch.autograd.grad(apart.sum(), own)
    for i, margin in enumerate(margins):
        (slopes,) = torch.autograd.grad(margin, shares, retain_graph=True)
        expected = slopes[graph.mask]
        torch.testing.assert_close(of_each[graph.mask][:, i], expected)
        torch.testing.assert_close(estimated[i], expected, rtol=0, atol=2e-3 * expected.abs().max())


def entries(both: Any) -> list[tuple[Any, Tensor]]:
    return [
        (site, value)
        for site, value in both.clean.cache.items()
        if site.activation == "resid_pre" and site.layer == 0 and site.stack in STREAMS
    ]


def test_a_writer_that_does_not_change_scores_exactly_zero(bert: PatchableModel) -> None:
    last = bert.modules.layers[0]
    with torch.no_grad():
        weight = bert.hf.bert.encoder.layer[0].attention.output.dense.weight.clone()
        bert.hf.bert.encoder.layer[0].attention.output.dense.weight[:, last.columns(1)] = 0
    try:
        for method in (*GRADIENT, "exact_edges"):
            scores = METHODS[method](bert, make_pairs(N, seed=3))
            silent = [edge.startswith("a0.h1->") for edge in scores.edges]
            assert scores.values[:, silent].abs().max() < 1e-15
            assert scores.values.abs().max() > 1e-6
    finally:
        bert.hf.bert.encoder.layer[0].attention.output.dense.weight.data.copy_(weight)


@pytest.mark.parametrize("method", [*GRADIENT, "exact_edges", "node_attribution", "random"])
def test_scores_do_not_depend_on_the_batch_size(one_of_some: Any, method: str) -> None:
    patchable, pairs = one_of_some
    options = {"steps": 1} if method == "eap_ig_activations" else {}
    one, all_ = (METHODS[method](patchable, pairs, batch_size=n, **options) for n in (1, N))
    torch.testing.assert_close(one.values, all_.values, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(one.clean, all_.clean)


def test_integrated_gradients_converge_and_meet_eap_at_their_ends(one_of_some: Any) -> None:
    patchable, pairs = one_of_some
    score = METHODS["eap_ig_inputs"]
    few, more, most = (score(patchable, pairs, steps=n).values for n in (2, 12, 48))
    assert (more - most).norm() < 0.4 * (few - most).norm()
    end = score(patchable, pairs, "denoise", steps=1, rule="left").values
    torch.testing.assert_close(end, METHODS["eap"](patchable, pairs, "denoise").values)


def test_clean_corrupted_is_the_mean_of_both_directions_of_eap(one_of_some: Any) -> None:
    patchable, pairs = one_of_some
    both = [METHODS["eap"](patchable, pairs, d).values for d in ("noise", "denoise")]
    found = METHODS["clean_corrupted"](patchable, pairs).values
    torch.testing.assert_close(found, (both[0] + both[1]) / 2, atol=1e-12, rtol=1e-8)


def test_activation_steps_at_the_end_of_the_target_run_are_eap(bert: PatchableModel) -> None:
    """Where nothing has moved yet, only the rows whose own output is given are cut."""
    pairs = make_pairs(N, seed=3)
    found = METHODS["eap_ig_activations"](bert, pairs, steps=1, rule="right")
    eap = METHODS["eap"](bert, pairs)
    logits = [edge.endswith("->logits") for edge in eap.edges]
    torch.testing.assert_close(found.values[:, logits], eap.values[:, logits])


def test_node_scores_are_sums_of_edges_or_the_nodes_own(bert: PatchableModel) -> None:
    pairs = make_pairs(N, seed=3)
    eap = METHODS["eap"](bert, pairs)
    out = [edge.startswith("a0.h1->") for edge in eap.edges]
    torch.testing.assert_close(eap.nodes.node("a0.h1"), eap.values[:, out].sum(dim=1))
    nodes = METHODS["node_attribution"](bert, pairs)
    torch.testing.assert_close(nodes.nodes.node("a0.h1"), nodes.edge("a0.h1->logits"))
    # What one head does in all is what it does along its edges, where norms are nearly linear.
    assert torch.corrcoef(torch.stack([eap.nodes.values[:, 1], nodes.nodes.values[:, 1]]))[0, 1] > 0


def test_progress_ends_at_its_total(bert: PatchableModel) -> None:
    for method in METHODS:
        calls: list[tuple[int, int]] = []
        options = {"steps": 3} if method == "edge_mask" else {}
        METHODS[method](bert, make_pairs(N), progress=lambda *call: calls.append(call), **options)  # noqa: B023
        assert calls[-1][0] == calls[-1][1] and calls == sorted(calls), method


def test_scores_round_trip_and_refuse_other_files(bert: PatchableModel, tmp_path: Path) -> None:
    scores = METHODS["eap"](bert, make_pairs(N))
    read = EdgeScores.load(scores.save(tmp_path))
    assert torch.equal(read.values, scores.values)
    assert (read.edges, read.units, read.settings) == (scores.edges, scores.units, scores.settings)
    assert read.digest == bert.digest != ""
    scores.nodes.save(tmp_path / "effects.safetensors")
    with pytest.raises(ResultError, match="holds effects"):
        EdgeScores.load(tmp_path / "effects.safetensors")
    with pytest.raises(ResultError, match="Cannot read"):
        EdgeScores.load(tmp_path / "missing")


def test_what_makes_no_sense_is_said(bert: PatchableModel) -> None:
    pairs = make_pairs(N)
    with pytest.raises(DataError, match="Unknown method 'magic'"):
        method_of("magic")
    with pytest.raises(DataError, match="takes no steps"):
        method_of("eap", ["steps"])
    with pytest.raises(DataError, match="at least 1 step"):
        METHODS["eap_ig_inputs"](bert, pairs, steps=0)
    with pytest.raises(DataError, match="Unknown option"):
        METHODS["edge_mask"](bert, pairs, gamma=3)
    with pytest.raises(DataError, match="no pairs"):
        METHODS["eap"](bert, pairs.take([]))
    with pytest.raises(DataError, match="reach is 2"):
        METHODS["edge_mask"](bert, pairs, reach=2.0)
    same = replace(pairs, corrupted=pairs.clean)
    with pytest.raises(DataError, match="same margins"):
        METHODS["edge_mask"](bert, same)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_a_mask_finds_a_circuit_beside_heads_that_cancel(contrast: Contrast) -> None:
    """Every true edge before any other; exact effects of single edges put rivals among them."""
    plant = make_plant("cancelling", "bert", seed=0, n_layers=2, n_rivals=1, n_pairs=24)
    pairs, truth = plant.pairs(contrast, 24), plant.truth(contrast)
    mask, exact = (METHODS[name](plant.model, pairs) for name in ("edge_mask", "exact_edges"))
    false = plant.scored(contrast) & ~truth
    assert mask.mean[truth].min() > mask.mean[false].max()
    strength = exact.values.abs().mean(dim=0)
    assert strength[truth].min() < strength[false].max()
