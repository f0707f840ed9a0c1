"""Alignment: which pairs and quads a model sees as aligned, and which words they share."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from imagemaking import make_image_model, make_image_processor, make_images
from modelmaking import CLASSES, make_pairs, make_tokenizer
from transformers import BertConfig, BertForSequenceClassification

from behavior.errors import DataError
from behavior.examples import ImageInput, Pairs, Quad, TextInput, pairs_from_quads
from patching.alignment import align_pairs, align_quads, encode_aligned
from patching.models.chunks import length_sorted_chunks
from patching.models.families.bert import BERT
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.words import align_words


@pytest.fixture(scope="module")
def model() -> PatchableModel:
    config = BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=24,
        id2label=dict(enumerate(CLASSES)),
    )
    return PatchableModel(BertForSequenceClassification(config), make_tokenizer(), BERT)


def pair(clean: tuple[str, str], corrupted: tuple[str, str]) -> Pairs:
    return replace(make_pairs(1), clean=(TextInput(*clean),), corrupted=(TextInput(*corrupted),))


def joined(*parts: Pairs) -> Pairs:
    first = parts[0]
    return replace(
        first,
        **{
            name: tuple(value for part in parts for value in getattr(part, name))
            for name in ("clean", "corrupted", "labels", "foils", "units", "templates", "steps")
        },
    )


def test_kept_and_dropped_pairs_are_told_by_reason(model: PatchableModel) -> None:
    long = "the doctor saw " * 8
    pairs = joined(
        pair(("the doctor saw", "the nurse"), ("the nurse saw", "the doctor")),
        pair(("the doctor saw", "the nurse"), ("the nurse saw the judge", "the doctor")),
        pair(("the doctor saw", "the nurse"), ("the nurse", "the doctor saw")),
        pair((long, "the nurse"), (long, "the judge")),
        pair(("a judge", "a nurse"), ("a nurse", "a judge")),
    )
    kept, report = align_pairs(model, pairs)
    assert [text.text for text in kept.clean] == ["the doctor saw", "a judge"]
    assert report.kept == 2
    assert sorted(report.dropped.values()) == [1, 1, 1]
    said = str(report)
    assert "2 kept, 3 dropped" in said
    assert "different numbers of tokens" in said
    assert "second text starts" in said
    assert "longer than the model takes" in said


def test_no_aligned_pairs_left_is_one_line_with_the_reasons(model: PatchableModel) -> None:
    with pytest.raises(DataError, match=r"No pair is token-aligned.*different numbers") as caught:
        align_pairs(model, pair(("the doctor", "a"), ("the doctor saw", "a")))
    assert len(str(caught.value).splitlines()) == 1


def test_a_quad_needs_all_four_cells_aligned(model: PatchableModel) -> None:
    def quad(name: str, last: str) -> Quad:
        texts = [TextInput("the doctor saw", word) for word in ("nurse", "judge", "actor", last)]
        return Quad(name, *texts, label="entailment", foil="contradiction")

    kept, report = align_quads(model, [quad("a", "banker"), quad("b", "banker today")])
    assert [one.id for one in kept] == ["a"]
    assert report.kept == 1
    with pytest.raises(DataError, match="No quad"):
        align_quads(model, [quad("b", "banker today")])


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image_model(tmp_path_factory.mktemp("aligned") / "resnet", "resnet")


def image_quad(name: str, *images: ImageInput) -> Quad[ImageInput]:
    return Quad(name, *images, label="entailment", foil="contradiction")


def test_images_are_aligned_where_the_processor_gives_them_one_size(image_folder: Path) -> None:
    model = load_checkpoint(image_folder)
    quad = image_quad("a", *make_images(3, 20, 20), *make_images(1, 20, 24))
    assert align_quads(model, [quad])[1].kept == 1
    pairs = pairs_from_quads([quad], "core")
    clean, corrupted = encode_aligned(model, pairs)
    assert align_pairs(model, pairs)[0] == pairs
    assert len(clean) == len(corrupted) == 2
    assert model.encoder.batch([*clean, *corrupted])["pixel_values"].shape == (4, 3, 16, 16)
    with pytest.raises(DataError, match="reads images, which have no words"):
        align_words(model, pairs)


def test_images_of_different_sizes_are_dropped_and_counted(
    image_folder: Path, tmp_path: Path
) -> None:
    folder = copytree(image_folder, tmp_path / "free")
    make_image_processor(None).save_pretrained(folder)
    model = load_checkpoint(folder)
    same = image_quad("a", *make_images(4, 16, 24))
    odd = image_quad("b", *make_images(3, 16, 24), *make_images(1, 16, 32))
    kept, report = align_quads(model, [same, odd])
    assert [quad.id for quad in kept] == ["a"]
    assert dict(report.dropped) == {"of different sizes": 1}
    with pytest.raises(DataError, match=r"No quad is pixel-aligned for 'free': 0 kept, 1 dropped"):
        align_quads(model, [odd])
    with pytest.raises(DataError, match=r"Pair 1 \('b'\) has inputs of different sizes\. Choose"):
        encode_aligned(model, pairs_from_quads([odd], "core"))


def test_words_of_several_tokens_are_one_word(model: PatchableModel) -> None:
    layout = align_words(
        model, pair(("The doctors saw", "a nurse."), ("The nurses saw", "a nurse."))
    )
    assert layout[0].words == (
        *("[CLS]", "The", "doctors/nurses", "saw", "[SEP]"),
        *("a", "nurse", ".", "[SEP]"),
    )
    assert layout[0].index == (0, 1, 2, 2, 3, 4, 5, 6, 7, 8)


def test_words_that_are_split_differently_are_merged_to_where_both_begin_one(
    model: PatchableModel,
) -> None:
    texts = ("the doctors saw", "a"), ("the nurse saw met", "a")
    layout = align_words(model, pair(*texts))[0]
    assert layout.words == ("[CLS]", "the", "doctors/nurse saw", "saw/met", "[SEP]", "a", "[SEP]")
    assert layout.index == (0, 1, 2, 2, 3, 4, 5, 6)


def test_chunks_hold_every_input_once_longest_first(model: PatchableModel) -> None:
    lengths = [5, 9, 7, 9, 5, 6, 8]
    chunks = length_sorted_chunks(lengths, 3, 1, model.device)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(7))
    assert [lengths[i] for chunk in chunks for i in chunk] == sorted(lengths, reverse=True)
    assert [len(chunk) for chunk in chunks] == [3, 2, 2]


def test_chunks_of_long_inputs_are_smaller(model: PatchableModel) -> None:
    short, long = (
        max(len(chunk) for chunk in length_sorted_chunks([n] * 500, None, 4096, model.device))
        for n in (8, 256)
    )
    assert long < short


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_that_is_not_positive_is_refused(
    model: PatchableModel, batch_size: int
) -> None:
    with pytest.raises(DataError, match=f"batch size is {batch_size}"):
        length_sorted_chunks([3], batch_size, 1, model.device)
