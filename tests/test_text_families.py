"""What only models of texts have: tokenizers of their own, lengths, words that are classes."""

from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest
import torch
from modelmaking import (
    CLASSES,
    ROBERTA_SPECIAL,
    SPECIAL,
    TEXT_FAMILIES,
    make_family,
    make_pairs,
    make_tokenizer,
)
from naive import class_words, plain_arguments, plain_logits, plain_model
from tokenizers.pre_tokenizers import ByteLevel
from transformers import RobertaTokenizer

from behavior.errors import DataError
from behavior.examples import TextInput
from patching.activation import patch_nodes
from patching.alignment import align_pairs
from patching.models.encoding import TextEncoder
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

PAIRS = make_pairs(5, seed=3)


@pytest.fixture(scope="module", params=TEXT_FAMILIES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PatchableModel:
    folder = make_family(tmp_path_factory.mktemp("texts") / request.param, request.param)
    return load_checkpoint(folder, dtype="float64", check=False)


def test_second_texts_that_start_elsewhere_are_not_aligned(model: PatchableModel) -> None:
    """With and without token types: the tokenizer says which text a token is of."""
    crooked = replace(
        make_pairs(1),
        clean=(TextInput("the doctor saw", "the nurse saw"),),
        corrupted=(TextInput("the doctor", "the nurse saw today"),),
    )
    with pytest.raises(DataError, match="second text starts at different tokens"):
        align_pairs(model, crooked)


def test_the_longest_input_is_as_long_as_the_position_table_allows(model: PatchableModel) -> None:
    """T5 has no table: there the tokenizer's limit holds."""
    longest = model.spec.max_length
    assert longest == (62 if model.spec.family == "roberta" else 64)
    n_special = len(model.tokens([TextInput("doctor")])[0]) - 1
    fits = TextInput(" ".join(["doctor"] * (longest - n_special)))
    assert len(model.tokens([fits])[0]) == longest
    assert torch.isfinite(model.logits([fits])).all()
    with pytest.raises(DataError, match=f"longer than the {longest}"):
        model.logits([TextInput(f"{fits.text} doctor")])


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_token_types_are_not_given_to_a_model_without_them(tmp_path: Path, family: str) -> None:
    """A tokenizer that makes types all the same does not break it, nor change its logits."""
    made = make_family(tmp_path / family, family)
    plain = load_checkpoint(made).logits(PAIRS.clean)
    special = ROBERTA_SPECIAL if family == "roberta" else SPECIAL
    separators = "[SEP] [SEP]" if family == "roberta" else "[SEP]"
    tokenizer = make_tokenizer(special=special, pair=f"[CLS] $A {separators} $B:1 [SEP]:1")
    tokenizer.save_pretrained(made)
    opened = load_checkpoint(made)
    assert opened.encode(PAIRS.clean)[0].types.any()
    torch.testing.assert_close(opened.logits(PAIRS.clean), plain)


def test_an_electra_whose_embedding_is_as_wide_as_its_stream_opens(tmp_path: Path) -> None:
    made = make_family(tmp_path / "electra", "electra", embedding_size=24)
    model = load_checkpoint(made, dtype="float64")
    torch.testing.assert_close(model.logits(PAIRS.clean), plain_logits(made, PAIRS.clean))
    effects = patch_nodes(model, PAIRS, ["input"])
    torch.testing.assert_close(effects.node("input"), effects.clean - effects.corrupted)


def test_a_roberta_with_its_own_byte_level_tokenizer_opens(tmp_path: Path) -> None:
    tokens = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet()))
    tokenizer = RobertaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
    made = make_family(tmp_path / "roberta", "roberta", vocab_size=len(tokens))
    (made / "tokenizer.json").unlink()
    tokenizer.save_pretrained(made)
    model = load_checkpoint(made, dtype="float64")
    inputs = (TextInput("she met him", "he met her"), TextInput("she ran", "he saw"))
    torch.testing.assert_close(model.logits(inputs), plain_logits(made, inputs))
    assert isinstance(model.encoder, TextEncoder)
    words, _ = model.encoder.words(inputs[0])
    assert words == ("<s>", "she", "met", "him", "</s>", "</s>", "he", "met", "her", "</s>")
    assert model.encode(inputs)[0].second_start == len("she met him") + 3


def test_words_are_read_at_the_first_step_of_a_generation(tmp_path: Path) -> None:
    made = make_family(tmp_path / "words", "t5-words")
    model, hf = load_checkpoint(made, dtype="float64"), plain_model(made)
    asked = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    steps = [hf.generate(**plain_arguments(made, one), **asked).logits[0] for one in PAIRS.clean]
    expected = torch.cat(steps)[:, class_words(made, hf)]
    torch.testing.assert_close(
        model.logits(PAIRS.clean), expected, atol=1e-5, rtol=1e-5, check_dtype=False
    )


def test_other_words_are_other_logits_of_the_same_step(tmp_path: Path) -> None:
    made = make_family(tmp_path / "words", "t5-words")
    plain = load_checkpoint(made, dtype="float64")
    words = dict(zip(CLASSES, ("judge", "neutral", "a student"), strict=True))
    other = load_checkpoint(made, dtype="float64", label_words=words)
    assert other.spec.classes == CLASSES
    found, expected = other.logits(PAIRS.clean), plain.logits(PAIRS.clean)
    torch.testing.assert_close(found[:, 1], expected[:, 1], atol=1e-12, rtol=0)
    assert (found - expected).abs().amax(dim=0)[[0, 2]].min() > 0.1


def test_the_worked_example_of_the_guide_is_the_declaration() -> None:
    root = Path(__file__).parents[1]
    source = (root / "patching/models/families/electra.py").read_text(encoding="utf-8")
    declaration = source[source.index("ELECTRA = ") :]
    guide = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert indent(declaration, "    ") in guide
