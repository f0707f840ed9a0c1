"""Small random models in Hugging Face folders, for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from behavior.examples import Contrast, Pairs, TextInput

NOUNS = ("doctor", "nurse", "judge", "lawyer", "actor", "banker", "artist", "student")
VERBS = ("saw", "helped", "called", "thanked", "met", "paid")
WORDS = ("the", "a", "not", "today", "##s", "##ed", ".", *NOUNS, *VERBS)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
CLASSES = ("entailment", "neutral", "contradiction")
FAMILIES = ("bert", "roberta", "distilbert", "electra")


def make_tokenizer(
    *,
    special: Sequence[str] = SPECIAL,
    pair: str = "[CLS] $A [SEP] $B:1 [SEP]:1",
    has_types: bool = True,
) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate((*special, *WORDS))}
    types = ["token_type_ids"] if has_types else []
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
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
    """A classifier of a family: 3 layers of 3 heads unless said otherwise, and its tokenizer."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "max_position_embeddings": 64,
        "id2label": dict(enumerate(CLASSES)),
        "label2id": {name: i for i, name in enumerate(CLASSES)},
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "hidden_size": 24,
        **sizes,
    }
    tokenizer = make_tokenizer()
    if family == "bert":
        model = BertForSequenceClassification(BertConfig(intermediate_size=96, **sizes))
    elif family == "electra":
        sizes = {"embedding_size": 10, "intermediate_size": 96, **sizes}
        model = ElectraForSequenceClassification(ElectraConfig(**sizes))
    elif family == "distilbert":
        tokenizer = make_tokenizer(has_types=False)
        model = DistilBertForSequenceClassification(DistilBertConfig(hidden_dim=96, **sizes))
    else:
        pair = "[CLS] $A [SEP] [SEP] $B [SEP]"
        tokenizer = make_tokenizer(special=ROBERTA_SPECIAL, pair=pair, has_types=False)
        sizes = {"type_vocab_size": 1, "intermediate_size": 96, **sizes}
        model = RobertaForSequenceClassification(RobertaConfig(**sizes))
    return _save_enlarged(model, tokenizer, folder, scale)


def _save_enlarged(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, scale: float
) -> Path:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or "layer_norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "bias" in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_pairs(n: int, seed: int = 0, contrast: Contrast = "core") -> Pairs:
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
