"""Effects by layer and word: against naive forwards, and averages only of what is alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import make_bert, make_family, make_pairs, make_pairs_for
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.readout import margin, read_labels
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.positions import PositionEffects, PositionSite, patch_positions
from patching.words import align_words

PAIRS = make_pairs(6, seed=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(tmp_path_factory.mktemp("positions") / "m", scale=25.0)
    return load_checkpoint(folder, dtype="float64")


@pytest.fixture(scope="module")
def effects(model: PatchableModel) -> PositionEffects:
    return patch_positions(model, PAIRS)


def margins(model: PatchableModel, pairs: Pairs) -> Tensor:
    readout = read_labels(model.spec.classes, ("entailment", "non-entailment"))
    logits = readout.task_logits(model.logits(pairs.clean))
    return margin(logits, readout.index(pairs.labels), readout.index(pairs.foils))


@pytest.mark.parametrize(
    ("site", "activation"),
    [("resid_pre", "resid_pre"), ("resid_post", "resid_post"), ("heads", "z")],
)
def test_a_word_is_patched_at_all_its_tokens_and_nowhere_else(
    model: PatchableModel, site: PositionSite, activation: str
) -> None:
    found = patch_positions(model, PAIRS, site=site, batch_size=4)
    pair = PAIRS.take([4])
    index = torch.tensor(align_words(model, pair)[0].index)
    for layer in range(model.spec.n_layers):
        name = f"L{layer}.{activation}"
        clean, corrupted = (
            model.run_with_cache(text, sites=[name])[1][name]
            for text in (pair.clean, pair.corrupted)
        )
        for word in range(len(found.words[4])):
            here = (index == word).view(1, -1, *[1] * (clean.dim() - 2))
            with model.patch({name: torch.where(here, corrupted, clean)}):
                expected = found.clean[4] - margins(model, pair)[0]
            torch.testing.assert_close(found.values[4, layer, word], expected)


@pytest.mark.parametrize("family", ["gpt2", "t5", "t5-words"])
@pytest.mark.parametrize(
    ("site", "activation"),
    [("resid_pre", "resid_pre"), ("resid_post", "resid_post"), ("heads", "z")],
)
def test_words_of_other_families_are_patched_where_they_are(
    tmp_path: Path, family: str, site: PositionSite, activation: Any
) -> None:
    """Of T5 in the encoder only: the decoder's tokens stand one place later, or nowhere."""
    opened = load_checkpoint(make_family(tmp_path / family, family), dtype="float64", check=False)
    pair = PAIRS.take([4])
    found = patch_positions(opened, pair, site=site)
    rows = [row for row in opened.modules.layers if not row.stack.startswith("dec")]
    assert found.values.shape == (1, len(rows), len(found.words[0]))
    index = torch.tensor(align_words(opened, pair)[0].index)
    for i, row in enumerate(rows):
        name = row.site(activation)
        clean, corrupted = (
            opened.run_with_cache(texts, [name])[1][name] for texts in (pair.clean, pair.corrupted)
        )
        for word in (3, found.words[0].index("."), len(found.words[0]) - 1):
            here = (index == word).view(1, -1, *[1] * (clean.dim() - 2))
            with opened.patch({name: torch.where(here, corrupted, clean)}):
                expected = found.clean[0] - margins(opened, pair)[0]
            torch.testing.assert_close(found.values[0, i, word], expected)


def test_images_have_no_words(tmp_path: Path) -> None:
    opened = load_checkpoint(make_family(tmp_path / "vit", "vit"), check=False)
    with pytest.raises(DataError, match="reads images, which have no words"):
        patch_positions(opened, make_pairs_for("vit", 2))


def test_words_beyond_the_last_of_a_pair_have_no_effect(effects: PositionEffects) -> None:
    assert len({len(words) for words in effects.words}) > 1
    for i, words in enumerate(effects.words):
        assert not effects.values[i, :, len(words) :].any()
        assert effects.of_pair(i).shape == (3, len(words))


def test_only_pairs_with_as_many_words_are_averaged(effects: PositionEffects) -> None:
    alike = effects.alike()
    torch.testing.assert_close(effects.mean(), effects.mean(alike))
    assert {len(effects.words[i]) for i in alike} == {effects.mean().shape[1]}
    with pytest.raises(DataError, match="cannot be averaged"):
        effects.mean(range(len(PAIRS)))


def test_the_figure_of_one_pair_shows_its_words(effects: PositionEffects) -> None:
    figure = effects.figure([0])
    shown = [label.split(" ", 1)[1] for label in figure.data[0].x]
    assert shown == list(effects.words[0])
    assert "1 of 6 pairs" in figure.layout.title.text


def test_an_unknown_site_lists_the_known_ones(model: PatchableModel) -> None:
    with pytest.raises(Exception, match="resid_pre"):
        patch_positions(model, PAIRS, site="mlp_out")  # pyright: ignore[reportArgumentType]


def test_stored_in_a_folder_that_does_not_exist_yet(
    effects: PositionEffects, tmp_path: Path
) -> None:
    read = PositionEffects.load(effects.save(tmp_path / "new" / "positions.safetensors"))
    assert torch.equal(read.values, effects.values)
    assert read.site == "resid_pre"
