"""The suffix engine: its shortcuts against the replay without them, and what it leaves behind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from modelmaking import make_bert, make_family, make_inputs, make_pairs, make_pairs_for
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Input
from patching.activation import patch_heads, patch_layers, patch_nodes
from patching.interventions import Intervention, needed_sites, patched_logits, plan_nodes
from patching.models.cache import ActivationCache
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.shortcut import can_shorten, first_token_only
from patching.runs import PairRunner
from patching.suffix import open_suffix

PAIRS = make_pairs(9, seed=1)
NODES = ("input", "a0.h1", "a1.h0", "a2.h0", "a2.h1", "a2", "m0", "m2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(tmp_path_factory.mktemp("suffix") / "m", scale=25.0)
    return load_checkpoint(folder, dtype="float64")


def recorded(
    model: PatchableModel, inputs: Sequence[Input]
) -> tuple[dict[str, Tensor], ActivationCache]:
    """One run of all inputs in one padded batch, nothing left out."""
    batch = model.encoder.batch(model.encode(inputs))
    with model.hooks.reading(model.sites(None)) as values:
        model.forward(batch)
    return batch, ActivationCache(values)


def plan(model: PatchableModel) -> tuple[Intervention, ...]:
    layers = range(model.spec.n_layers)
    return (
        *plan_nodes(model, NODES),
        *(Intervention(f"a{layer}", "pattern", layer) for layer in layers),
        *(Intervention(f"a{layer}", "values", layer) for layer in layers),
        *(Intervention(f"L{layer}.resid_pre", "stream", layer) for layer in layers),
        *(Intervention(f"L{layer}.resid_post", "stream out", layer) for layer in layers),
    )


def test_the_shortcut_equals_the_replay_of_all_rows(model: PatchableModel) -> None:
    batch, cache = recorded(model, PAIRS.clean)
    _, source = recorded(model, PAIRS.corrupted)
    assert (batch["attention_mask"] == 0).any()
    for intervention in plan(model):
        with open_suffix(model, batch, cache) as short:
            found = patched_logits(short, source, intervention)
        with open_suffix(model, batch, cache, shortcut=False) as long:
            expected = patched_logits(long, source, intervention)
        assert short.shortens
        assert not long.shortens
        torch.testing.assert_close(
            found, expected, msg=lambda text, one=intervention: f"{one}{text}"
        )


def test_a_patch_at_some_positions_is_the_shortcut_too(model: PatchableModel) -> None:
    batch, cache = recorded(model, PAIRS.clean)
    _, source = recorded(model, PAIRS.corrupted)
    where = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    where[:, 0], where[:, 9] = True, True
    for intervention in (Intervention("a2", "heads", 2, (0, 1)), Intervention("x", "stream", 2)):
        with open_suffix(model, batch, cache) as short:
            found = patched_logits(short, source, intervention, where)
        with open_suffix(model, batch, cache, shortcut=False) as long:
            torch.testing.assert_close(found, patched_logits(long, source, intervention, where))


def test_a_suffix_without_a_patch_is_the_run_itself(model: PatchableModel) -> None:
    batch, cache = recorded(model, PAIRS.clean)
    plain = model.forward(batch)
    with open_suffix(model, batch, cache) as suffix:
        for layer in range(model.spec.n_layers):
            for logits in (
                suffix.entering(layer, suffix.at(layer, "resid_pre")),
                suffix.leaving(layer, suffix.at(layer, "resid_post")),
                suffix.from_attention(layer, suffix.at(layer, "attn_out")),
                suffix.from_mlp(layer, suffix.at(layer, "mlp_out")),
                suffix.with_attention(layer, lambda call: call),
            ):
                torch.testing.assert_close(logits, plain)


@pytest.mark.parametrize("family", ["vit", "deit", "distilbert"])
def test_the_shortcut_of_other_families_equals_the_replay(tmp_path: Path, family: str) -> None:
    """Pre-norm layers read the stream after its norm; DeiT has a second token of its own."""
    opened = load_checkpoint(make_family(tmp_path / family, family), dtype="float64", check=False)
    pairs = make_pairs_for(family, 4)
    batch, cache = recorded(opened, pairs.clean)
    _, source = recorded(opened, pairs.corrupted)
    for intervention in plan(opened):
        with open_suffix(opened, batch, cache) as short:
            found = patched_logits(short, source, intervention)
        with open_suffix(opened, batch, cache, shortcut=False) as long:
            expected = patched_logits(long, source, intervention)
        assert (short.shortens, long.shortens) == (True, False)
        torch.testing.assert_close(
            found, expected, msg=lambda text, one=intervention: f"{one}{text}"
        )
    everywhere = opened.forward(batch)
    with first_token_only(opened):
        torch.testing.assert_close(opened.forward(batch), everywhere)


@pytest.mark.parametrize("family", ["t5", "t5-words", "gpt2", "resnet"])
def test_families_that_read_more_than_the_first_token_are_not_shortened(
    tmp_path: Path, family: str
) -> None:
    """And what is recorded without frames is replayed with frames of the suffix's own."""
    opened = load_checkpoint(make_family(tmp_path / family, family), dtype="float64", check=False)
    assert not can_shorten(opened)
    batch, cache = recorded(opened, make_inputs(family, 4))
    assert not cache.frames
    plain = opened.forward(batch)
    with open_suffix(opened, batch, cache) as suffix:
        for layer, row in enumerate(opened.modules.layers):
            replays = [
                suffix.entering(layer, suffix.at(layer, "resid_pre")),
                suffix.from_attention(layer, suffix.at(layer, "attn_out")),
            ]
            if opened.modules.row(row.site("resid_post")) is row:
                replays.append(suffix.leaving(layer, suffix.at(layer, "resid_post")))
            if row.mlp is not None:
                replays.append(suffix.from_mlp(layer, suffix.at(layer, "mlp_out")))
            if row.q is not None:
                replays.append(suffix.with_attention(layer, lambda call: call))
            for logits in replays:
                torch.testing.assert_close(logits, plain, atol=1e-11, rtol=1e-11)


def test_logits_of_the_first_token_alone_are_the_logits(model: PatchableModel) -> None:
    assert can_shorten(model)
    batch, cache = recorded(model, PAIRS.clean)
    plain = model.forward(batch)
    with first_token_only(model), model.hooks.reading(model.sites(["z", "attn_out"])) as values:
        torch.testing.assert_close(model.forward(batch), plain)
    for site, value in values.items():
        expected = cache[site][:, :1] if site.layer == 2 else cache[site]
        torch.testing.assert_close(value, expected)


def test_effects_are_those_of_eager_attention(model: PatchableModel, tmp_path: Path) -> None:
    eager = load_checkpoint(make_bert(tmp_path / "m", scale=25.0), dtype="float64")
    eager.hf.set_attn_implementation("eager")
    torch.testing.assert_close(patch_heads(eager, PAIRS).values, patch_heads(model, PAIRS).values)
    for what in ("patterns", "values"):
        found, expected = (patch_layers(one, PAIRS, "noise", what) for one in (eager, model))
        torch.testing.assert_close(found.values, expected.values)
    assert eager.hf.config._attn_implementation == "eager"


def test_single_precision_is_right_to_a_millionth_of_the_margin(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "m", scale=15.0)
    single, double = load_checkpoint(folder), load_checkpoint(folder, dtype="float64")
    found, expected = patch_heads(single, PAIRS), patch_heads(double, PAIRS)
    assert found.values.dtype == torch.float32
    scale = expected.clean.abs().max().clamp(min=1)
    assert (found.values - expected.values).abs().max() < 1e-5 * scale


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(model: PatchableModel, fails: bool) -> None:
    def stop(done: int, total: int) -> None:
        if fails:
            raise KeyboardInterrupt

    before = state(model)
    try:
        patch_nodes(model, PAIRS, NODES, batch_size=3, progress=stop)
    except KeyboardInterrupt:
        assert fails
    assert state(model) == before


def state(model: PatchableModel) -> list[object]:
    """What hooks, replaced forwards and intercepted attention would show in."""
    found: list[object] = [model.hf.config._attn_implementation]
    for module in model.hf.modules():
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
        found += [sorted(module.__dict__), hooks]
    return found


def test_progress_counts_all_pairs(model: PatchableModel) -> None:
    seen: list[tuple[int, int]] = []
    patch_heads(model, PAIRS, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 9), (6, 9), (9, 9)]


def test_effects_are_not_measured_inside_a_patch(model: PatchableModel) -> None:
    with model.patch({"a0.h0": 0.0}), pytest.raises(DataError, match="inside"):
        patch_heads(model, PAIRS)


def test_recording_leaves_out_rows_only_where_none_is_needed(model: PatchableModel) -> None:
    def last_rows(sites: Iterator[Intervention]) -> set[int]:
        runner = PairRunner(model, PAIRS, "noise")
        chunk = next(runner.chunks(needed_sites(model, list(sites))))
        return {value.shape[1] for site, value in chunk.source.cache.items() if site.layer == 2}

    n_positions = max(len(ids) for ids in model.tokens(PAIRS.clean))
    assert last_rows(iter(plan_nodes(model, ["a2.h0"]))) == {1, n_positions}
    assert last_rows(iter([Intervention("a2", "values", 2)])) == {n_positions}
