"""Everything a training needs, made once before its first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from behavior.errors import RecipeError
from behavior.examples import Example, Task, TextInput
from behavior.grammar import VOCABULARY, GrammarTask
from behavior.readout import read_labels
from behavior.tasks import load_task
from distillation.bias_models import fit_bias_model
from distillation.data import EncodedInputs, draw_order, encode
from distillation.models import (
    build_classifier,
    class_names,
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
        tokenizer: Of the model.
        model: With its initial weights.
        inputs: [item] the encoded training items.
        signals: [item] what the objective reads.
        order: [visit] item at each place of each batch.
    """

    task: Task
    examples: tuple[Example, ...]
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    inputs: EncodedInputs
    signals: Signals
    order: Int[Tensor, " visit"]


def prepare(recipe: Recipe, seed: int, parents: Mapping[str, Path]) -> Prepared:
    """Draw the items, make the network, collect the signals, fix the order."""
    task = _load_task(recipe.data)
    drawn = list(task.examples(_training_split(task), recipe.data.n, seed))
    examples = drawn + counterfactual_twins(task, drawn, recipe.data.counterfactuals, seed)
    model, tokenizer = _network(recipe, seed, parents, task, drawn)
    signals = _signals(recipe, parents, task, examples, len(drawn))
    visits = recipe.optimization.steps * recipe.optimization.batch_size
    weights = recipe.objective.sampling_weights(signals)
    order = draw_order(len(examples), visits, torch.Generator().manual_seed(seed), weights)
    inputs = encode(tokenizer, [example.input for example in examples])
    return Prepared(task, tuple(examples), tokenizer, model, inputs, signals, order)


def _load_task(data: DataRecipe) -> Task:
    try:
        return load_task(data.task, **data.options)
    except TypeError as error:
        raise RecipeError(f"data.options do not fit task {data.task!r}: {error}.") from error


def _training_split(task: Task) -> str:
    return task.splits[0] if len(task.splits) == 1 else "train"


def _network(
    recipe: Recipe, seed: int, parents: Mapping[str, Path], task: Task, drawn: Sequence[Example]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if recipe.start is None:
        tokenizer = word_tokenizer(_vocabulary(task, drawn), recipe.model.max_length)
        return build_classifier(recipe.model, tokenizer, seed), tokenizer
    source, tokenizer = load_classifier(parents[recipe.start.recipe])
    model = build_classifier(recipe.model, tokenizer, seed)
    copy_weights(model, source, recipe.start.layers)
    return model, tokenizer


def _vocabulary(task: Task, drawn: Sequence[Example]) -> Sequence[str]:
    if isinstance(task, GrammarTask):
        return VOCABULARY
    texts = (f"{x.input.text} {x.input.hypothesis or ''}" for x in drawn)
    return sorted({word for text in texts for word in text.split()})


def _signals(
    recipe: Recipe,
    parents: Mapping[str, Path],
    task: Task,
    examples: Sequence[Example],
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


def _teacher_logits(folder: Path, inputs: Sequence[TextInput], classes: Sequence[str]) -> Tensor:
    teacher, tokenizer = load_classifier(folder)
    readout = read_labels(class_names(teacher), classes)
    return readout.task_logits(predict_logits(teacher, encode(tokenizer, inputs)))
