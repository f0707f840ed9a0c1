"""GPT-2: pre-norm decoder whose classifier reads the last token that is no padding."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

GPT2 = Architecture(
    family="gpt2",
    model_type="gpt2",
    model_class="GPT2ForSequenceClassification",
    stacks=(
        StackPaths(
            layers="transformer.h",
            embedding="transformer.drop",
            rows=(
                RowPaths(
                    attention="attn",
                    o="attn.c_proj",
                    norm="ln_1",
                    q="attn.c_attn",
                    k="attn.c_attn",
                    v="attn.c_attn",
                    mlp="mlp",
                    mlp_norm="ln_2",
                ),
            ),
        ),
    ),
    layout="pre-norm",
    reads="all tokens",
    head=("last token", "transformer.ln_f", "score"),
    caches=True,
    needs_padding_id=True,
)
