"""Networks and what prepares their inputs, as any Hugging Face user would load them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL.Image import Resampling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace, WhitespaceSplit
from tokenizers.processors import BertProcessing, TemplateProcessing
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
    ViTImageProcessorPil,
)

from behavior.errors import RecipeError
from distillation.classifier import Classifier
from distillation.data import Preprocessor
from distillation.families import BertRecipe, ModelRecipe, PretrainedRecipe, T5Recipe

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPECIAL_T5 = ("<pad>", "</s>", "<unk>")
_IMAGE_PROCESSOR = "preprocessor_config.json"


def make_preprocessor(recipe: ModelRecipe, vocabulary: Sequence[str]) -> Preprocessor:
    """The tokenizer or image processor of a new network; only text needs the vocabulary."""
    match recipe:
        case BertRecipe():
            return word_tokenizer(vocabulary, recipe.max_length)
        case T5Recipe():
            return word_tokenizer_t5([*vocabulary, *recipe.classes], recipe.max_length)
        case PretrainedRecipe():
            return recipe.preprocessor()
        case _:
            return image_processor(recipe.image_size)


def word_tokenizer(vocabulary: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """One token per word, `[CLS] premise [SEP] hypothesis [SEP]` with token types 0 and 1."""
    tokens = [*_SPECIAL, *dict.fromkeys(vocabulary)]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def word_tokenizer_t5(vocabulary: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """One token for whatever stands between spaces, `premise </s> hypothesis </s>`."""
    tokens = [*_SPECIAL_T5, *dict.fromkeys(vocabulary)]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", ids["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def image_processor(image_size: int) -> ViTImageProcessorPil:
    """Images of any size to squares of pixel values from -1 to 1, as a Hugging Face processor.

    Pixels are repeated, not blended: enlarged by a whole factor, an image has the same pixel
    values whether Pillow or torchvision enlarges it.
    """
    return ViTImageProcessorPil(
        size={"height": image_size, "width": image_size},
        resample=Resampling.NEAREST,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def build_classifier(recipe: ModelRecipe, preprocessor: Preprocessor, seed: int) -> Classifier:
    """A classifier with fresh weights, the same for one seed and one shape.

    Raises:
        RecipeError: If the preprocessor is not of the kind that the family needs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(recipe, PretrainedRecipe):
            return Classifier.of(recipe.build(), preprocessor)
        if not isinstance(recipe, BertRecipe | T5Recipe):
            return Classifier.of(recipe.build(), preprocessor)
        if isinstance(preprocessor, BaseImageProcessor):
            raise RecipeError(
                f"model.family is {recipe.family!r}, but the model it starts from reads images. "
                "Start from a model of the same family."
            )
        return Classifier.of(recipe.build(preprocessor), preprocessor)


def load_classifier(folder: Path) -> Classifier:
    """A model in evaluation mode with its preprocessor; safetensors only."""
    if (folder / _IMAGE_PROCESSOR).is_file():
        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        return Classifier.of(model.eval(), processor)
    architectures = json.loads((folder / "config.json").read_text()).get("architectures", ())
    generates = T5ForConditionalGeneration.__name__ in architectures
    network = T5ForConditionalGeneration if generates else AutoModelForSequenceClassification
    model = network.from_pretrained(folder, use_safetensors=True)
    return Classifier.of(model.eval(), AutoTokenizer.from_pretrained(folder))
