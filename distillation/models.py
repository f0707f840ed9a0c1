"""Networks and what prepares their inputs, as any Hugging Face user would load them."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from PIL.Image import Resampling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
)

from behavior.errors import RecipeError
from distillation.data import EncodedInputs, Preprocessor
from distillation.families import BertRecipe, ModelRecipe

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_IMAGE_PROCESSOR = "preprocessor_config.json"


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


def build_classifier(recipe: ModelRecipe, preprocessor: Preprocessor, seed: int) -> PreTrainedModel:
    """A classifier with fresh weights, the same for one seed and one shape.

    Raises:
        RecipeError: If the preprocessor is not of the kind that the family needs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not isinstance(recipe, BertRecipe):
            return recipe.build()
        if isinstance(preprocessor, BaseImageProcessor):
            raise RecipeError(
                "model.family is 'bert', but the model it starts from reads images. Start from a "
                "model of the same family."
            )
        return recipe.build(preprocessor)


def class_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of a model's classes in the order of its logits."""
    names = cast(dict[int, str], model.config.id2label)
    return tuple(names[i] for i in range(len(names)))


def load_classifier(folder: Path) -> tuple[PreTrainedModel, Preprocessor]:
    """A model in evaluation mode and its tokenizer or image processor; safetensors only."""
    if (folder / _IMAGE_PROCESSOR).is_file():
        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True)
        return model.eval(), AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel, inputs: EncodedInputs, batch_size: int = 256
) -> Float[Tensor, "item n_classes"]:
    """Logits of a model in evaluation mode, in the order of the inputs."""
    was_training = model.training
    model.eval()
    batches = torch.arange(len(inputs)).split(batch_size)
    logits = torch.cat([model(**inputs.take(batch)).logits for batch in batches])
    model.train(was_training)
    return logits
