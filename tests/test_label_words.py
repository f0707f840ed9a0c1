"""Label words: one for each class, told apart by its first token, or one line that says why not."""

import pytest
from modelmaking import CLASSES, make_tokenizer
from textmaking import make_t5_tokenizer

from behavior.errors import CheckpointError
from patching.models.label_words import LabelWords, label_token_ids, resolve_label_words

UNNAMED = ("LABEL_0", "LABEL_1")
YES_NO = {"entailment": "yes", "contradiction": "no"}


@pytest.mark.parametrize(
    ("given", "classes", "resolved"),
    [
        (None, CLASSES, {name: name for name in CLASSES}),
        (YES_NO, UNNAMED, YES_NO),
        (["yes", "no", "maybe"], UNNAMED, {"yes": "yes", "no": "no", "maybe": "maybe"}),
        (("yes", "no"), ("good", "bad"), {"good": "yes", "bad": "no"}),
        ({"BAD": "no", "good": "yes"}, ("Good", "Bad"), {"Good": "yes", "Bad": "no"}),
    ],
)
def test_each_class_gets_its_word_in_the_order_of_the_classes(
    given: LabelWords | None, classes: tuple[str, ...], resolved: dict[str, str]
) -> None:
    found = resolve_label_words(given, classes)
    assert list(found.items()) == list(resolved.items())
    assert resolve_label_words(found, tuple(found)) == found


@pytest.mark.parametrize(
    ("given", "classes", "words"),
    [
        (None, UNNAMED, "classes have no names, so the words that it answers with are not known"),
        ("yes", UNNAMED, "label_words is the text 'yes'. Expected label_words={"),
        (["yes"], UNNAMED, "has 1 classes, so there is no margin"),
        ({}, UNNAMED, "has 0 classes"),
        (["yes", "no"], CLASSES, "has 2 words, but the model has the classes entailment, neutral"),
        (YES_NO, CLASSES, "names the classes entailment, contradiction, but the model has entail"),
        ({**YES_NO, "other": "x"}, CLASSES, "names the classes entailment, contradiction, other"),
        (["yes", "yes"], UNNAMED, "label_words has 'yes' twice"),
    ],
)
def test_words_that_do_not_fit_the_classes_are_one_line(
    given: LabelWords | None, classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        resolve_label_words(given, classes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_token_of_a_word_is_the_first_of_an_answer() -> None:
    tokenizer = make_t5_tokenizer()
    ids = label_token_ids(tokenizer, ("no", "yes", "yelk"))
    assert tokenizer.convert_ids_to_tokens(list(ids)) == ["▁no", "▁yes", "▁ye"]
    assert ids[1] == tokenizer("yes")["input_ids"][0]
    bert = make_tokenizer()
    assert bert.convert_ids_to_tokens(list(label_token_ids(bert, ("nurses", "judge")))) == [
        "nurse",
        "judge",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("doctor", "yelk", "yelp"),
            "'yelk' and 'yelp' both start with the token '▁ye', so the model's first step cannot",
        ),
        (("yes", "YES"), "does not know the label word 'YES'"),
        (("yes", " "), "does not know the label word ' '"),
    ],
)
def test_words_that_cannot_be_told_apart_or_are_unknown_are_named(
    given: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        label_token_ids(make_t5_tokenizer(), given)
    assert words in str(caught.value) and "\n" not in str(caught.value)
