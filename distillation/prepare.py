"""Everything a training needs, made once before its first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from behavior.errors import RecipeError
from behavior.examples import Example, Task
from behavior.grammar import VOCABULARY, GrammarTask
from behavior.inputs import Input, TextInput
from behavior.readout import read_labels
from behavior.tasks import load_task
from distillation.bias_models import fit_bias_model
from distillation.data import EncodedInputs, Preprocessor, draw_order, encode
from distillation.families import BertRecipe, ModelRecipe
from distillation.models import (
    build_classifier,
    class_names,
    image_processor,
    load_classifier,
    predict_logits,
    word_tokenizer,
)
from distillation.objectives import Signals
from distillation.recipe import DataRecipe, Recipe
from distillation.remedies import copy_weights, counterfactual_twins


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training that only has to run.

    Attributes:
        task: Source of the items.
        examples: [item] training items, counterfactual twins last.
        preprocessor: Tokenizer or image processor of the model.
        model: With its initial weights.
        inputs: [item] the encoded training items.
        signals: [item] what the objective reads.
        order: [visit] item at each place of each batch.
    """

    task: Task[Any]
    examples: tuple[Example[Any], ...]
    preprocessor: Preprocessor
    model: PreTrainedModel
    inputs: EncodedInputs
    signals: Signals
    order: Int[Tensor, " visit"]


def prepare(recipe: Recipe, seed: int, parents: Mapping[str, Path]) -> Prepared:
    """Draw the items, make the network, collect the signals, fix the order."""
    task = _load_task(recipe.data)
    drawn = list(task.examples(_training_split(task), recipe.data.n, seed))
    examples = drawn + counterfactual_twins(task, drawn, recipe.data.counterfactuals, seed)
    model, preprocessor = _network(recipe, seed, parents, task, drawn)
    signals = _signals(recipe, parents, task, examples, len(drawn))
    visits = recipe.optimization.steps * recipe.optimization.batch_size
    weights = recipe.objective.sampling_weights(signals)
    order = draw_order(len(examples), visits, torch.Generator().manual_seed(seed), weights)
    inputs = encode(preprocessor, [example.input for example in examples])
    return Prepared(task, tuple(examples), preprocessor, model, inputs, signals, order)


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
) -> tuple[PreTrainedModel, Preprocessor]:
    if recipe.start is None:
        preprocessor = _preprocessor(recipe.model, task, drawn)
        return build_classifier(recipe.model, preprocessor, seed), preprocessor
    source, preprocessor = load_classifier(parents[recipe.start.recipe])
    model = build_classifier(recipe.model, preprocessor, seed)
    copy_weights(model, source, recipe.start.layers)
    return model, preprocessor


def _preprocessor(
    model: ModelRecipe, task: Task[Any], drawn: Sequence[Example[Any]]
) -> Preprocessor:
    if isinstance(model, BertRecipe):
        return word_tokenizer(_vocabulary(task, drawn), model.max_length)
    return image_processor(model.image_size)


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
        fitted = fit_bias_model(recipe.bias_model, inputs[:n_drawn], labels[:n_drawn], len(classes))
        bias = fitted(inputs)
    return Signals(labels, teacher, bias)


def _teacher_logits(folder: Path, inputs: Sequence[Input], classes: Sequence[str]) -> Tensor:
    teacher, preprocessor = load_classifier(folder)
    readout = read_labels(class_names(teacher), classes)
    return readout.task_logits(predict_logits(teacher, encode(preprocessor, inputs)))
