"""Everything a training needs, made once before its first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from behavior.errors import RecipeError
from behavior.examples import Example, Task
from behavior.grammar import VOCABULARY, GrammarTask
from behavior.inputs import Input, TextInput
from behavior.readout import read_labels
from behavior.tasks import load_task
from distillation.bias_models import fit_bias_model
from distillation.classifier import Classifier
from distillation.data import draw_order
from distillation.models import build_classifier, load_classifier, make_preprocessor
from distillation.objectives import Materials, Signals
from distillation.recipe import DataRecipe, Recipe
from distillation.remedies import copy_weights, counterfactual_twins


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training that only has to run.

    Attributes:
        materials: The model with its initial weights, the training items with the counterfactual
            twins last, and what the objective reads.
        order: [visit] item at each place of each batch.
    """

    materials: Materials
    order: Int[Tensor, " visit"]


def prepare(recipe: Recipe, seed: int, parents: Mapping[str, Path]) -> Prepared:
    """Draw the items, make the network, collect the signals, fix the order."""
    task = _load_task(recipe.data)
    drawn = list(task.examples(_training_split(task), recipe.data.n, seed))
    examples = drawn + counterfactual_twins(task, drawn, recipe.data.counterfactuals, seed)
    classifier = _network(recipe, seed, parents, task, drawn)
    signals = _signals(recipe, parents, task, examples, len(drawn))
    visits = recipe.optimization.steps * recipe.optimization.batch_size
    weights = recipe.objective.sampling_weights(signals)
    order = draw_order(len(examples), visits, torch.Generator().manual_seed(seed), weights)
    inputs = classifier.encode([example.input for example in examples])
    materials = Materials(classifier, inputs, signals, tuple(examples), task, parents, seed)
    return Prepared(materials, order)


def _load_task(data: DataRecipe) -> Task[Any]:
    try:
        return load_task(data.task, **data.options)
    except TypeError as error:
        raise RecipeError(f"data.options do not fit task {data.task!r}: {error}.") from error


def _training_split(task: Task[Any]) -> str:
    return task.splits[0] if len(task.splits) == 1 else "train"


def _network(
    recipe: Recipe,
    seed: int,
    parents: Mapping[str, Path],
    task: Task[Any],
    drawn: Sequence[Example[Any]],
) -> Classifier:
    if recipe.start is None:
        preprocessor = make_preprocessor(recipe.model, _vocabulary(task, drawn))
        return build_classifier(recipe.model, preprocessor, seed)
    source = load_classifier(parents[recipe.start.recipe])
    classifier = build_classifier(recipe.model, source.preprocessor, seed)
    copy_weights(classifier.model, source.model, recipe.start.layers)
    return classifier


def _vocabulary(task: Task[Any], drawn: Sequence[Example[Any]]) -> Sequence[str]:
    if isinstance(task, GrammarTask):
        return VOCABULARY
    inputs = [x.input for x in drawn if isinstance(x.input, TextInput)]
    texts = (f"{x.text} {x.hypothesis or ''}" for x in inputs)
    return sorted({word for text in texts for word in text.split()})


def _signals(
    recipe: Recipe,
    parents: Mapping[str, Path],
    task: Task[Any],
    examples: Sequence[Example[Any]],
    n_drawn: int,
) -> Signals:
    classes = recipe.model.classes
    inputs = [example.input for example in examples]
    labels = read_labels(classes, classes).index([example.label for example in examples])
    teacher = bias = None
    if recipe.teacher is not None:
        teacher = _teacher_logits(parents[recipe.teacher], inputs, classes)
    if recipe.bias_model is not None:
        fitted = fit_bias_model(
            recipe.bias_model, inputs[:n_drawn], labels[:n_drawn], classes, parents
        )
        bias = fitted(inputs)
    return Signals(labels, teacher, bias, number_groups(examples))


def number_groups(examples: Sequence[Example[Any]]) -> Int[Tensor, " item"] | None:
    """Number of each item's group: its class together with what its shortcut says.

    None if an item has no group.
    """
    if not all(example.group for example in examples):
        return None
    names = [(example.label, example.group) for example in examples]
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([numbers[name] for name in names])


def _teacher_logits(folder: Path, inputs: Sequence[Input], classes: Sequence[str]) -> Tensor:
    teacher = load_classifier(folder)
    readout = read_labels(teacher.classes, classes)
    return readout.task_logits(teacher.predict(teacher.encode(inputs)))
