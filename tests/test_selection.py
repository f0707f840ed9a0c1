"""Selecting edges: order, connection, dead ends and stability, and that pruning changes nothing."""

from typing import Any

import pytest
import torch
from modelmaking import make_family, make_pairs_for
from torch import Tensor

from behavior.errors import DataError
from circuits.circuit_runs import measure_circuits
from circuits.discovery import METHODS, EdgeScores
from circuits.discovery.edge_runs import EdgeRunner
from circuits.selection import greedy, membership, pruned, stable, threshold, top_k
from patching import load_checkpoint

EDGES = (
    "input->a0.h0<q>",
    "input->m0",
    "a0.h0->m0",
    "input->logits",
    "a0.h0->logits",
    "m0->logits",
)


def scores_of(*rows: tuple[float, ...]) -> EdgeScores:
    n = len(rows)
    return EdgeScores(
        values=torch.tensor(rows),
        edges=EDGES,
        clean=torch.ones(n),
        corrupted=torch.zeros(n),
        units=tuple(f"u{i}" for i in range(n)),
        templates=("",) * n,
        steps=("A->C",) * n,
        contrast="core",
        direction="noise",
        method="made up",
    )


SCORES = scores_of((0.1, -5.0, 2.0, 0.0, 0.3, 4.0))


def names(kept: Tensor) -> list[str]:
    return [EDGES[i] for i in kept.nonzero()[:, 0].tolist()]


@pytest.fixture(scope="module", params=["bert", "t5", "resnet"])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_family(tmp_path_factory.mktemp("selection") / "model", request.param)
    model = load_checkpoint(folder, dtype="float64", check=False)
    return EdgeRunner(model, make_pairs_for(request.param, 3, seed=2))


def test_top_k_ranks_by_size_or_by_sign() -> None:
    assert names(top_k(SCORES, 2)) == ["input->m0", "m0->logits"]
    assert names(top_k(SCORES, 2, "signed")) == ["a0.h0->m0", "m0->logits"]
    assert len(names(top_k(SCORES, 99))) == len(EDGES)
    assert not top_k(SCORES, 0).any()
    with pytest.raises(DataError, match="-1 edges"):
        top_k(SCORES, -1)


def test_ties_go_to_the_earlier_edge() -> None:
    assert names(top_k(scores_of((1.0,) * 6), 2)) == list(EDGES[:2])


def test_threshold_keeps_what_reaches_it() -> None:
    assert names(threshold(SCORES, 2.0)) == ["input->m0", "a0.h0->m0", "m0->logits"]
    assert names(threshold(SCORES, 2.0, "signed")) == ["a0.h0->m0", "m0->logits"]


def test_greedy_grows_backwards_from_the_logits() -> None:
    assert names(greedy(SCORES, 1)) == ["m0->logits"]
    assert names(greedy(SCORES, 3)) == ["input->m0", "a0.h0->m0", "m0->logits"]
    away = scores_of((9.0, 0.0, 0.0, 0.2, 0.1, 0.0))
    # The strongest edge is out of reach until its node is in.
    assert names(greedy(away, 2)) == ["input->logits", "a0.h0->logits"]
    assert names(greedy(away, 3)) == ["input->a0.h0<q>", "input->logits", "a0.h0->logits"]


def test_dead_ends_are_pruned_at_both_sides() -> None:
    unfed = torch.tensor([False, False, True, False, False, True])
    assert names(pruned(EDGES, unfed)) == []
    unheard = torch.tensor([True, False, False, True, False, False])
    assert names(pruned(EDGES, unheard)) == ["input->logits"]
    whole = torch.ones(6, dtype=torch.bool)
    assert names(pruned(EDGES, whole)) == list(EDGES)


def test_pruning_changes_no_margin(runner: EdgeRunner) -> None:
    n = len(runner.graph)
    drawn = [
        torch.rand(n, generator=torch.Generator().manual_seed(i)) < share
        for i, share in enumerate((0.1, 0.2, 0.4, 0.7))
    ]
    left = [pruned(runner.graph.edges, kept) for kept in drawn]
    assert any((a != b).any() for a, b in zip(drawn, left, strict=True))
    margins = measure_circuits(runner, [*drawn, *left]).values
    torch.testing.assert_close(margins[:, :4], margins[:, 4:], atol=1e-10, rtol=0)


def test_greedy_circuits_have_no_reader_that_leads_nowhere(runner: EdgeRunner) -> None:
    scores = METHODS["eap"](runner.model, runner.pairs)
    kept = greedy(scores, len(runner.graph) // 3)
    assert int(kept.sum()) == len(runner.graph) // 3
    again = pruned(scores.edges, kept)
    lost = {scores.edges[i].partition("->")[0] for i in (kept & ~again).nonzero()[:, 0].tolist()}
    assert not any(name.endswith("input") for name in lost)


def test_membership_is_certain_where_units_agree_and_split_where_they_do_not() -> None:
    agreed = scores_of(*[(0.0, 0.0, 3.0, 0.0, 0.0, 5.0)] * 6)
    assert membership(agreed, 2).tolist() == [0, 0, 1, 0, 0, 1]
    one, other = (4.0, 0.0, 0.0, 0.0, 0.0, 9.0), (0.0, 4.0, 0.0, 0.0, 0.0, 9.0)
    split = scores_of(*[one, other] * 4)
    found = membership(split, 2)
    assert found[5] == 1 and 0.2 < found[0] < 0.8 and found.sum() == pytest.approx(2)
    assert names(stable(split, 2, frequency=0.9)) == ["m0->logits"]
    assert torch.equal(found, membership(split, 2))
