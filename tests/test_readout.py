"""Readout: task logits and margins, whatever the model calls its classes."""

import pytest
import torch

from behavior.errors import DataError
from behavior.readout import margin, read_labels

NLI = ("contradiction", "entailment", "neutral")


def test_margin_is_antisymmetric_in_label_and_foil() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    label, foil = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 2])
    torch.testing.assert_close(margin(logits, label, foil), -margin(logits, foil, label))


def test_collapsed_margin_is_the_log_odds_of_the_summed_probability() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double()
    readout = read_labels(NLI, ("entailment", "non-entailment"))
    label, foil = torch.zeros(5, dtype=torch.long), torch.ones(5, dtype=torch.long)
    p = logits.softmax(-1)[:, 1]
    torch.testing.assert_close(
        margin(readout.task_logits(logits), label, foil), (p / (1 - p)).log()
    )


def test_max_collapse_decides_as_argmax_does() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    readout = read_labels(NLI, ("entailment", "non-entailment"), collapse="max")
    decided = readout.task_logits(logits).argmax(-1) == 0
    assert torch.equal(decided, logits.argmax(-1) == 1)


def test_labels_are_matched_by_name_not_by_place() -> None:
    readout = read_labels(("NEUTRAL", "Entailment"), ("entailment", "neutral"))
    assert readout.members == ((1,), (0,))


def test_unknown_label_names_the_classes_that_exist() -> None:
    with pytest.raises(DataError, match=r"'maybe'.*'contradiction', 'entailment', 'neutral'"):
        read_labels(NLI, ("entailment", "maybe"))


def test_wrong_shape_is_caught_at_the_call() -> None:
    with pytest.raises(Exception, match="task_logits"):
        margin(torch.randn(4), torch.zeros(4).long(), torch.zeros(4).long())
