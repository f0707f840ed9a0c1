"""Teachers: opened and checked against the student before a step is trained, asked in evaluation.

They are never trained: they run in evaluation mode, and what they answer has no gradients.
Classes are matched by name, whatever their order. What cannot be matched is refused: classes
without names, a tokenizer that does not know the words, or whose numbers the network's embeddings
do not hold, and answers that are right more often under other names of the classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
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

N_ASKED = 512
"""Items that tell whether a teacher that runs beside the student has the right names."""

_GAIN = 0.1
"""How much more often a teacher has to be right under other names for its own to be wrong."""

_CHANCE = 1e-2
"""Bound of the probability of a gain by chance from which down it is none."""

_LISTED = 5


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
    name: str,
    logits: Float[Tensor, "item n_teacher_classes"],
    labels: Int[Tensor, " item"],
    readout: Readout,
) -> None:
    """Refuse a teacher whose answers are right more often if its classes are named otherwise.

    One half of the items says how its classes are best named, and the other half whether that is
    better: by a tenth or more, and by more than changes for better and worse would add up to by
    chance (Hoeffding's inequality). Accuracies are means over labels, or a teacher with one answer
    would gain by the name of the commonest. Under the other names it has to be nearer to always
    right than to guessing, over labels and over items: an untrained network gives its answers to
    some colours or words, which go with labels, and so may gain by other names without having any.

    Args:
        name: Its recipe, for the message.
        logits: Of its own classes.
        labels: Labels of the student, as the readout counts them.
        readout: Which of its classes each label means.

    Raises:
        RecipeError: If the names of its classes are wrong.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    chosen, judged = order[::2], order[1::2]
    named = _best_names(logits[chosen].argmax(-1), labels[chosen], readout)
    truth = labels[judged]
    n_labels = len(truth.unique())
    if n_labels < 2:
        return
    before, after = (
        (readout.task_logits(x).argmax(-1) == truth).double()
        for x in (logits[judged], logits[judged][:, named])
    )
    weights = _weigh_labels_equally(truth)
    right, best = float(before @ weights), float(after @ weights)
    changes = weights[before != after]
    by_chance = math.sqrt(-2 * math.log(_CHANCE) * float(changes @ changes))
    half_way = (1 + 1 / n_labels) / 2
    if best - right < max(_GAIN, by_chance) or min(best, float(after.mean())) < half_way:
        return
    raise RecipeError(
        f"Teacher {name!r} is right on {right:.0%} of the training items (mean over labels), but "
        f"on {best:.0%} if its classes are named otherwise: {_say_names(readout.classes, named)}. "
        "Mend id2label in its config.json."
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


def _best_names(
    answers: Int[Tensor, " item"], labels: Int[Tensor, " item"], readout: Readout
) -> list[int]:
    """[class] position of the class that would best have this one's name; ties change nothing."""
    n = len(readout.classes)
    counts = torch.zeros(n, n, dtype=torch.long)
    for label, members in enumerate(readout.members):
        counts[list(members)] = torch.bincount(answers[labels == label], minlength=n)
    _, best = linear_sum_assignment(counts.numpy() * (n + 1) + np.eye(n), maximize=True)
    return best.tolist()


def _weigh_labels_equally(labels: Int[Tensor, " item"]) -> Float[Tensor, " item"]:
    """[item] weights that sum to 1, and to the same for each label."""
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    return (1 / (counts.double() * len(counts)))[place]


def _say_names(classes: Sequence[str], named: Sequence[int]) -> str:
    meant = sorted((i, name) for name, i in zip(classes, named, strict=True) if classes[i] != name)
    listed = [
        f"{classes[i]!r} {'to be' if k else 'seems to be'} {name!r}"
        for k, (i, name) in enumerate(meant)
    ]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


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
