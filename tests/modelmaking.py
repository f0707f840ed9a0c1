"""Small random models in Hugging Face folders, for tests."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from behavior.examples import Contrast, Pairs, TextInput

NOUNS = ("doctor", "nurse", "judge", "lawyer", "actor", "banker", "artist", "student")
VERBS = ("saw", "helped", "called", "thanked", "met", "paid")
WORDS = ("the", "a", "not", "today", "##s", "##ed", ".", *NOUNS, *VERBS)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CLASSES = ("entailment", "neutral", "contradiction")


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
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
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
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
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "bias" in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(scale)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
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
