"""The attention fix of AtP*: exact where the softmax is, and the old score where nothing bends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import TEXT_FAMILIES, make_family, make_pairs, make_pairs_for
from torch import Tensor

from behavior.errors import DataError
from circuits.discovery import METHODS, method_of
from circuits.discovery.edge_runs import BothRuns, EdgeRunner, Side
from circuits.gradients import ReaderGradients
from circuits.weights import head_weights
from patching import load_checkpoint
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel

N = 4
SOME = ("bert", "gpt2", "t5", "t5-words", "vit", "resnet")
FIXED = ("eap", "eap_ig_inputs", "clean_corrupted")
EXACT: dict[str, Any] = {"attention": "exact_pattern"}
Opened = tuple[PatchableModel, Any]


def opened(family: str, home: Path) -> Opened:
    folder = make_family(home / family, family)
    return load_checkpoint(folder, dtype="float64", check=False), make_pairs_for(family, N, seed=3)


@pytest.fixture(scope="module", params=SOME)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(request.param, tmp_path_factory.mktemp("fix"))


@pytest.fixture(scope="module", params=(*TEXT_FAMILIES, "vit"))
def saturated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Queries ten times as large, so that nearly all patterns are close to 0 or 1."""
    patchable, pairs = opened(request.param, tmp_path_factory.mktemp("saturated"))
    with torch.no_grad():
        for row in patchable.modules.layers:
            head_weights(row, "q").mul_(10)
            bias: Any = getattr(row.q, "bias", None)
            if bias is not None:
                (bias.chunk(3)[0] if row.is_fused else bias).mul_(10)
    return patchable, pairs


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return opened("bert", tmp_path_factory.mktemp("bert"))


def into_softmax(edges: tuple[str, ...]) -> Tensor:
    return torch.tensor([edge.endswith(("<q>", "<k>")) for edge in edges])


def missed(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).abs().sum() / exact.abs().sum())


def test_only_edges_into_q_and_k_change(model: Opened) -> None:
    patchable, pairs = model
    for method in FIXED:
        linear, fixed = (METHODS[method](patchable, pairs, **o) for o in ({}, EXACT))
        softmax = into_softmax(linear.edges)
        assert torch.equal(linear.values[:, ~softmax], fixed.values[:, ~softmax])
        # A ResNet has no attention; a model that answers with its first word has one key there.
        moved = (linear.values != fixed.values)[:, softmax]
        assert moved.any() or not softmax.any()
        assert fixed.values.isfinite().all() and fixed.settings["attention"] == "exact_pattern"


def test_a_tiny_change_gives_the_linear_score(model: Opened) -> None:
    """The error of the linear score falls with the square of the change."""
    patchable, pairs = model
    runner = EdgeRunner(patchable, pairs, **EXACT)
    both = runner.both(list(range(N)), "target")
    gradients = both.target.gradients
    assert gradients is not None
    softmax = into_softmax(runner.graph.edges)
    if not softmax.any():
        return
    errors: list[float] = []
    for share in (1e-2, 1e-3):
        near = approached(runner, both, share)
        linear = runner.contract(near, gradients, []).detach()[:, softmax]
        fixed = runner.contract(near, gradients).detach()[:, softmax]
        assert linear.abs().max() > 0
        errors.append(missed(fixed, linear))
    assert errors[1] < 0.02 and errors[1] < 0.2 * errors[0]


def approached(runner: EdgeRunner, both: BothRuns, share: float) -> BothRuns:
    """The same, where the other run is what the model makes of embeddings close to the target's."""
    edits: dict[Any, Any] = {}
    for site in runner.entries():
        value = torch.lerp(both.clean.cache[site], both.corrupted.cache[site], share)
        edits[site] = lambda _, value=value: value
    with runner.model.hooks.editing(edits), runner.model.hooks.reading(runner.sites) as seen:
        runner.model.forward(both.clean.batch)
    cache = ActivationCache(seen, both.clean.cache.frames)
    near = Side(both.clean.batch, both.clean.margins, cache)
    return replace(both, corrupted=near, source=near)


def test_of_a_reader_with_one_writer_it_is_the_whole_change_of_the_pattern(bert: Opened) -> None:
    """The first layer reads nothing but the embedding, and its patterns lead to the other run's."""
    patchable, pairs = bert
    runner = EdgeRunner(patchable, pairs, **EXACT)
    both = runner.both(list(range(N)), "target")
    row = patchable.modules.layers[0]
    gradients = both.target.gradients
    assert gradients is not None
    names = ("q", "k", "pattern")
    with patchable.hooks.reading([row.site(name) for name in names]) as clean:
        patchable.forward(both.clean.batch)
    with patchable.hooks.reading([row.site(name) for name in names]) as other:
        patchable.forward(both.corrupted.batch)
    query, key = other[row.site("q")], clean[row.site("k")]
    scores = torch.einsum("bdhe,bshe->bhds", query, key) / row.d_head**0.5
    mask = both.clean.batch["attention_mask"][:, None, None, :]
    after = scores.masked_fill(mask == 0, float("-inf")).softmax(dim=-1)
    change = clean[row.site("pattern")] - after
    expected = (change * gradients.pattern(row)).sum(dim=(-2, -1))
    columns = [runner.graph.position[f"input->a0.h{h}<q>"] for h in range(row.n_heads)]
    found = METHODS["eap"](patchable, pairs, **EXACT).values[:, columns]
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-8)


def test_the_gradient_at_a_pattern_gives_that_at_q(bert: Opened) -> None:
    """Through the slope of the softmax, the two options start from the same gradient."""
    patchable, pairs = bert
    runner = EdgeRunner(patchable, pairs, **EXACT)
    both = runner.both(list(range(N)), "target")
    gradients = both.target.gradients
    assert isinstance(gradients, ReaderGradients)
    row = patchable.modules.layers[1]
    sites = [row.site(name) for name in ("q", "k", "pattern")]
    with patchable.hooks.reading(sites) as seen:
        patchable.forward(both.clean.batch)
    pattern, slope = seen[row.site("pattern")], gradients.pattern(row)
    at_scores = pattern * (slope - (pattern * slope).sum(dim=-1, keepdim=True))
    at_q = torch.einsum("bhds,bshe->hbde", at_scores, seen[row.site("k")]) / row.d_head**0.5
    expected = torch.einsum("hbde,hem->hbdm", at_q, head_weights(row, "q"))
    point = next(p for p in runner.graph.points if p.row == 1 and p.kind == "heads")
    torch.testing.assert_close(gradients.part(point, "q"), expected, atol=1e-12, rtol=1e-8)


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_where_attention_saturates_it_is_closer_to_exact_edges(
    saturated: Opened, direction: Any
) -> None:
    patchable, pairs = saturated
    exact = METHODS["exact_edges"](patchable, pairs, direction)
    softmax = into_softmax(exact.edges)
    linear, fixed = (
        METHODS["eap"](patchable, pairs, direction, **options).values[:, softmax]
        for options in ({}, EXACT)
    )
    reference = exact.values[:, softmax]
    assert missed(fixed, reference) < 0.8 * missed(linear, reference)
    both = (torch.stack([s.flatten(), reference.flatten()]) for s in (linear, fixed))
    before, after = (float(torch.corrcoef(one)[0, 1]) for one in both)
    assert after > before


def test_both_ends_and_the_first_step_meet_eap(bert: Opened) -> None:
    patchable, pairs = bert
    noise, denoise = (METHODS["eap"](patchable, pairs, d, **EXACT) for d in ("noise", "denoise"))
    found = METHODS["clean_corrupted"](patchable, pairs, **EXACT).values
    torch.testing.assert_close(found, (noise.values + denoise.values) / 2, atol=1e-12, rtol=1e-8)
    end = METHODS["eap_ig_inputs"](patchable, pairs, "denoise", steps=1, rule="left", **EXACT)
    torch.testing.assert_close(end.values, denoise.values)
    # The same pairs the other way round, patched the other way round, are the same question.
    swapped = METHODS["eap"](patchable, pairs.swapped(), "denoise", **EXACT)
    torch.testing.assert_close(swapped.values, noise.values, atol=1e-12, rtol=1e-8)


def test_batches_and_silent_writers_count_as_they_should(bert: Opened) -> None:
    patchable, pairs = bert
    for method in FIXED:
        one, all_ = (METHODS[method](patchable, pairs, batch_size=n, **EXACT) for n in (1, N))
        torch.testing.assert_close(one.values, all_.values, atol=1e-10, rtol=1e-8)
        same = METHODS[method](patchable, replace(pairs, corrupted=pairs.clean), **EXACT)
        assert same.values.abs().max() == 0


def test_methods_without_the_option_say_so(bert: Opened) -> None:
    for method in FIXED:
        method_of(method, ["attention"])
    for method in ("node_attribution", "eap_ig_activations", "exact_edges"):
        with pytest.raises(DataError, match="takes no attention") as error:
            method_of(method, ["attention"])
        assert "\n" not in str(error.value)
    with pytest.raises(Exception, match="attention"):
        METHODS["eap"](bert[0], make_pairs(N), attention="magic")
