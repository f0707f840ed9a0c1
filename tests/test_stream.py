"""Graphs, streams and live circuits of every family: what theory says is exact is exact."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_pairs_for
from torch import Tensor, nn

from behavior.examples import Pairs
from circuits.direct import direct_attribution
from circuits.gradients import ReaderGradients
from circuits.graph import Graph
from circuits.live import LivePair, record_pair, run_circuit
from circuits.secants import elementwise_secant, norm_secant
from circuits.stream import Arrival, TwoRuns, carry, flow_sites
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.runs import PairRunner

N = 3


@dataclass(frozen=True)
class Opened:
    """A model of one family, its graph, and both runs of a few pairs."""

    model: PatchableModel
    graph: Graph
    pairs: Pairs[Any]
    live: LivePair

    @property
    def runs(self) -> TwoRuns:
        return TwoRuns(self.live.clean, self.live.corrupted)


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = make_family(tmp_path_factory.mktemp("stream") / request.param, request.param)
    model = load_checkpoint(folder, dtype="float64", check=False)
    for module in model.hf.modules():
        if type(module).__name__ == "T5LayerNorm":
            module.__dict__["forward"] = partial(double_norm, module)
    pairs = make_pairs_for(request.param, N, seed=3)
    graph = Graph.of(model)
    clean, corrupted = (model.encoder.batch(model.encode(side)) for side in sides(pairs))
    return Opened(model, graph, pairs, record_pair(model, flow_sites(model), clean, corrupted))


def double_norm(norm: Any, x: Tensor) -> Tensor:
    """T5's own takes the mean square in single precision, whatever the model's."""
    variance = x.square().mean(-1, keepdim=True)
    return norm.weight * x * torch.rsqrt(variance + norm.variance_epsilon)


def sides(pairs: Pairs[Any]) -> tuple[Any, Any]:
    return pairs.clean, pairs.corrupted


def change_read(opened: Opened, arrival: Arrival) -> Tensor:
    """The change of what the readers of a point read, from the two runs themselves."""
    model, point, rows = opened.model, arrival.point, opened.model.modules.layers
    clean, corrupted = opened.live.clean, opened.live.corrupted
    if point.row is None:
        return corrupted[rows[-1].site("resid_post")] - clean[rows[-1].site("resid_post")]
    row, pre_norm = rows[point.row], model.architecture.layout == "pre-norm"
    norm: nn.Module | None = row.norm if pre_norm else nn.Identity()
    if point.kind == "cross":
        last = [one for one in rows if one.stack == "enc"][-1]
        norm = model.modules.final_norms["enc"]
        read = [run[last.site("resid_post")] for run in (clean, corrupted)]
    elif point.kind == "heads":
        read = [run[row.site("resid_pre")] for run in (clean, corrupted)]
    else:
        norm = row.mlp_norm if pre_norm else row.norm
        sites = row.site("resid_pre"), row.site("attn_out")
        read = [run[sites[0]] + run[sites[1]] for run in (clean, corrupted)]
    assert norm is not None
    first, second = (norm(stream) for stream in read)
    return second - first


@torch.no_grad()
def test_carried_changes_sum_to_the_change_of_what_every_reader_reads(opened: Opened) -> None:
    points = 0
    for arrival in carry(opened.model, opened.graph, opened.runs):
        expected = change_read(opened, arrival)
        total = arrival.changes.sum(dim=0)
        assert len(arrival.changes) == len(arrival.point.writers)
        assert (total - expected).abs().max() <= 1e-10 * expected.abs().max()
        points += 1
    assert points == len(opened.graph.points)


@torch.no_grad()
def test_a_writer_that_is_the_same_in_both_runs_contributes_exactly_nothing(
    opened: Opened,
) -> None:
    """All heads of the first row are given the values of the clean run."""
    row = opened.model.modules.layers[0]
    values = dict(opened.live.corrupted)
    values[row.site("z")] = opened.live.clean[row.site("z")]
    pair = replace(opened.live, corrupted=type(opened.live.corrupted)(values))
    still = [i for i, name in enumerate(opened.graph.writers) if name.startswith(row.name + ".")]
    assert len(still) == row.n_heads
    for arrival in carry(opened.model, opened.graph, TwoRuns(pair.clean, pair.corrupted)):
        for i, writer in enumerate(arrival.point.writers):
            if writer in still:
                assert arrival.changes[i].abs().max() == 0


def test_all_edges_are_the_clean_run_and_none_the_corrupted_run(opened: Opened) -> None:
    model, graph = opened.model, opened.graph
    clean, corrupted = (model.logits(side) for side in sides(opened.pairs))
    moved = (clean - corrupted).abs().max()
    assert moved > 1e-6
    full = run_circuit(model, graph, opened.live, graph.mask)
    none = run_circuit(model, graph, opened.live, torch.zeros_like(graph.mask))
    assert (full - clean).abs().max() <= 1e-9 * moved
    assert (none - corrupted).abs().max() <= 1e-9 * moved


def test_an_edge_circuit_without_a_writer_is_that_writer_patched(opened: Opened) -> None:
    """Every edge of one head removed: its output comes from the other run, at every reader."""
    model, graph = opened.model, opened.graph
    for head in (model.spec.heads[0], model.spec.heads[-1]):
        mask = graph.mask.clone()
        mask[:, graph.writers.index(head)] = False
        site = model.site(head)
        _, cache = model.run_with_cache(opened.pairs.corrupted, sites=[head])
        with model.patch({head: cache[site]}):
            expected = model.logits(opened.pairs.clean)
        found = run_circuit(model, graph, opened.live, mask)
        moved = (expected - model.logits(opened.pairs.clean)).abs().max()
        assert (found - expected).abs().max() <= 1e-7 * max(moved, 1e-3)


def test_direct_attributions_sum_to_the_change_of_the_margin(opened: Opened) -> None:
    effects = direct_attribution(opened.model, opened.pairs)
    change = effects.clean - effects.corrupted
    assert change.abs().max() > 1e-6
    assert effects.nodes == opened.graph.writers
    assert (effects.values.sum(dim=1) - change).abs().max() <= 1e-10 * change.abs().max()
    alone = direct_attribution(opened.model, opened.pairs, batch_size=1)
    torch.testing.assert_close(alone.values, effects.values, atol=1e-9, rtol=1e-7)


def test_gradients_at_readers_are_the_slope_of_the_live_circuit(opened: Opened) -> None:
    """A small step along what one reader reads moves the margin by the gradient."""
    model, graph = opened.model, opened.graph
    runner = PairRunner(model, opened.pairs, "noise")
    pairs = list(range(N))
    gradients = ReaderGradients(
        model,
        graph,
        opened.live.batch,
        {row.site("resid_pre"): opened.live.clean[row.site("resid_pre")] for row in entries(model)},
        lambda logits: runner.margins(logits, pairs),
    )
    *_, last = graph.points
    stream = opened.live.clean[model.modules.layers[-1].site("resid_post")]
    step = 1e-6 * torch.randn(stream.shape, dtype=stream.dtype, generator=seeded())
    row = model.modules.layers[-1]
    with model.hooks.editing({row.site("resid_post"): lambda value: value + step}):
        after = runner.margins(model.forward(opened.live.batch), pairs)
    with model.hooks.editing({row.site("resid_post"): lambda value: value - step}):
        before = runner.margins(model.forward(opened.live.batch), pairs)
    expected = (gradients.at(last)[0] * step).flatten(start_dim=1).sum(dim=1)
    torch.testing.assert_close((after - before) / 2, expected, atol=1e-12, rtol=1e-4)


def entries(model: PatchableModel) -> tuple[Any, ...]:
    return model.modules.entries


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_first_order_scores_of_a_writers_edges_are_its_effect_to_first_order(
    opened: Opened,
) -> None:
    """Through a tiny change, all readers together see what patching the writer does."""
    model, graph, n = opened.model, opened.graph, 1e-5
    tiny = {
        site: value + n * (opened.live.corrupted[site] - value)
        for site, value in opened.live.clean.items()
        if site.activation == "resid_pre" and site in {r.site("resid_pre") for r in entries(model)}
    }
    runner = PairRunner(model, opened.pairs, "noise")
    pairs = list(range(N))
    edits = {site: (lambda _, value=value: value) for site, value in tiny.items()}
    reading = model.hooks.reading(flow_sites(model), frames=True)
    with model.hooks.editing(edits), reading as moved:
        after = runner.margins(model.forward(opened.live.batch), pairs)
    before = runner.margins(model.forward(opened.live.batch), pairs)
    cache = type(opened.live.clean)(moved, moved.frames)
    gradients = ReaderGradients(
        model,
        graph,
        opened.live.batch,
        {site: opened.live.clean[site] for site in tiny},
        lambda logits: runner.margins(logits, pairs),
    )
    total = torch.zeros(N, dtype=model.dtype)
    inputs = [i for i, name in enumerate(graph.writers) if name.endswith("input")]
    for arrival in carry(model, graph, TwoRuns(opened.live.clean, cache)):
        at = gradients.at(arrival.point)
        for i, writer in enumerate(arrival.point.writers):
            if writer in inputs:
                total += torch.einsum("bpd,rbpd->b", arrival.changes[i], at)
    scale = (after - before).abs().max()
    assert (total - (after - before)).abs().max() <= 3e-2 * scale


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_the_secant_of_a_norm_is_exact_and_linear(kind: str) -> None:
    torch.manual_seed(0)
    norm: nn.Module = nn.LayerNorm(8).double() if kind == "layer" else RMSNorm(8)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    first, second = torch.randn(2, 5, 8, dtype=torch.float64)
    secant = norm_secant(norm, first, second)
    part = torch.randn(5, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = norm(second) - norm(first)
        torch.testing.assert_close(secant(second - first), expected)
        parts = secant(torch.stack([part, second - first - part]))
        torch.testing.assert_close(parts.sum(dim=0), expected)
        assert secant(torch.zeros_like(part)).abs().max() == 0


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=torch.float64))
        self.variance_epsilon = 1e-6

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize("function", [torch.tanh, torch.relu, nn.functional.gelu])
def test_the_secant_of_an_elementwise_map_is_its_slope_where_nothing_moves(function: Any) -> None:
    first = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    second = torch.tensor([1.0, 0.5, -3.0], dtype=torch.float64)
    secant = elementwise_secant(function, first, second)
    torch.testing.assert_close(secant(second - first), function(second) - function(first))
    point = first.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(point).sum(), point)
    assert secant(torch.ones_like(first))[1] == slope[1]


def test_edges_go_forward_and_cross_attention_reads_the_encoder(opened: Opened) -> None:
    graph = opened.graph
    assert len(set(graph.edges)) == len(graph.edges)
    order = {name: i for i, name in enumerate(graph.writers)}
    for edge in graph.edges:
        writer, _, reader = edge.partition("->")
        node = reader.partition("<")[0]
        assert node == "logits" or order[writer] < order[node]
        if reader.endswith(("<k>", "<v>")) and ".x" in node:
            assert writer.startswith("enc.")
        elif node.startswith("dec."):
            assert writer.startswith("dec.")
    assert graph.kept({graph.edges[0]}).sum() == 1
