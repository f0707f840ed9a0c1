"""Families that need more than weights: a prompt, label words, padding, or an image processor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from imagemaking import SIZE, make_image_model, make_image_processor, make_images
from modelmaking import CLASSES, make_bert, make_pairs
from textmaking import make_gpt2, make_gpt2_tokenizer, make_t5, make_t5_tokenizer
from transformers import AutoImageProcessor, AutoModelForImageClassification

from behavior.errors import CheckpointError, CircuitsError, DataError, UnsupportedModelError
from behavior.examples import TextInput
from patching.models.loading import load_checkpoint

PROMPT = "premise: {premise} hypothesis: {hypothesis}"
TEXTS = [TextInput("the doctor saw the judge", "a nurse saw ."), TextInput("the judge", "a nurse")]


def said(action: Callable[[], object], kind: type[CircuitsError] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each family."""
    folder = tmp_path_factory.mktemp("families")
    make_t5(folder / "t5")
    make_t5(folder / "words", label_words=True, classes=None)
    make_gpt2(folder / "gpt2")
    for family in ("vit", "deit", "resnet"):
        make_image_model(folder / family, family)
    return folder


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("family", ["vit", "deit", "resnet"])
def test_logits_of_images_are_those_of_hugging_face(
    made: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_checkpoint(made / family)
    assert "torchvision" not in "".join(capsys.readouterr())
    images = make_images(3)
    processor = AutoImageProcessor.from_pretrained(made / family, backend="pil")
    values = processor([image.pixels() for image in images], return_tensors="pt")
    hf = AutoModelForImageClassification.from_pretrained(made / family).eval()
    with torch.no_grad():
        expected = hf(**values).logits
    torch.testing.assert_close(model.logits(images), expected, atol=1e-6, rtol=1e-5)
    assert model.spec.modality == "image"


def test_an_input_of_the_other_kind_is_refused(made: Path, tmp_path: Path) -> None:
    image_model, text_model = load_checkpoint(made / "vit"), load_checkpoint(made / "gpt2")
    assert "reads images" in said(lambda: image_model.logits(TEXTS), DataError)
    assert "reads texts" in said(lambda: text_model.logits(make_images(1)), DataError)
    assert "no tokenizer" in said(lambda: image_model.tokenizer, DataError)


@pytest.mark.parametrize("words", [{"yea": "yes", "nay": "no"}, ["yes", "no"]])
def test_logits_of_label_words_are_those_of_the_first_step(
    made: Path, words: dict[str, str] | list[str]
) -> None:
    model = load_checkpoint(made / "words", prompt=PROMPT, label_words=words)
    assert model.spec.classes == tuple(words)
    tokenizer = make_t5_tokenizer()
    for i, text in enumerate(TEXTS):
        asked = tokenizer(PROMPT.format(premise=text.text, hypothesis=text.hypothesis))
        with torch.no_grad():
            out = model.hf(
                input_ids=torch.tensor([asked["input_ids"]]),
                decoder_input_ids=torch.zeros(1, 1, dtype=torch.int64),
            )
        ids = [tokenizer(word)["input_ids"][0] for word in ("yes", "no")]
        torch.testing.assert_close(model.logits(TEXTS)[i], out.logits[0, 0, ids])


def test_prompt_and_label_words_are_those_of_the_file_unless_given(
    made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoints.yaml"
    entry = f"{{path: {made / 'words'}, prompt: '{PROMPT}', label_words: ['yes', 'no']}}"
    path.write_text(f"version: 1\ncheckpoints:\n  mine: {entry}\n")
    stored = load_checkpoint("mine", checkpoints=path)
    given = load_checkpoint(made / "words", prompt=PROMPT, label_words=["yes", "no"])
    assert torch.equal(stored.logits(TEXTS), given.logits(TEXTS))
    other = load_checkpoint("mine", checkpoints=path, label_words=["maybe", "no"])
    assert torch.equal(other.logits(TEXTS)[:, 1], given.logits(TEXTS)[:, 1])
    assert other.spec.classes == ("maybe", "no")


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("words", {}, "The model's classes have no names, so the words that it answers with"),
        ("words", {"label_words": ["yes", "zebra", "zoo"]}, "both start with the token '▁'"),
        ("words", {"label_words": ["yes"]}, "no margin"),
        ("t5", {"label_words": ["yes", "no"]}, "has a logit for each class, so it takes no label"),
        ("t5", {"prompt": "{premise"}, "The prompt '{premise' cannot be read"),
        ("vit", {"prompt": "{text}"}, "A ViTForImageClassification reads images, so it takes no"),
    ],
)
def test_options_that_do_not_fit_the_model_are_one_line(
    made: Path, family: str, options: dict[str, Any], words: str
) -> None:
    assert words in said(lambda: load_checkpoint(made / family, **options))


def _drop_config(name: str) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **{name: None})


def _without_start(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["decoder_start_token_id"]
    path.write_text(json.dumps(config))


def _no_end(folder: Path) -> None:
    make_t5_tokenizer(ends=False).save_pretrained(folder)


def _without_padding(folder: Path) -> None:
    make_gpt2_tokenizer(pad_token=None).save_pretrained(folder)


@pytest.mark.parametrize(
    ("family", "break_it", "words"),
    [
        (
            "gpt2",
            _drop_config("pad_token_id"),
            "has no pad_token_id, by which GPT2ForSequenceClassification finds the end of a text "
            "in a batch. Set pad_token_id to 263, the tokenizer's '<pad>'.",
        ),
        ("gpt2", lambda folder: change_config(folder, pad_token_id=1), "has another pad_token_id"),
        ("gpt2", _without_padding, "The tokenizer has no padding token. Set pad_token in"),
        ("t5", _drop_config("decoder_start_token_id"), "has no decoder_start_token_id, from which"),
        ("words", _without_start, "has no decoder_start_token_id"),
        ("t5", _no_end, "does not end a text with the token 1 (eos_token_id in config.json), at"),
        (
            "vit",
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "holds no preprocessor_config.json, so it is not known how images become pixel values",
        ),
        (
            "vit",
            lambda folder: (folder / "preprocessor_config.json").write_text("{"),
            "preprocessor_config.json cannot be read as JSON",
        ),
        (
            "vit",
            lambda folder: (folder / "preprocessor_config.json").write_text("{}"),
            "The image processor in",
        ),
        (
            "vit",
            lambda folder: make_image_processor(image_mean=[0.5]).save_pretrained(folder),
            "cannot be loaded: ",
        ),
        (
            "deit",
            lambda folder: make_image_processor(SIZE + 4).save_pretrained(folder),
            "makes images of 20 x 20 pixels, the model takes 16 x 16 pixels. Set size in",
        ),
    ],
)
def test_a_folder_that_lacks_what_its_family_needs_says_so(
    made: Path, tmp_path: Path, family: str, break_it: Callable[[Path], object], words: str
) -> None:
    folder = shutil.copytree(made / family, tmp_path / family)
    break_it(folder)
    assert words in said(lambda: load_checkpoint(folder, label_words=_words(family)))


def _words(family: str) -> list[str] | None:
    return ["yes", "no"] if family == "words" else None


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("gpt2", {"add_cross_attention": True}, "as a decoder of an encoder (add_cross_attention"),
        ("vit", {"num_channels": 1}, "takes images of 1 channels (num_channels in config.json)"),
        ("t5", {"num_decoder_layers": 0}, "has no layers"),
    ],
)
def test_a_model_set_up_otherwise_is_refused(
    made: Path, tmp_path: Path, family: str, changes: dict[str, Any], words: str
) -> None:
    folder = shutil.copytree(made / family, tmp_path / family)
    change_config(folder, **changes)
    assert words in said(lambda: load_checkpoint(folder), UnsupportedModelError)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("label_words", [True, False])
def test_t5_loads_whether_its_embeddings_are_tied_or_not(
    tmp_path: Path, tied: bool, label_words: bool
) -> None:
    folder = make_t5(tmp_path / "t5", label_words=label_words, tie_word_embeddings=tied)
    assert load_checkpoint(folder, check=False).spec.n_decoder_layers == 2


def test_gpt2_may_say_that_it_is_a_decoder(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "gpt2", tmp_path / "gpt2")
    change_config(folder, is_decoder=True)
    texts = make_pairs(2).clean
    expected = load_checkpoint(made / "gpt2", check=False).logits(texts)
    assert torch.equal(load_checkpoint(folder, check=False).logits(texts), expected)


def test_a_prompt_works_for_a_classifier_too(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "bert", n_layers=1)
    prompted = load_checkpoint(folder, prompt="{premise} not {hypothesis}")
    single = [TextInput(f"{text.text} not {text.hypothesis}") for text in TEXTS]
    assert torch.equal(prompted.logits(TEXTS), load_checkpoint(folder).logits(single))
    assert prompted.spec.classes == CLASSES
