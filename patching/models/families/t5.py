"""T5: pre-norm encoder-decoder, as a sequence classifier or read at the words of its labels.

The sequence classifier feeds the input to the decoder as well, shifted by one token, and reads the
decoder at the end of the text. As a conditional generator the decoder sees its start token alone,
so its self-attention has one key, and the logits are those of the label words at that position.
"""

from typing import Any

from patching.models.architecture import Architecture, RowPaths, StackPaths


def encoder_decoder(
    model_class: str, base: str, head: tuple[str, ...], *, label_words: bool
) -> Architecture:
    """The declaration that both heads share; `base` is the path of the encoder-decoder."""
    self_attention: dict[str, Any] = {
        "attention": "layer.0.SelfAttention",
        "o": "layer.0.SelfAttention.o",
        "norm": "layer.0.layer_norm",
        "q": "layer.0.SelfAttention.q",
        "k": "layer.0.SelfAttention.k",
        "v": "layer.0.SelfAttention.v",
    }
    encoder = RowPaths(
        **self_attention, mlp="layer.1.DenseReluDense", mlp_norm="layer.1.layer_norm"
    )
    decoder = RowPaths(**self_attention, enter="layer.0", leave="layer.0")
    cross = RowPaths(
        attention="layer.1.EncDecAttention",
        o="layer.1.EncDecAttention.o",
        norm="layer.1.layer_norm",
        q="layer.1.EncDecAttention.q",
        k="layer.1.EncDecAttention.k",
        v="layer.1.EncDecAttention.v",
        mlp="layer.2.DenseReluDense",
        mlp_norm="layer.2.layer_norm",
        enter="layer.1",
        leave="layer.2",
        cross=True,
    )
    return Architecture(
        family="t5",
        model_type="t5",
        model_class=model_class,
        stacks=(
            StackPaths(
                name="enc",
                layers=f"{base}encoder.block",
                embedding=f"{base}encoder.embed_tokens",
                rows=(encoder,),
                final_norm=f"{base}encoder.final_layer_norm",
                n_layers="num_layers",
            ),
            StackPaths(
                name="dec",
                layers=f"{base}decoder.block",
                embedding=f"{base}decoder.embed_tokens",
                rows=(decoder, cross),
                n_layers="num_decoder_layers",
            ),
        ),
        layout="pre-norm",
        reads="all tokens",
        head=(head[0], f"{base}decoder.final_layer_norm", *head[1:]),
        n_heads="num_heads",
        d_model="d_model",
        d_head="d_kv",
        max_length=None,
        caches=True,
        label_words=label_words,
    )


T5 = encoder_decoder(
    "T5ForSequenceClassification",
    "transformer.",
    ("end of text", "classification_head.dense", "tanh", "classification_head.out_proj"),
    label_words=False,
)
T5_WORDS = encoder_decoder(
    "T5ForConditionalGeneration", "", ("first token", "lm_head"), label_words=True
)
