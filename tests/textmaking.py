"""Small tokenizers that work as those of T5 and GPT-2 do, and T5 and GPT-2 folders."""

from pathlib import Path
from typing import Any

import torch
from modelmaking import CLASSES, NOUNS, VERBS
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
)

_WORDS = ("the", "a", "yes", "no", "maybe", "yellow", ".", ":", "premise", "hypothesis")


def make_t5_tokenizer(*, ends: bool = True) -> PreTrainedTokenizerFast:
    """Pieces with a mark where a word starts; each text ends in </s>, unless told otherwise."""
    words = [f"▁{word}" for word in (*_WORDS, *CLASSES, *NOUNS, *VERBS)]
    pieces = [*words, "▁", "▁ye", "low", *".:abcdefghijklmnopqrstuvwxyz"]
    scores = [(piece, -float(len(pieces) - i)) for i, piece in enumerate(reversed(pieces))]
    scores = [(piece, -2.0 if piece in words else -9.0) for piece, _ in scores]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *scores]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    if ends:
        tokenizer.post_processor = TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


def make_gpt2_tokenizer(pad_token: str | None = "<pad>") -> PreTrainedTokenizerFast:
    """Bytes, of which a space belongs to the word that follows it."""
    alphabet = sorted(ByteLevel.alphabet())
    merges = [("Ġ", letter) for letter in "abt"] + [("t", "h"), ("Ġt", "h"), ("Ġth", "e")]
    tokens = [*alphabet, *("".join(merge) for merge in merges), "<end>", "<pad>"]
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token=pad_token,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_t5(
    folder: Path,
    *,
    label_words: bool = False,
    classes: tuple[str, ...] | None = CLASSES,
    seed: int = 0,
    **sizes: Any,
) -> Path:
    """A T5 with a classifier, or one that answers with words, and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = make_t5_tokenizer()
    named = {} if classes is None else {"id2label": dict(enumerate(classes))}
    sizes = {
        **{"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 8, "d_ff": 32},
        **{"num_layers": 2, "num_heads": 3, "decoder_start_token_id": 0},
        **named,
        **sizes,
    }
    model_class = T5ForConditionalGeneration if label_words else T5ForSequenceClassification
    model_class(T5Config(**sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_gpt2(folder: Path, *, seed: int = 0, **sizes: Any) -> Path:
    """A GPT-2 with a classifier, and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = make_gpt2_tokenizer()
    sizes = {
        **{"vocab_size": len(tokenizer), "n_embd": 24, "n_layer": 2, "n_head": 3},
        **{"n_positions": 64, "pad_token_id": tokenizer.pad_token_id},
        **{"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id},
        "id2label": dict(enumerate(CLASSES)),
        **sizes,
    }
    GPT2ForSequenceClassification(GPT2Config(**sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
