"""Plants in T5 and ResNet: their families' own conditions. What holds of all: `test_plants`."""

from pathlib import Path

import pytest
import torch
from planting import (
    N,
    check_even_nodes_mislead,
    check_rivals_cancel,
    plant_of,
)
from transformers import T5ForSequenceClassification

from behavior.errors import DataError
from behavior.examples import CONTRASTS
from circuits.plants import Plant, make_plant
from circuits.validate.scoring import Case

FAMILIES = ("t5", "resnet")
SMALL = {"n_layers": 2, "n_pairs": 24}
"""Made faster than by default."""


@pytest.fixture(scope="module", params=FAMILIES)
def wired(request: pytest.FixtureRequest) -> Plant:
    return plant_of("wired", request.param)


@pytest.fixture(scope="module")
def t5() -> Plant:
    return plant_of("wired", "t5")


@pytest.fixture(scope="module")
def resnet() -> Plant:
    return plant_of("wired", "resnet")


def test_methods_find_what_was_planted(wired: Plant) -> None:
    for contrast in CONTRASTS:
        case = Case(wired, contrast, N)
        found = case.measure(case.score("eap")[0])
        assert found["edge_auroc"] > 0.995
        assert found["node_auroc"] > 0.99


@pytest.mark.parametrize(("family", "sizes"), [("t5", {"n_heads": 3}), ("resnet", {})])
def test_the_same_seed_gives_the_same_weights(family: str, sizes: dict[str, int]) -> None:
    first, again = (make_plant("wired", family, 3, **SMALL, **sizes) for _ in range(2))
    weights = [plant.model.hf.state_dict() for plant in (first, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert first.circuits == again.circuits


@pytest.mark.parametrize("family", FAMILIES)
def test_even_nodes_change_nothing_but_gradients_think_they_do(family: str) -> None:
    check_even_nodes_mislead(plant_of("even", family, n_even=1, **SMALL))


@pytest.mark.parametrize("family", FAMILIES)
def test_rivals_do_nothing_together_and_much_alone(family: str) -> None:
    check_rivals_cancel(plant_of("cancelling", family, n_rivals=1, **SMALL))


def test_t5_carries_both_features_through_both_of_its_streams(t5: Plant) -> None:
    """Words enter twice, and the decoder reads the encoder across."""
    edges = t5.circuits["core"].edges | t5.circuits["shortcut"].edges
    writers = {edge.partition("->")[0] for edge in edges}
    assert {"enc.input", "dec.input"} <= writers
    assert any(edge.startswith("enc.a") and "->dec.x" in edge for edge in edges)
    encoder, decoder = (
        torch.cat(
            [t5.blocks[block] for block in t5.wiring.blocks.values() if block[:3] == stack], 1
        )
        for stack in ("enc", "dec")
    )
    assert (encoder.T @ decoder).abs().max() < 1e-12


def test_t5_reads_its_constants_from_the_ballast(t5: Plant) -> None:
    """It has no biases, but what its readers see has no mean."""
    names = [name for name, _ in t5.model.hf.named_parameters() if name.endswith(".bias")]
    assert all("classification_head" in name for name in names)
    _, values = t5.model.run_with_cache(t5.pairs("core", N).clean, sites=["v"])
    for row in t5.model.modules.layers:
        v = values[row.site("v")].flatten(end_dim=1)
        assert v.mean(dim=0).norm() < v.std(dim=0).norm() / 2


def test_a_t5_plant_is_an_ordinary_checkpoint(t5: Plant, tmp_path: Path) -> None:
    """Its norms take the mean square in the precision of the weights, which changes nothing."""
    inputs = t5.pairs("core", N).clean
    expected = t5.model.logits(inputs)
    t5.model.hf.save_pretrained(tmp_path)
    t5.model.tokenizer.save_pretrained(tmp_path)
    plain = T5ForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64).eval()
    ids = torch.tensor(t5.model.tokens(inputs))
    with torch.no_grad():
        found = plain(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_each_channel_of_a_resnet_has_one_writer_and_no_relu_bends_it(resnet: Plant) -> None:
    model = resnet.model
    names = ["result", "attn_out", "resid_pre", "resid_post"]
    _, values = model.run_with_cache(resnet.pairs("core", N).clean, sites=names)
    for row in model.modules.layers:
        results = values[row.site("result")]
        for head, result in zip(row.heads, results.unbind(dim=2), strict=True):
            own = resnet.blocks[resnet.wiring.blocks[str(head)]].sum(dim=1) > 0
            assert result[..., own].abs().max() > 0.1
            assert (result[..., ~own] == 0).all()
        before, written, after = (
            values[row.site(name)] for name in ("resid_pre", "attn_out", "resid_post")
        )
        torch.testing.assert_close(after, before + written, rtol=0, atol=1e-12)


def test_a_resnet_sees_the_colours_of_each_cell(resnet: Plant) -> None:
    """Its embedder copies the lit pixels of a cell into channels, and pooling loses none."""
    pairs = resnet.pairs("shortcut", N)
    site = resnet.model.modules.layers[0].site("resid_pre")
    _, values = resnet.model.run_with_cache(pairs.clean, sites=[site])
    for given, other, seen in zip(pairs.clean, pairs.corrupted, values[site], strict=True):
        pixels, others = (torch.tensor(one.source).view(3, 4, 3, 4, 3) for one in (given, other))
        lit = pixels[:, :2, :, :2].permute(0, 2, 4, 1, 3).reshape(9, 12).double() / 255
        torch.testing.assert_close(seen[:, :12], lit, rtol=0, atol=1e-7)
        changed = (pixels != others).amax(dim=(1, 3))
        assert changed.sum(dim=(0, 1)).tolist() == [0, 3, 0]


def test_a_hard_resnet_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="no hard plants of family 'resnet': nothing in it satur"):
        make_plant("hard", "resnet")
    with pytest.raises(DataError, match="n_heads 4; expected 8 at this d_model"):
        make_plant("wired", "resnet", n_heads=4)
