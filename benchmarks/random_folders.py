"""Folders with random classifiers of all families, with weights large enough to matter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from random_models import N_WORDS, _image_processor, _tokenizer, random_image_pairs, random_pairs
from torch import nn
from transformers import PreTrainedModel

from behavior.examples import Pairs

IMAGE_SIZE = 32
N_TOKENS = 20

_TEXT = {"vocab_size": N_WORDS + 4, "pad_token_id": 0}
_WIDTH = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3}
_ENCODER = {**_TEXT, **_WIDTH, "intermediate_size": 96}
_VISION = {**_WIDTH, "intermediate_size": 96, "image_size": IMAGE_SIZE, "patch_size": 8}
_RESNET = {"embedding_size": 12, "depths": [2, 2]}
_T5: dict[str, Any] = {
    **_TEXT,
    **{"d_model": 48, "d_kv": 20, "d_ff": 96, "num_layers": 3, "num_decoder_layers": 2},
    **{"num_heads": 3, "eos_token_id": 3, "decoder_start_token_id": 0},
}
_GPT2 = {**_TEXT, "n_embd": 48, "n_layer": 3, "n_head": 3, "bos_token_id": 2, "eos_token_id": 3}

MODELS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("BertForSequenceClassification", "BertConfig", _ENCODER),
    "RoBERTa": ("RobertaForSequenceClassification", "RobertaConfig", _ENCODER),
    "DistilBERT": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {**_TEXT, "dim": 48, "n_layers": 3, "n_heads": 3, "hidden_dim": 96},
    ),
    "ELECTRA": (
        "ElectraForSequenceClassification",
        "ElectraConfig",
        {**_ENCODER, "embedding_size": 24},
    ),
    "T5": ("T5ForSequenceClassification", "T5Config", _T5),
    "T5, label words": ("T5ForConditionalGeneration", "T5Config", _T5),
    "ViT": ("ViTForImageClassification", "ViTConfig", _VISION),
    "DeiT": ("DeiTForImageClassification", "DeiTConfig", _VISION),
    "ResNet, basic": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {**_RESNET, "layer_type": "basic", "hidden_sizes": [12, 24]},
    ),
    "ResNet, bottleneck": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {**_RESNET, "layer_type": "bottleneck", "hidden_sizes": [48, 96]},
    ),
    "GPT-2": ("GPT2ForSequenceClassification", "GPT2Config", _GPT2),
}
"""Family -> transformers class, class of its config, sizes."""

LABEL_WORDS = {"entailment": "w1", "neutral": "w2", "contradiction": "w3"}
"""Of the T5 that answers with words."""

_ENLARGED = {"T5": 1.5, "T5, label words": 1.5, "ResNet, basic": 1.0, "ResNet, bottleneck": 1.0}


def random_folder(folder: Path, family: str, seed: int = 0) -> Path:
    """Write a random classifier of a family and its processor, as save_pretrained does."""
    torch.manual_seed(seed)
    model_class, config_class, sizes = MODELS[family]
    config: Any = getattr(transformers, config_class)(
        id2label=dict(enumerate(LABEL_WORDS)), **sizes
    )
    hf: PreTrainedModel = getattr(transformers, model_class)(config)
    _enlarge(hf, _ENLARGED.get(family, 8.0))
    hf.save_pretrained(folder)
    if is_image(family):
        _image_processor(IMAGE_SIZE).save_pretrained(folder)
    else:
        begin = "" if family.startswith("T5") else "[CLS] "
        single, pair = f"{begin}$A [SEP]", f"{begin}$A $B [SEP]"
        if family == "BERT":
            pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
        _tokenizer(single, pair, types=family == "BERT").save_pretrained(folder)
    return folder


def pairs_for(family: str, n: int, seed: int = 0) -> Pairs[Any]:
    """Aligned pairs made on the spot: texts of mixed lengths, or images."""
    if is_image(family):
        return random_image_pairs(n, IMAGE_SIZE, seed)
    return random_pairs(n, N_TOKENS, seed, spread=4)


def is_image(family: str) -> bool:
    """Whether models of the family read images."""
    return "ForImage" in MODELS[family][0]


def _enlarge(hf: PreTrainedModel, factor: float) -> None:
    """Spread all effects: larger matrices, biases and norms that are not the identity."""
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for module in hf.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = 0.3 * torch.randn_like(module.weight)
                module.running_var = 0.5 + torch.rand_like(module.weight)
