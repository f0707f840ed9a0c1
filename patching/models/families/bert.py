"""BERT: post-norm encoder whose classifier reads the first token."""

from patching.models.architecture import Architecture, RowPaths, StackPaths

BERT_ROW = RowPaths(
    attention="attention.self",
    o="attention.output.dense",
    norm="attention.output.LayerNorm",
    q="attention.self.query",
    k="attention.self.key",
    v="attention.self.value",
    mlp="output.dense",
    mlp_in="intermediate",
    mlp_norm="output.LayerNorm",
)
"""Of BERT, and of models that copied its layers."""

BERT = Architecture(
    family="bert",
    model_type="bert",
    model_class="BertForSequenceClassification",
    stacks=(
        StackPaths(
            layers="bert.encoder.layer",
            embedding="bert.embeddings",
            rows=(BERT_ROW,),
        ),
    ),
    layout="post-norm",
    reads="first token",
    head=("first token", "bert.pooler.dense", "tanh", "classifier"),
    token_types="type_vocab_size",
)
