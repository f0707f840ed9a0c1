"""Small random models in Hugging Face folders, and inputs for them, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BaseImageProcessor,
    BertConfig,
    BertForSequenceClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from behavior.examples import Contrast, ImageInput, Input, Pairs, TextInput
from patching.models.architecture import Architecture, RowPaths, StackPaths

NOUNS = ("doctor", "nurse", "judge", "lawyer", "actor", "banker", "artist", "student")
VERBS = ("saw", "helped", "called", "thanked", "met", "paid")
WORDS = ("the", "a", "not", "today", "##s", "##ed", ".", *NOUNS, *VERBS)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
CLASSES = ("entailment", "neutral", "contradiction")

ENCODERS = ("bert", "roberta", "distilbert", "electra")
TEXT_FAMILIES = (*ENCODERS, "t5", "t5-words", "gpt2")
IMAGE_FAMILIES = ("vit", "deit", "resnet", "resnet-bottleneck")
FAMILIES = (*TEXT_FAMILIES, *IMAGE_FAMILIES)

_MODELS: dict[str, tuple[type[Any], type[Any]]] = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification),
    "electra": (ElectraConfig, ElectraForSequenceClassification),
    "t5": (T5Config, T5ForSequenceClassification),
    "t5-words": (T5Config, T5ForConditionalGeneration),
    "gpt2": (GPT2Config, GPT2ForSequenceClassification),
    "vit": (ViTConfig, ViTForImageClassification),
    "deit": (DeiTConfig, DeiTForImageClassification),
    "resnet": (ResNetConfig, ResNetForImageClassification),
    "resnet-bottleneck": (ResNetConfig, ResNetForImageClassification),
}


def make_tokenizer(
    *,
    special: Sequence[str] = SPECIAL,
    words: Sequence[str] = WORDS,
    single: str = "[CLS] $A [SEP]",
    pair: str = "[CLS] $A [SEP] $B:1 [SEP]:1",
    has_types: bool = True,
) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate((*special, *words))}
    types = ["token_type_ids"] if has_types else []
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", *types, "attention_mask"],
        model_max_length=64,
    )


def make_bert(
    folder: Path,
    *,
    n_layers: int = 3,
    n_heads: int = 2,
    d_model: int = 16,
    classes: tuple[str, ...] = CLASSES,
    seed: int = 0,
    scale: float = 8.0,
) -> Path:
    """A BERT classifier whose random weights are large enough for its heads to matter."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        max_position_embeddings=64,
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )
    return _save_enlarged(BertForSequenceClassification(config), make_tokenizer(), folder, scale)


def make_family(
    folder: Path, family: str, *, seed: int = 0, scale: float = 8.0, **sizes: Any
) -> Path:
    """A classifier of a family and its processor.

    3 layers of 3 heads unless said otherwise; T5 has 2 more in its decoder, a ResNet 3 blocks in
    2 stages. The weights are enlarged by `scale`, or by as much as does the same to the family.
    """
    torch.manual_seed(seed)
    config_class, model_class = _MODELS[family]
    named = {
        "id2label": dict(enumerate(CLASSES)),
        "label2id": {name: i for i, name in enumerate(CLASSES)},
    }
    model = model_class(config_class(**{**named, **_sizes(family), **sizes}))
    if family in IMAGE_FAMILIES:
        # Its batch norms keep the size of its channels, whatever its weights.
        scale = 1.0 if family.startswith("resnet") else scale
    elif family.startswith("t5"):
        scale /= 8
    return _save_enlarged(model, _processor(family, model.config), folder, scale)


def make_pairs_for(family: str, n: int, seed: int = 0, contrast: Contrast = "core") -> Pairs[Any]:
    """Aligned pairs of texts, or of images, as the family reads them."""
    if family not in IMAGE_FAMILIES:
        return make_pairs(n, seed, contrast)
    inputs = make_images(2 * n, seed)
    return _as_pairs(contrast, inputs[:n], inputs[n:])


def make_inputs(family: str, n: int, seed: int = 0) -> tuple[Input, ...]:
    """Texts of different lengths, or images of one size, as the family reads them."""
    return make_pairs_for(family, n, seed).clean


def make_images(n: int, seed: int = 0) -> tuple[ImageInput, ...]:
    """Coarse coloured noise in memory, of another size than the models take."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 5, generator=generator)
    pixels = torch.nn.functional.interpolate(coarse, size=(20, 25), mode="bilinear") * 255
    return tuple(ImageInput(one.permute(1, 2, 0).byte().numpy()) for one in pixels)


def make_pairs(n: int, seed: int = 0, contrast: Contrast = "core") -> Pairs[TextInput]:
    """Aligned pairs of different lengths; clean and corrupted differ in one or two words."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: tuple[str, ...]) -> str:
        return words[int(torch.randint(len(words), (1,), generator=generator))]

    clean: list[TextInput] = []
    corrupted: list[TextInput] = []
    for i in range(n):
        a, b, verb = pick(NOUNS), pick(NOUNS), pick(VERBS)
        tail = " today" * (i % 3)
        premise = f"the {a} {verb} the {b}s{tail} ."
        clean.append(TextInput(premise, f"the {a} {verb} the {b}s ."))
        corrupted.append(TextInput(premise, f"the {b} {verb} the {a}s ."))
    return _as_pairs(contrast, clean, corrupted)


def redeclared(architecture: Architecture, *, stack: int = 0, row: int = 0, **changes: Any) -> Any:
    """The declaration with other entries for some of its fields, by name.

    Args:
        architecture: What to change.
        stack: Which stack is meant by fields of `StackPaths` and `RowPaths`.
        row: Which row of it is meant by fields of `RowPaths`.
        changes: Fields of `Architecture`, `StackPaths` or `RowPaths`, looked up in this order.
    """
    paths = architecture.stacks[stack]
    by_class = [_pick(changes, kind) for kind in (Architecture, StackPaths, RowPaths)]
    of_all, of_stack, of_row = by_class
    assert set(changes) == {name for chosen in by_class for name in chosen}, "unknown fields"
    assert len(changes) == sum(map(len, by_class)), "a field of two classes"
    rows = list(paths.rows)
    rows[row] = replace(rows[row], **of_row)
    stacks = list(architecture.stacks)
    stacks[stack] = replace(paths, **{"rows": tuple(rows), **of_stack})
    return replace(architecture, **{"stacks": tuple(stacks), **of_all})


def _pick(changes: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in kind.__dataclass_fields__}


def _as_pairs(contrast: Contrast, clean: Sequence[Any], corrupted: Sequence[Any]) -> Pairs[Any]:
    n = len(clean)
    return Pairs(
        contrast,
        tuple(clean),
        tuple(corrupted),
        ("entailment",) * n,
        ("non-entailment",) * n,
        tuple(f"u{i}" for i in range(n)),
        tuple(f"t{i % 2}" for i in range(n)),
        ("A->C",) * n,
    )


def _sizes(family: str) -> dict[str, Any]:
    words = {"vocab_size": len(SPECIAL) + len(WORDS)}
    layers = {"num_hidden_layers": 3, "num_attention_heads": 3, "hidden_size": 24}
    text = {**words, **layers, "max_position_embeddings": 64}
    image = {**layers, "intermediate_size": 96, "image_size": 16, "patch_size": 4}
    t5 = {
        "vocab_size": len(SPECIAL) + len(WORDS) + len(CLASSES),
        "d_model": 24,
        "d_kv": 10,
        "d_ff": 64,
        "num_heads": 3,
        "num_layers": 3,
        "num_decoder_layers": 2,
        "relative_attention_num_buckets": 8,
        "pad_token_id": 0,
        "eos_token_id": SPECIAL.index("[SEP]"),
        "decoder_start_token_id": 0,
    }
    gpt2 = {**words, "n_embd": 24, "n_layer": 3, "n_head": 3, "n_positions": 64}
    gpt2 |= {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    stages = {"embedding_size": 9, "depths": [2, 1]}
    return {
        "bert": {**text, "intermediate_size": 96},
        "electra": {**text, "intermediate_size": 96, "embedding_size": 10},
        "distilbert": {**text, "hidden_dim": 96},
        "roberta": {**text, "intermediate_size": 96, "type_vocab_size": 1},
        "t5": t5,
        "t5-words": t5,
        "gpt2": gpt2,
        "vit": image,
        "deit": image,
        "resnet": {**stages, "layer_type": "basic", "hidden_sizes": [9, 18]},
        "resnet-bottleneck": {**stages, "layer_type": "bottleneck", "hidden_sizes": [36, 72]},
    }[family]


def _processor(family: str, config: Any) -> PreTrainedTokenizerFast | BaseImageProcessor:
    if family.startswith("resnet"):
        return ViTImageProcessorPil(size={"height": 32, "width": 40})
    if family in IMAGE_FAMILIES:
        return ViTImageProcessorPil(size={"height": config.image_size, "width": config.image_size})
    if family.startswith("t5"):
        return make_tokenizer(
            words=(*WORDS, *CLASSES),
            single="$A [SEP]",
            pair="$A [SEP] $B [SEP]",
            has_types=False,
        )
    if family == "roberta":
        pair = "[CLS] $A [SEP] [SEP] $B [SEP]"
        return make_tokenizer(special=ROBERTA_SPECIAL, pair=pair, has_types=False)
    return make_tokenizer(has_types=family in ("bert", "electra"))


def _save_enlarged(
    model: PreTrainedModel,
    processor: PreTrainedTokenizerFast | BaseImageProcessor,
    folder: Path,
    scale: float,
) -> Path:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() or "ln_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif name.endswith(".bias"):
                parameter.copy_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
        for name, statistic in model.named_buffers():
            if name.endswith("running_mean"):
                statistic.copy_(0.3 * torch.randn_like(statistic))
            if name.endswith("running_var"):
                statistic.copy_(0.5 + torch.rand_like(statistic))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
