"""Networks and tokenizers made from a recipe, as any Hugging Face user would load them."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from distillation.data import EncodedInputs
from distillation.recipe import ModelRecipe

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WRITERS = ".output.dense.weight"
"""How BERT names the output projections of its attentions and of its MLPs."""


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


def build_classifier(
    recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, seed: int
) -> BertForSequenceClassification:
    """A BERT classifier with fresh weights, the same for one seed and one shape.

    The output projections of every attention and MLP are scaled by `output_scale`.
    """
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        intermediate_size=4 * recipe.d_model,
        max_position_embeddings=recipe.max_length,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=recipe.dropout,
        initializer_range=recipe.initializer_range,
        pad_token_id=cast(int, tokenizer.pad_token_id),
        id2label=dict(enumerate(recipe.classes)),
        label2id={name: i for i, name in enumerate(recipe.classes)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(_WRITERS):
                weight.mul_(recipe.output_scale)
    return model


def class_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of a model's classes in the order of its logits."""
    names = cast(dict[int, str], model.config.id2label)
    return tuple(names[i] for i in range(len(names)))


def load_classifier(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode and its tokenizer; weights in safetensors only."""
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
