"""Random classifiers of every kind, and random aligned pairs, of any size, for timing."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    T5Config,
    T5ForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from behavior.examples import Pairs
from behavior.inputs import ImageInput, Input, TextInput
from patching.models.families.bert import BERT
from patching.models.families.resnet import RESNET
from patching.models.families.t5 import T5
from patching.models.families.vit import VIT
from patching.models.model import PatchableModel

N_WORDS = 1000
N_SPECIAL_TOKENS = 3
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_CLASSES = {0: "entailment", 1: "neutral", 2: "contradiction"}
_BERT_PAIR = "[CLS] $A [SEP] $B:1 [SEP]:1"


def random_bert(n_layers: int, n_heads: int, d_model: int, seed: int = 0) -> PatchableModel:
    """A BERT classifier with three classes and random weights."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=N_WORDS + len(_SPECIAL),
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        id2label=_CLASSES,
    )
    name = f"BERT {n_layers}x{n_heads}x{d_model}"
    hf = BertForSequenceClassification(config)
    return PatchableModel(hf, _tokenizer("[CLS] $A [SEP]", _BERT_PAIR), BERT, name)


def random_t5(n_layers: int, n_heads: int, d_model: int, seed: int = 0) -> PatchableModel:
    """A T5 sequence classifier with as many decoder as encoder layers."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=N_WORDS + len(_SPECIAL),
        d_model=d_model,
        d_kv=d_model // n_heads,
        d_ff=4 * d_model,
        num_layers=n_layers,
        num_heads=n_heads,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
        id2label=_CLASSES,
    )
    name = f"T5 {n_layers}+{n_layers}x{n_heads}x{d_model}"
    tokenizer = _tokenizer("$A [SEP]", "$A $B [SEP]", types=False)
    return PatchableModel(T5ForSequenceClassification(config), tokenizer, T5, name)


def random_vit(
    n_layers: int, n_heads: int, d_model: int, image_size: int, seed: int = 0
) -> PatchableModel:
    """A ViT classifier with patches of 4 x 4 pixels."""
    torch.manual_seed(seed)
    config = ViTConfig(
        image_size=image_size,
        patch_size=4,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        id2label=_CLASSES,
    )
    name = f"ViT {n_layers}x{n_heads}x{d_model}"
    processor = _image_processor(image_size)
    return PatchableModel(ViTForImageClassification(config), processor, VIT, name)


def random_resnet(
    depths: Sequence[int], widths: Sequence[int], kind: str, image_size: int, seed: int = 0
) -> PatchableModel:
    """A ResNet classifier, `basic` or `bottleneck`."""
    torch.manual_seed(seed)
    config = ResNetConfig(
        embedding_size=32,
        hidden_sizes=list(widths),
        depths=list(depths),
        layer_type=kind,
        id2label=_CLASSES,
    )
    name = f"ResNet {kind} {sum(depths)}x{widths[-1]}"
    processor = _image_processor(image_size)
    return PatchableModel(ResNetForImageClassification(config), processor, RESNET, name)


def random_pairs(n: int, n_tokens: int, seed: int = 0, spread: int = 0) -> Pairs:
    """Aligned pairs of `n_tokens` tokens, or of up to `spread` fewer, of which three differ."""
    rng = random.Random(seed)
    clean: list[TextInput] = []
    corrupted: list[TextInput] = []
    for _ in range(n):
        words = [f"w{rng.randrange(N_WORDS)}" for _ in range(n_tokens - N_SPECIAL_TOKENS)]
        words = words[: len(words) - rng.randint(0, spread)]
        half = len(words) // 2
        changed = [*words[:-3], *(f"w{rng.randrange(N_WORDS)}" for _ in range(3))]
        clean.append(TextInput(" ".join(words[:half]), " ".join(words[half:])))
        corrupted.append(TextInput(" ".join(changed[:half]), " ".join(changed[half:])))
    return _pairs(clean, corrupted)


def random_image_pairs(n: int, size: int, seed: int = 0) -> Pairs[Input]:
    """Pairs of unrelated noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, n, size, size, 3), dtype=np.uint8)
    return _pairs(*([ImageInput(image) for image in side] for side in images))


def _pairs(clean: Sequence[Input], corrupted: Sequence[Input]) -> Pairs[Input]:
    n = len(clean)
    labels, foils = ("entailment",) * n, ("contradiction",) * n
    ids, empty = tuple(str(i) for i in range(n)), ("",) * n
    return Pairs("core", tuple(clean), tuple(corrupted), labels, foils, ids, empty, empty)


def _image_processor(size: int) -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": size, "width": size})


def _tokenizer(single: str, pair: str, *, types: bool = True) -> PreTrainedTokenizerFast:
    words = (*_SPECIAL, *(f"w{i}" for i in range(N_WORDS)))
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    type_names = ["token_type_ids"] if types else []
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", *type_names, "attention_mask"],
        model_max_length=512,
    )
