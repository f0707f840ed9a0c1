"""Teachers: opened and checked against the student before a step is trained, asked in evaluation.

They are never trained: they run in evaluation mode, and what they answer has no gradients.
Classes are matched by name, whatever their order. What cannot be matched is refused: classes
without names, a tokenizer that does not know the words, or whose numbers the network's embeddings
do not hold, and answers that are right only under other names of the classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from behavior.errors import DataError, RecipeError
from behavior.inputs import Input
from behavior.readout import Readout, read_labels
from distillation.classifier import Classifier
from distillation.data import Batch, EncodedInputs, Preprocessor
from distillation.models import load_classifier

MOST_UNKNOWN = 0.5
"""Share of unknown tokens from which on a teacher's vocabulary is taken for another one."""

_RIGHT_OTHERWISE = 0.8
"""Accuracy under other names of the classes from which on the names are taken for wrong."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network that is asked, never trained.

    Attributes:
        name: Its recipe, for messages.
        classifier: The network, in evaluation mode.
        readout: Which of its classes each of the student's means.
    """

    name: str
    classifier: Classifier
    readout: Readout

    @classmethod
    def open(cls, name: str, folder: Path, classes: Sequence[str]) -> "Teacher":
        """Load a teacher and match its classes to the student's, by name.

        Raises:
            RecipeError: If they cannot be matched, or its tokenizer is not its own.
        """
        classifier = load_classifier(folder)
        classifier.model.eval()
        _check_names(name, classifier.classes, classes)
        _check_tokens(name, classifier)
        try:
            readout = read_labels(classifier.classes, classes)
        except DataError as error:
            raise RecipeError(f"Teacher {name!r} and its student do not fit: {error}") from None
        return cls(name, classifier, readout)

    def encode(self, inputs: Sequence[Input]) -> EncodedInputs:
        """Inputs as the teacher takes them.

        Raises:
            RecipeError: If most of their tokens are unknown to it.
            DataError: If they are of another kind, or too long.
        """
        encoded = self.classifier.encode(inputs)
        share = unknown_share(self.classifier.preprocessor, encoded)
        if share > MOST_UNKNOWN:
            raise RecipeError(
                f"{share:.0%} of the words of the training items are unknown to the tokenizer of "
                f"teacher {self.name!r}. Choose a teacher that was trained on such text."
            )
        return encoded

    def predict(self, encoded: EncodedInputs) -> Float[Tensor, "item n_teacher_classes"]:
        """Logits of its own classes, on the CPU."""
        return self.classifier.predict(encoded)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "batch n_classes"]:
        """Logits of the student's classes for one batch."""
        return self.readout.task_logits(self.classifier.logits(batch))


def check_answers(
    name: str, logits: Float[Tensor, "item n_classes"], labels: Int[Tensor, " item"]
) -> None:
    """Refuse a teacher whose answers are right only if its classes are named otherwise.

    Raises:
        RecipeError: If it is right less often than chance, but under other names nearly always.
    """
    n_classes = logits.shape[1]
    counts = torch.zeros(n_classes, n_classes, dtype=torch.long)
    answers = logits.argmax(-1)
    counts.index_put_((answers, labels), torch.ones_like(labels), accumulate=True)
    rows, columns = linear_sum_assignment(-counts.numpy())
    right = counts.diagonal().sum().item() / len(labels)
    best = counts[torch.from_numpy(rows), torch.from_numpy(columns)].sum().item() / len(labels)
    if right < 1 / n_classes and best >= _RIGHT_OTHERWISE:
        raise RecipeError(
            f"Teacher {name!r} is right on {right:.0%} of the training items, but on {best:.0%} if "
            "its classes are named in another order. Mend id2label in its config.json."
        )


def require_same_tokens(
    teacher: Teacher, ours: EncodedInputs, theirs: EncodedInputs, student: Preprocessor
) -> None:
    """Refuse a teacher that cuts the inputs into other tokens than the student.

    Numbers of tokens may differ, as long as the tokens are the same at every position.

    Raises:
        RecipeError: If terms that compare positions cannot be used.
    """
    mine, other = ours.columns.get("input_ids"), theirs.columns.get("input_ids")
    if mine is None or other is None:
        return
    fine = mine.shape == other.shape and _same_tokens(
        mine, other, student, teacher.classifier.preprocessor
    )
    if not fine:
        raise RecipeError(
            f"Teacher {teacher.name!r} cuts the training items into other tokens than the "
            "student, so terms cannot compare positions. Leave out terms, or use one tokenizer."
        )


def unknown_share(preprocessor: Preprocessor, encoded: EncodedInputs) -> float:
    """Share of the tokens, special ones left out, that the tokenizer does not know."""
    tokens = encoded.columns.get("input_ids")
    if tokens is None or not isinstance(preprocessor, PreTrainedTokenizerBase):
        return 0.0
    unknown = cast("int | None", preprocessor.unk_token_id)
    special = set(preprocessor.all_special_ids) - {unknown}
    plain = ~torch.isin(tokens, torch.tensor(list(special)))
    if unknown is None:
        return 0.0
    return ((tokens == unknown) & plain).sum().item() / max(int(plain.sum()), 1)


def _check_names(name: str, found: Sequence[str], classes: Sequence[str]) -> None:
    nameless = all(each.startswith("LABEL_") for each in found)
    if nameless and tuple(found) != tuple(classes):
        raise RecipeError(
            f"The classes of teacher {name!r} have no names ({', '.join(found)}), so they cannot "
            "be matched to the student's. Set id2label in its config.json."
        )


def _check_tokens(name: str, classifier: Classifier) -> None:
    """The numbers of a tokenizer's tokens have to be rows of the embedding; padding rows may be."""
    tokenizer = classifier.preprocessor
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return
    n_rows = cast(Tensor, classifier.model.get_input_embeddings().weight).shape[0]
    last = max(tokenizer.get_vocab().values())
    if last >= n_rows:
        raise RecipeError(
            f"The tokenizer of teacher {name!r} has {last + 1} tokens, but its embedding {n_rows} "
            "rows. They do not belong together; save the model with its own tokenizer."
        )


def _same_tokens(mine: Tensor, other: Tensor, ours: Preprocessor, theirs: Preprocessor) -> bool:
    assert isinstance(ours, PreTrainedTokenizerBase), "it gave tokens"
    assert isinstance(theirs, PreTrainedTokenizerBase), "it gave tokens"
    pairs = torch.stack([mine.flatten(), other.flatten()]).unique(dim=1).T.tolist()
    special = set(ours.all_special_ids), set(theirs.all_special_ids)
    return all(
        ours.convert_ids_to_tokens(a) == theirs.convert_ids_to_tokens(b)
        or (a in special[0] and b in special[1])
        for a, b in pairs
    )
