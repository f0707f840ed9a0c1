"""Random BERT classifiers and random aligned pairs, of any size, for timing."""

import random

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from behavior.examples import Pairs, TextInput
from patching.models.families.bert import BERT
from patching.models.model import PatchableModel

N_WORDS = 1000
N_SPECIAL_TOKENS = 3
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def random_bert(n_layers: int, n_heads: int, d_model: int, seed: int = 0) -> PatchableModel:
    """A BERT classifier with three classes and random weights."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=N_WORDS + len(_SPECIAL),
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * d_model,
        id2label={0: "entailment", 1: "neutral", 2: "contradiction"},
    )
    name = f"{n_layers}x{n_heads}x{d_model}"
    return PatchableModel(BertForSequenceClassification(config), _tokenizer(), BERT, name)


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
    labels, foils = ("entailment",) * n, ("contradiction",) * n
    ids, empty = tuple(str(i) for i in range(n)), ("",) * n
    return Pairs("core", tuple(clean), tuple(corrupted), labels, foils, ids, empty, empty)


def _tokenizer() -> PreTrainedTokenizerFast:
    words = (*_SPECIAL, *(f"w{i}" for i in range(N_WORDS)))
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=512,
    )
