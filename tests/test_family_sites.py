"""Every site of every family: its shape, what setting it does, and that only it is set."""

from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_inputs
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Input
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import ACTIVATIONS, Activation, Site
from patching.models.rows import LayerModules

N = 3
LAYERS = (0, 1, 2)
STAGES = (("s0", 0), ("s0", 1), ("s1", 0))
OF_ATTENTION: tuple[Activation, ...] = ("q", "k", "v", "pattern")
PIXELS = {"resid_pre": (80, 80, 80), "resid_post": (80, 80, 20), "z": (80, 80, 20)}
CHANNELS = {"resnet": (9, 9, 9, 18), "resnet-bottleneck": (9, 36, 36, 72)}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_family(tmp_path_factory.mktemp("sites") / family, family)
    return load_checkpoint(folder, dtype="float64", check=False)


@pytest.fixture(scope="module")
def inputs(family: str) -> tuple[Input, ...]:
    return make_inputs(family, N, seed=4)


def promised(model: PatchableModel, family: str, inputs: tuple[Input, ...]) -> dict[str, Any]:
    """Shapes by site, as the table of `patching.models.nodes` has them."""
    if family.startswith("resnet"):
        return promised_of_blocks(CHANNELS[family])
    if model.spec.modality == "image":
        n = {"vit": 17, "deit": 18}[family]
    else:
        n = max(len(row) for row in model.tokens(inputs))
    if not family.startswith("t5"):
        return {
            f"L{layer}.{name}": shape
            for layer in LAYERS
            for name, shape in promised_of_row(n, n, 24 // 3).items()
        }
    decoded = 1 if family == "t5-words" else n
    shapes: dict[str, Any] = {}
    for stack, layers, dst, src in (
        ("enc.", LAYERS, n, n),
        ("dec.", LAYERS[:2], decoded, decoded),
        ("dec.x.", LAYERS[:2], decoded, n),
    ):
        of_row = promised_of_row(dst, src, 10)
        if stack == "dec.x.":
            del of_row["mlp_out"]
        for layer in layers:
            shapes |= {f"{stack}L{layer}.{name}": shape for name, shape in of_row.items()}
    return shapes


def promised_of_row(dst: int, src: int, d_head: int) -> dict[str, tuple[int, ...]]:
    streams = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
    return {
        **dict.fromkeys(streams, (N, dst, 24)),
        **dict.fromkeys(("q", "z"), (N, dst, 3, d_head)),
        **dict.fromkeys(("k", "v"), (N, src, 3, d_head)),
        "pattern": (N, 3, dst, src),
        "result": (N, dst, 3, 24),
    }


def promised_of_blocks(channels: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (stage, block) in enumerate(STAGES):
        pre, post = PIXELS["resid_pre"][i], PIXELS["resid_post"][i]
        hidden = (9, 9, 18)[i]
        of_block = {
            "resid_pre": (N, pre, channels[i]),
            "resid_post": (N, post, channels[i + 1]),
            "attn_out": (N, post, channels[i + 1]),
            "z": (N, PIXELS["z"][i], 3, hidden // 3),
            "result": (N, post, 3, channels[i + 1]),
        }
        shapes |= {f"{stage}.L{block}.{name}": shape for name, shape in of_block.items()}
    return shapes


def test_every_site_has_the_promised_shape(
    model: PatchableModel, family: str, inputs: tuple[Input, ...]
) -> None:
    logits, cache = model.run_with_cache(inputs, ACTIVATIONS)
    torch.testing.assert_close(logits, model.logits(inputs), atol=1e-11, rtol=1e-11)
    expected = promised(model, family, inputs)
    assert {str(site): tuple(value.shape) for site, value in cache.items()} == expected


def sites(model: PatchableModel) -> list[Site]:
    return [row.site(name) for row in model.modules.layers for name in ACTIVATIONS if row.has(name)]


def test_a_sites_own_value_changes_nothing(
    model: PatchableModel, inputs: tuple[Input, ...]
) -> None:
    plain, cache = model.run_with_cache(inputs, ACTIVATIONS)
    for site in sites(model):
        with model.patch({site: cache[site]}):
            torch.testing.assert_close(
                model.logits(inputs, batch_size=2), plain, atol=1e-10, rtol=0, msg=str(site)
            )


def is_without_choice(family: str, site: Site) -> bool:
    """One key has all the attention, whatever it and the query are."""
    return family == "t5-words" and site.stack == "dec" and site.activation in ("q", "k")


def test_another_value_at_a_site_is_read_there_and_moves_the_logits(
    model: PatchableModel, family: str, inputs: tuple[Input, ...]
) -> None:
    plain, cache = model.run_with_cache(inputs, ACTIVATIONS)
    generator = torch.Generator().manual_seed(0)
    for site in sites(model):
        # A product: attention to padding stays zero.
        other = cache[site] * (1 + torch.rand(cache[site].shape, generator=generator).double())
        with model.patch({site: other}):
            moved, found = model.run_with_cache(inputs, [site])
        if site.activation != "result":
            torch.testing.assert_close(found[site], other, atol=1e-11, rtol=0)
        change = (moved - plain).abs().amax(dim=1)
        if is_without_choice(family, site):
            assert change.max() < 1e-12
        else:
            assert change.min() > 1e-6, str(site)


def test_one_head_alone_is_set(model: PatchableModel, inputs: tuple[Input, ...]) -> None:
    """Where q, k and v come from one module, the other two stay as they are."""
    kinds = [name for name in ("q", "k", "v", "z") if model.modules.layers[-1].has(name)]
    row = model.modules.layers[-1]
    _, before = model.run_with_cache(inputs, [row.site(name) for name in kinds])
    for moved in kinds:
        with model.patch({row.site(moved, head=1): 7.0}):
            _, after = model.run_with_cache(inputs, [row.site(name) for name in kinds])
        for name in kinds:
            expected = before[row.site(name)].clone()
            if name == moved:
                expected[:, :, 1] = 7.0
            if name != "z" or moved == "z":
                assert torch.equal(after[row.site(name)], expected)


def test_what_a_family_does_not_have_is_refused_in_one_line(model: PatchableModel) -> None:
    family, stack = model.spec.family, model.modules.layers[0].stack
    prefix = f"{stack}." if stack else ""
    names = ["L9.z", f"{prefix}L9.z", f"{prefix}L0.h3.z", "s7.L0.z", "dec.x.L5.z", "a9", "m9"]
    if family == "resnet":
        names += ["s0.L0.q", "s0.L0.pattern", "s0.L0.mlp_out", "s0.L0.resid_mid", "m0", "a0"]
    elif family == "t5":
        names += ["L0.z", "a0.h0", "m0", "input", "enc.x.L0.z", "enc.L0.h3.q"]
    else:
        names += ["enc.L0.z", "dec.x0", "s0.b0.g0", "s0.L0.z"]
    for name in names:
        with pytest.raises(DataError, match=r"is not in|Cannot read") as caught:
            model.run_with_cache([], [name])
        assert "\n" not in str(caught.value)


def streams_after(model: PatchableModel, row: LayerModules) -> tuple[Site, Site | None]:
    """Where the sum of resid_mid and the row's MLP is, and the MLP's own part of it."""
    if row.mlp is not None:
        return row.site("resid_post"), row.site("mlp_out")
    following = model.modules.layers[model.modules.layers.index(row) + 1]
    return following.site("resid_pre"), None


def test_setting_resid_mid_of_a_pre_norm_row_sets_the_residual_as_well(
    model: PatchableModel, inputs: tuple[Input, ...]
) -> None:
    """Not only what the MLP reads: the stream beside it too."""
    if model.architecture.layout != "pre-norm":
        return
    for row in model.modules.layers:
        mid = row.site("resid_mid")
        _, cache = model.run_with_cache(inputs, [mid])
        set_to = cache[mid].flip(0) * 2 + 1
        after, mlp_out = streams_after(model, row)
        with model.patch({mid: set_to}):
            _, found = model.run_with_cache(inputs, [mid, after, *([mlp_out] if mlp_out else [])])
        torch.testing.assert_close(found[mid], set_to, atol=1e-11, rtol=0)
        added: Tensor | float = found[mlp_out] if mlp_out else 0.0
        torch.testing.assert_close(found[after], set_to + added, atol=1e-11, rtol=0)
        if row.mlp is not None and row.mlp_norm is not None:
            torch.testing.assert_close(added, row.mlp(row.mlp_norm(set_to)), atol=1e-11, rtol=0)


@pytest.mark.parametrize(
    "together",
    [
        ("resid_pre", "resid_mid"),
        ("attn_out", "resid_mid"),
        ("z", "result"),
        ("result", "attn_out"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_sites_the_later_one_has_the_last_word(
    model: PatchableModel,
    inputs: tuple[Input, ...],
    together: tuple[Activation, Activation],
    turned: bool,
) -> None:
    """In whatever order they are named, and for a stream in nested blocks as well."""
    row = model.modules.layers[1]
    if not all(map(row.has, together)):
        return
    earlier, later = map(row.site, together)
    plain, cache = model.run_with_cache(inputs, [earlier, later])
    values = {earlier: cache[earlier] * 1.5 + 0.3, later: cache[later].flip(0)}
    first, second = (later, earlier) if turned else (earlier, later)
    with model.patch({later: values[later]}):
        expected = model.logits(inputs)
    with model.patch({first: values[first], second: values[second]}):
        torch.testing.assert_close(model.logits(inputs), expected, atol=1e-10, rtol=0)
    if earlier.activation == "resid_pre":
        with model.patch({first: values[first]}), model.patch({second: values[second]}):
            torch.testing.assert_close(model.logits(inputs), expected, atol=1e-10, rtol=0)
    assert (expected - plain).abs().max() > 1e-6
