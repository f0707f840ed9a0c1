"""RoBERTa: as BERT, with positions that are counted from the id of the padding token."""

from patching.models.architecture import Architecture, StackPaths
from patching.models.families.bert import BERT_ROW

ROBERTA = Architecture(
    family="roberta",
    model_type="roberta",
    model_class="RobertaForSequenceClassification",
    stacks=(
        StackPaths(
            layers="roberta.encoder.layer",
            embedding="roberta.embeddings",
            rows=(BERT_ROW,),
        ),
    ),
    layout="post-norm",
    reads="first token",
    head=("first token", "classifier.dense", "tanh", "classifier.out_proj"),
    positions_follow_padding=True,
    token_types="type_vocab_size",
)
