"""Empty BERT and GPT-2 classifiers with a tokenizer of their own."""

from math import sqrt
from typing import Any, cast

from jaxtyping import Float, Int
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

from behavior.inputs import Input, TextInput
from circuits.plants.language import READS_HERE, WORDS, Vocabulary, spell
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import by_width, empty, first_token, layer_sizes, named_classes
from circuits.plants.weights import write
from patching.models.families.bert import BERT
from patching.models.families.gpt2 import GPT2
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

SPECIAL = ("[PAD]", "[UNK]", READS_HERE)
"""Tokens that are no words, in the order of their ids."""


class BertScaffold:
    """Post-norm: the embedding's own norm makes the stream sqrt(d) long, nearly all of it ballast.

    The ballast is the vector of the only token type; the classifier reads the first token.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        config = BertConfig(
            vocab_size=n_tokens(),
            max_position_embeddings=recipe.n_words + 1,
            **layer_sizes(recipe),
            **named_classes(),
        )
        self.hf: Any = empty(BertForSequenceClassification(config))
        tokenizer = make_tokenizer(f"{READS_HERE} $A", recipe.n_words + 1)
        self.model = PatchableModel(self.hf, tokenizer, BERT, name)

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Write words, places and the ballast."""
        embeddings = self.hf.bert.embeddings
        embed_words(embeddings.word_embeddings, vocabulary)
        embeddings.position_embeddings.weight.copy_(vocabulary.places)
        embeddings.token_type_embeddings.weight.copy_(ballast.expand(2, -1))

    def unit(self, ballast: float) -> float:
        """The embedding's norm has divided by about the ballast."""
        return sqrt(self.hf.config.hidden_size) / ballast

    def mlp(self, row: LayerModules) -> tuple[nn.Module, nn.Module]:
        """Both matrices."""
        first: Any = row.mlp_in
        second: Any = row.mlp
        return first.dense, second

    def hidden(self, row: LayerModules, stream: Tensor) -> Tensor:
        """After the activation."""
        first: Any = row.mlp_in
        return first(stream)

    def scaling(self, row: LayerModules) -> float:
        """As usual."""
        return by_width(row)

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The first token."""
        return first_token(streams)

    def read_out(self, weight: Tensor, bias: Tensor, answers: Tensor) -> None:
        """The pooler reads, the classifier answers."""
        write(self.hf.bert.pooler.dense, weight, bias)
        write(self.hf.classifier, answers)

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Texts."""
        return tuple(TextInput(spell(one)) for one in words)


class Gpt2Scaffold:
    """Pre-norm and causal: the classifier reads the last token, without a bias and no tanh.

    The ballast is in the vectors of the places.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        config = GPT2Config(
            vocab_size=n_tokens(),
            n_positions=recipe.n_words + 1,
            n_embd=recipe.d_model,
            n_layer=recipe.n_layers,
            n_head=recipe.n_heads,
            n_inner=2 * recipe.d_model,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
            **named_classes(),
        )
        self.hf: Any = empty(GPT2ForSequenceClassification(config))
        tokenizer = make_tokenizer(f"$A {READS_HERE}", recipe.n_words + 1)
        self.model = PatchableModel(self.hf, tokenizer, GPT2, name)

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Write words, places and the ballast."""
        embed_words(self.hf.transformer.wte, vocabulary)
        self.hf.transformer.wpe.weight.copy_(vocabulary.places + ballast)

    def unit(self, ballast: float) -> float:
        """Nothing divides the stream itself."""
        return 1.0

    def mlp(self, row: LayerModules) -> tuple[nn.Module, nn.Module]:
        """Both matrices."""
        mlp: Any = row.mlp
        return mlp.c_fc, mlp.c_proj

    def hidden(self, row: LayerModules, stream: Tensor) -> Tensor:
        """After the activation."""
        mlp: Any = row.mlp
        return mlp.act(mlp.c_fc(stream))

    def scaling(self, row: LayerModules) -> float:
        """As usual."""
        return by_width(row)

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The last token, after the last norm."""
        return self.hf.transformer.ln_f(streams[:, -1])

    def read_out(self, weight: Tensor, bias: Tensor, answers: Tensor) -> None:
        """One matrix does both; a constant of the margin is lost."""
        write(self.hf.score, answers @ weight)

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Texts."""
        return tuple(TextInput(spell(one)) for one in words)


def n_tokens() -> int:
    """Words and other tokens."""
    return len(SPECIAL) + len(WORDS)


def make_tokenizer(template: str, longest: int) -> PreTrainedTokenizerFast:
    """One token a word; the template says where the token goes that the classifier reads."""
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[(READS_HERE, vocabulary[READS_HERE])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token=READS_HERE,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=longest,
    )


def embed_words(embedding: nn.Module, vocabulary: Vocabulary) -> None:
    """Write the vectors of words and of the token that the classifier reads."""
    weight = cast(nn.Embedding, embedding).weight
    weight[SPECIAL.index(READS_HERE)] = vocabulary.reading
    weight[len(SPECIAL) :] = vocabulary.words
