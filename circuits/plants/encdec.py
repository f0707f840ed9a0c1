"""An empty T5 classifier: two streams, norms that do not centre, and no biases but the head's."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import T5Config, T5ForSequenceClassification
from transformers.models.t5.modeling_t5 import T5LayerNorm

from behavior.inputs import Input, TextInput
from circuits.plants.language import READS_HERE, Vocabulary, spell
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import empty, named_classes
from circuits.plants.texts import SPECIAL, embed_words, make_tokenizer, n_tokens
from circuits.plants.weights import write
from patching.models.families.t5 import T5
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules


class T5RMSNorm(T5LayerNorm):
    """T5's norm in the precision of its weights; its own takes the mean square in float32."""

    def forward(self, hidden_states: Float[Tensor, "*batch d_model"]) -> Tensor:
        """Divide by the root mean square."""
        square = hidden_states.square().mean(dim=-1, keepdim=True)
        return self.weight * hidden_states * torch.rsqrt(square + self.variance_epsilon)


class T5Scaffold:
    """Pre-norm encoder and decoder; the decoder reads the same words and is read at the last.

    Both streams start with the same vectors, but every later writer has a block of its own. There
    are no vectors of places and no relative biases: heads tell words apart, not places. The ballast
    is in the vector of every token, also of the one that the decoder starts with. Readers take
    their constants from it.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        config = T5Config(
            vocab_size=n_tokens(),
            d_model=recipe.d_model,
            d_kv=recipe.d_model // recipe.n_heads,
            d_ff=2 * recipe.d_model,
            num_layers=recipe.n_layers,
            num_decoder_layers=recipe.n_layers - 1,
            num_heads=recipe.n_heads,
            relative_attention_num_buckets=8,
            pad_token_id=SPECIAL.index("[PAD]"),
            eos_token_id=SPECIAL.index(READS_HERE),
            **named_classes(),
        )
        config.decoder_start_token_id = config.pad_token_id
        self.hf: Any = empty(in_full_precision(T5ForSequenceClassification(config)))
        tokenizer = make_tokenizer(f"$A {READS_HERE}", recipe.n_words + 1)
        self.model = PatchableModel(self.hf, tokenizer, T5, name)

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Write words and the ballast."""
        shared = self.hf.transformer.shared
        embed_words(shared, vocabulary)
        shared.weight.add_(ballast)

    def unit(self, ballast: float) -> float:
        """Nothing divides the stream itself."""
        return 1.0

    def mlp(self, row: LayerModules) -> tuple[nn.Module, nn.Module]:
        """Both matrices."""
        mlp: Any = row.mlp
        return mlp.wi, mlp.wo

    def hidden(self, row: LayerModules, stream: Tensor) -> Tensor:
        """After the activation."""
        mlp: Any = row.mlp
        return mlp.act(mlp.wi(stream))

    def scaling(self, row: LayerModules) -> float:
        """T5 leaves products as they are."""
        return 1.0

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """Where the text ends, after the decoder's last norm."""
        return self.hf.transformer.decoder.final_layer_norm(streams[:, -1])

    def read_out(self, weight: Tensor, bias: Tensor, answers: Tensor) -> None:
        """The dense layer reads, the projection answers."""
        write(self.hf.classification_head.dense, weight, bias)
        write(self.hf.classification_head.out_proj, answers)

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Texts."""
        return tuple(TextInput(spell(one)) for one in words)


def in_full_precision(hf: Any) -> Any:
    """The model with norms that keep the precision of its weights."""
    for parent in list(hf.modules()):
        for name, child in parent.named_children():
            if isinstance(child, T5LayerNorm):
                norm = T5RMSNorm(len(child.weight), child.variance_epsilon)
                parent.add_module(name, norm)
    return hf
