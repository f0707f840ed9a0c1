"""Prompts make one text of an input, and what is known about its parts is kept."""

import pytest
import torch
from modelmaking import make_tokenizer
from textmaking import make_gpt2_tokenizer, make_t5_tokenizer
from transformers import PreTrainedTokenizerBase

from behavior.errors import CheckpointError, CircuitsError, DataError
from behavior.examples import ImageInput, TextInput
from behavior.inputs import Input
from patching.models.encoders import Encoder
from patching.models.encoding import TextEncoder
from patching.models.prompts import Prompt

PROMPT = "premise: {premise} hypothesis: {hypothesis}"
PAIR = TextInput("the doctor saw", "the nurses saw .")
SAW = ("the", "nurses", "saw", ".")
SINGLE = TextInput("the doctor saw")


def encoder(
    prompt: str | None = None, tokenizer: PreTrainedTokenizerBase | None = None
) -> TextEncoder:
    tokenizer = make_t5_tokenizer() if tokenizer is None else tokenizer
    return TextEncoder(tokenizer, 64, torch.device("cpu"), prompt=prompt)


@pytest.mark.parametrize(
    ("prompt", "given", "text", "start"),
    [
        ("{text}", SINGLE, "the doctor saw", None),
        ("{premise}", SINGLE, "the doctor saw", None),
        ("so: {text} {{and}} {text}", SINGLE, "so: the doctor saw {and} the doctor saw", None),
        (PROMPT, PAIR, "premise: the doctor saw hypothesis: the nurses saw .", 36),
        ("{hypothesis}", PAIR, "the nurses saw .", 0),
        ("{text}|{hypothesis}|{hypothesis}", TextInput("{a}", "{"), "{a}|{|{", 4),
    ],
)
def test_a_prompt_is_filled_and_knows_where_the_hypothesis_starts(
    prompt: str, given: TextInput, text: str, start: int | None
) -> None:
    assert Prompt.parse(prompt).fill(given) == (text, start)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("", "has no field"),
        ("premise: and hypothesis:", "has no field"),
        ("{premise} {hypotesis}", "has the field {hypotesis}"),
        ("{} {}", "has the field {}"),
        ("{premise!r}", "has the field {premise!r}"),
        ("{premise:>9}", "has the field {premise:>9}"),
        ("{premise.text}", "has the field {premise.text}"),
        ("{premise} {", "cannot be read (Single '{' encountered in format string)"),
        ("{premise} }", "cannot be read (Single '}' encountered in format string)"),
    ],
)
def test_a_bad_prompt_is_one_line(prompt: str, words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        encoder(prompt)
    assert f"The prompt {prompt!r} {words}. Expected a text with {{text}}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "given", "words", "kind"),
    [
        (PROMPT, SINGLE, "asks for a hypothesis, but an input has none", DataError),
        ("{text}", PAIR, "has no place for the hypothesis that an input has", DataError),
        (None, ImageInput, "An input is an image, but the model reads texts", DataError),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(
    prompt: str | None, given: Input | type[ImageInput], words: str, kind: type[CircuitsError]
) -> None:
    one = image() if given is ImageInput else given
    with pytest.raises(kind, match=words):
        encoder(prompt).encode([one])


def image() -> ImageInput:
    return ImageInput(torch.zeros(2, 2, 3, dtype=torch.uint8).numpy())


@pytest.mark.parametrize("make", [make_t5_tokenizer, make_gpt2_tokenizer, make_tokenizer])
def test_tokens_are_those_of_the_filled_text_and_the_hypothesis_is_found(make: object) -> None:
    assert callable(make)
    tokenizer = make()
    row = encoder(PROMPT, tokenizer).encode([PAIR])[0]
    filled = "premise: the doctor saw hypothesis: the nurses saw ."
    assert row.ids.tolist() == tokenizer(filled)["input_ids"]
    assert row.types.tolist() == [0] * len(row)
    assert row.second_start is not None
    rest = tokenizer.decode(row.ids[row.second_start :], skip_special_tokens=True)
    assert rest.replace(" ##", "").strip() == "the nurses saw ."


def test_pairs_are_aligned_only_if_the_hypothesis_starts_at_the_same_token() -> None:
    prompted = encoder(PROMPT)
    same = TextInput("the nurse saw", "the doctors saw .")
    shifted = TextInput("the nurse saw the", "the doctors .")
    rows = prompted.encode([PAIR, same, shifted])
    assert len({len(row) for row in rows}) == 1
    assert prompted.misalignment(rows[:2]) is None
    assert prompted.misalignment(rows) == "whose second text starts at different tokens"


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "words"),
    [
        (
            make_t5_tokenizer(),
            PROMPT,
            (*("premise:", "the", "doctor", "saw"), "hypothesis:", *SAW, "</s>"),
        ),
        (
            make_t5_tokenizer(),
            None,
            ("the", "doctor", "saw", "</s>", *SAW, "</s>"),
        ),
        (
            make_gpt2_tokenizer(),
            "{premise}\nThus: {hypothesis}",
            ("the", "doctor", "saw", "Ċ", "Thus", ":", *SAW),
        ),
    ],
)
def test_words_are_those_of_the_text_without_spaces(
    tokenizer: PreTrainedTokenizerBase, prompt: str | None, words: tuple[str, ...]
) -> None:
    prompted = encoder(prompt, tokenizer)
    found, index = prompted.words(PAIR)
    assert found == words
    assert len(index) == len(prompted.encode([PAIR])[0])
    assert list(index) == sorted(index) and set(index) == set(range(len(words)))


def test_a_batch_has_what_the_model_takes_and_nothing_for_a_decoder() -> None:
    made = encoder(PROMPT)
    assert isinstance(made, Encoder)
    batch = made.batch(made.encode([PAIR, TextInput("the doctor", "a nurse saw the .")]))
    assert list(batch) == ["input_ids", "attention_mask"]
