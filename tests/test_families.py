"""Every family: it opens, its logits are Hugging Face's, its effects those of full forwards."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, IMAGE_FAMILIES, make_family, make_pairs_for
from naive import DIRECTIONS, naive_effects, plain_logits

from behavior.errors import DataError
from behavior.examples import Pairs
from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
from patching.attribution import attribute_heads, attribute_mlps
from patching.effects import Direction
from patching.models.loading import DType, load_checkpoint
from patching.models.model import PatchableModel

DECODER_LAYERS = {"t5": 2, "t5-words": 2}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("families") / family, family)


@pytest.fixture(scope="module")
def model(folder: Path) -> PatchableModel:
    """Opening it runs the self-check."""
    return load_checkpoint(folder, dtype="float64")


@pytest.fixture(scope="module")
def pairs(family: str) -> Pairs[Any]:
    return make_pairs_for(family, 5, seed=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_family_passes_the_check_on_load(folder: Path, family: str, dtype: DType) -> None:
    spec = load_checkpoint(folder, dtype=dtype).spec
    assert (spec.family, spec.n_heads) == (family.split("-")[0], 3)
    assert (spec.n_layers, spec.n_decoder_layers) == (3, DECODER_LAYERS.get(family, 0))
    assert spec.modality == ("image" if family in IMAGE_FAMILIES else "text")
    assert len(spec.heads) == 3 * len(spec.rows) == len(set(spec.heads))


def test_rows_and_nodes_have_the_names_of_the_field(model: PatchableModel, family: str) -> None:
    spec = model.spec
    if family.startswith("t5"):
        decoder = ("dec.a0", "dec.x0", "dec.a1", "dec.x1")
        assert spec.rows == ("enc.a0", "enc.a1", "enc.a2", *decoder)
        assert spec.mlps == ("enc.m0", "enc.m1", "enc.m2", "dec.m0", "dec.m1")
        assert spec.inputs == ("enc.input", "dec.input")
        assert spec.heads[9:13] == ("dec.a0.h0", "dec.a0.h1", "dec.a0.h2", "dec.x0.h0")
    elif family.startswith("resnet"):
        assert (spec.rows, spec.mlps) == (("s0.b0", "s0.b1", "s1.b0"), ())
        assert spec.inputs == ("input",)
        assert spec.heads[-1] == "s1.b0.g2"
    else:
        assert (spec.rows, spec.mlps) == (("a0", "a1", "a2"), ("m0", "m1", "m2"))
        assert spec.inputs == ("input",)
        assert spec.heads[:4] == ("a0.h0", "a0.h1", "a0.h2", "a1.h0")


def test_logits_are_those_of_hugging_face(
    model: PatchableModel, folder: Path, pairs: Pairs[Any]
) -> None:
    """Of texts of mixed lengths, padded, as of each text alone."""
    if model.spec.modality == "text":
        assert len({len(row) for row in model.tokens(pairs.clean)}) > 1
    expected = plain_logits(folder, pairs.clean)
    assert expected.std(dim=0).min() > 1e-2, "the inputs should not all give the same logits"
    torch.testing.assert_close(model.logits(pairs.clean), expected, atol=1e-11, rtol=1e-11)


def unmoved(family: str) -> tuple[str, ...]:
    """Nodes that see nothing of the input: at its first step the decoder has its start token."""
    return ("dec.a0", "dec.a0.h0", "dec.a0.h1", "dec.a0.h2") if family == "t5-words" else ()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_engine_equals_one_full_forward_for_each_node(
    model: PatchableModel, family: str, pairs: Pairs[Any], direction: Direction
) -> None:
    nodes = (*model.spec.heads, *model.spec.mlps, *model.spec.rows)
    effects = patch_nodes(model, pairs, nodes, direction)
    for node, expected in zip(nodes, naive_effects(model, pairs, nodes, direction), strict=True):
        torch.testing.assert_close(effects.node(node), expected, atol=1e-11, rtol=1e-9)
        size = effects.node(node).abs().max()
        assert size == 0 if node in unmoved(family) else size > 1e-5


def test_effects_of_heads_mlps_and_rows_have_their_shapes(
    model: PatchableModel, pairs: Pairs[Any]
) -> None:
    nodes, n_rows = model.spec.heads, len(model.spec.rows)
    heads = patch_heads(model, pairs)
    assert heads.nodes == nodes
    assert heads.heads.shape == (5, n_rows, 3)
    assert torch.equal(heads.heads[:, -1, 1], heads.node(nodes[-2]))
    assert patch_layers(model, pairs).layers.shape == (5, n_rows)
    if model.spec.mlps:
        mlps = patch_mlps(model, pairs)
        assert mlps.mlps.shape == (5, len(model.spec.mlps))
        assert torch.equal(mlps.mlps[:, -1], mlps.node(model.spec.mlps[-1]))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_the_input_gives_the_other_run(
    model: PatchableModel, pairs: Pairs[Any], direction: Direction
) -> None:
    effects = patch_nodes(model, pairs, ["input"], direction)
    assert (effects.clean - effects.corrupted).std() > 1e-3
    torch.testing.assert_close(effects.node("input"), effects.clean - effects.corrupted)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_stream_has_an_input_of_its_own(
    model: PatchableModel, family: str, pairs: Pairs[Any], direction: Direction
) -> None:
    names = model.spec.inputs
    effects = patch_nodes(model, pairs, names, direction)
    for name, expected in zip(names, naive_effects(model, pairs, names, direction), strict=True):
        torch.testing.assert_close(effects.node(name), expected, atol=1e-11, rtol=1e-9)
        moves = (family, name) != ("t5-words", "dec.input")
        assert (effects.node(name).abs().max() > 1e-4) == moves


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_with_the_same_input_changes_nothing(
    model: PatchableModel, pairs: Pairs[Any], direction: Direction
) -> None:
    same = replace(pairs, corrupted=pairs.clean)
    nodes = dict.fromkeys((*model.spec.heads, *model.spec.rows, *model.spec.inputs, "input"))
    found = [
        patch_nodes(model, same, tuple(nodes), direction),
        attribute_heads(model, same, direction),
    ]
    if model.modules.layers[0].has("pattern"):
        found.append(patch_layers(model, same, direction, "patterns"))
        found.append(patch_layers(model, same, direction, "values"))
    for effects in found:
        assert effects.values.abs().max() < 1e-11


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("what", "moved"), [("patterns", ("q", "k")), ("values", ("v",))])
def test_patterns_and_values_of_a_row_move_apart(
    model: PatchableModel,
    pairs: Pairs[Any],
    direction: Direction,
    what: Any,
    moved: Sequence[Any],
) -> None:
    rows = model.modules.layers
    if not rows[0].has("pattern"):
        with pytest.raises(DataError, match=f"has no attention, so no {what}. Patch 'heads'"):
            patch_layers(model, pairs, direction, what)
        return
    effects = patch_layers(model, pairs, direction, what)
    groups = [[row.site(activation) for activation in moved] for row in rows]
    expected = torch.stack(naive_effects(model, pairs, groups, direction), dim=1)
    torch.testing.assert_close(effects.layers, expected, atol=1e-11, rtol=1e-9)
    assert expected.abs().max() > 1e-4


def test_a_model_without_mlps_says_so(model: PatchableModel, pairs: Pairs[Any]) -> None:
    for measure in (patch_mlps, attribute_mlps):
        if model.spec.mlps:
            assert measure(model, pairs).nodes == model.spec.mlps
        else:
            with pytest.raises(DataError, match=r"has no MLPs\. Patch its heads\.$"):
                measure(model, pairs)


def test_effects_do_not_depend_on_batch_size_order_or_padding(
    model: PatchableModel, pairs: Pairs[Any]
) -> None:
    nodes = (*model.spec.heads[1::3], *model.spec.mlps, "input")
    effects = patch_nodes(model, pairs, nodes)
    order = [3, 0, 4, 2, 1]
    shuffled = patch_nodes(model, pairs.take(order), nodes, batch_size=2)
    single = patch_nodes(model, pairs, nodes, batch_size=1)
    torch.testing.assert_close(shuffled.values, effects.values[order], atol=1e-11, rtol=1e-9)
    torch.testing.assert_close(single.values, effects.values, atol=1e-11, rtol=1e-9)
