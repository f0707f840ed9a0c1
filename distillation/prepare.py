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
from distillation.data import EncodedInputs, draw_order
from distillation.groups import number_groups
from distillation.models import build_classifier, load_classifier, make_preprocessor
from distillation.objectives import Materials, Signals, objective_name
from distillation.recipe import DataRecipe, Recipe
from distillation.remedies import (
    copy_weights,
    counterfactual_twins,
    estimate_norms,
    read_augmentation,
    recoloured_twins,
)
from distillation.teacher_cache import TeacherCache
from distillation.teachers import MOST_UNKNOWN, Teacher, check_answers, unknown_share


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training that only has to run.

    Attributes:
        materials: The model with its initial weights, the training items with those that remedies
            add last, and what the objective reads.
        order: [visit] item at each place of each batch.
        added: How many items each remedy added, and where files came from; empty without.
    """

    materials: Materials
    order: Int[Tensor, " visit"]
    added: dict[str, object]


def prepare(
    recipe: Recipe, seed: int, parents: Mapping[str, Path], cache: Path | None = None
) -> Prepared:
    """Draw the items, make the network, collect the signals, fix the order.

    Args:
        recipe: What to train.
        seed: With which seed.
        parents: Folder of each model that the recipe needs, by recipe.
        cache: Folder where teachers' logits are kept; None keeps none.

    Raises:
        CircuitsError: If data, networks and objective do not fit each other.
    """
    task = _load_task(recipe.data)
    drawn = list(task.examples(_training_split(task), recipe.data.n, seed))
    extra, added = _added_items(recipe, task, drawn, seed)
    examples = drawn + extra
    classifier = _network(recipe, seed, parents, task, examples)
    signals = _signals(recipe, parents, examples, len(drawn), cache)
    _check_groups(recipe, signals)
    inputs = classifier.encode([example.input for example in examples])
    _check_words(recipe, classifier, inputs, len(drawn))
    if recipe.start is not None and (recipe.start.layers or recipe.start.select):
        estimate_norms(classifier, inputs)
    n_steps = recipe.optimization.steps
    materials = Materials(
        classifier, inputs, signals, tuple(examples), task, parents, seed, recipe.teachers, n_steps
    )
    visits = n_steps * recipe.optimization.batch_size
    weights = recipe.objective.sampling_weights(materials)
    order = draw_order(len(examples), visits, torch.Generator().manual_seed(seed), weights)
    return Prepared(materials, order, added)


def _load_task(data: DataRecipe) -> Task[Any]:
    try:
        return load_task(data.task, **data.options)
    except TypeError as error:
        raise RecipeError(f"data.options do not fit task {data.task!r}: {error}.") from error


def _training_split(task: Task[Any]) -> str:
    return task.splits[0] if len(task.splits) == 1 else "train"


def _added_items(
    recipe: Recipe, task: Task[Any], drawn: Sequence[Example[Any]], seed: int
) -> tuple[list[Example[Any]], dict[str, object]]:
    """What the remedies add, in a fixed order, and what the record says of it."""
    data = recipe.data
    twins = counterfactual_twins(task, drawn, data.counterfactuals, seed)
    recoloured = recoloured_twins(task, drawn, data.recolour, seed)
    shares = {"counterfactuals": data.counterfactuals, "recolour": data.recolour}
    numbers = {"counterfactuals": len(twins), "recolour": len(recoloured)}
    added: dict[str, object] = {
        name: {"share": shares[name], "n": n} for name, n in numbers.items() if n
    }
    if data.augment is None:
        return twins + recoloured, added
    read = read_augmentation(data.augment, len(drawn), recipe.model.classes, seed)
    return [*twins, *recoloured, *read.examples], {**added, "augment": read.record}


def _network(
    recipe: Recipe,
    seed: int,
    parents: Mapping[str, Path],
    task: Task[Any],
    examples: Sequence[Example[Any]],
) -> Classifier:
    if recipe.start is None:
        preprocessor = make_preprocessor(recipe.model, _vocabulary(task, examples))
        return build_classifier(recipe.model, preprocessor, seed)
    source = load_classifier(parents[recipe.start.recipe])
    classifier = build_classifier(recipe.model, source.preprocessor, seed)
    start = recipe.start
    copy_weights(
        classifier.model, source.model, start.layers, select=start.select, heads=start.heads
    )
    return classifier


def _vocabulary(task: Task[Any], examples: Sequence[Example[Any]]) -> Sequence[str]:
    if isinstance(task, GrammarTask):
        return VOCABULARY
    inputs = [x.input for x in examples if isinstance(x.input, TextInput)]
    texts = (f"{x.text} {x.hypothesis or ''}" for x in inputs)
    return sorted({word for text in texts for word in text.split()})


def _signals(
    recipe: Recipe,
    parents: Mapping[str, Path],
    examples: Sequence[Example[Any]],
    n_drawn: int,
    cache: Path | None,
) -> Signals:
    classes = recipe.model.classes
    inputs = [example.input for example in examples]
    labels = read_labels(classes, classes).index([example.label for example in examples])
    teacher = bias = None
    if recipe.teachers and recipe.objective.asks_beforehand:
        answers = [
            _teacher_logits(name, parents[name], inputs, classes, labels[:n_drawn], cache)
            for name in recipe.teachers
        ]
        several = len(answers) > 1
        teacher = recipe.objective.combine_teachers(torch.stack(answers)) if several else answers[0]
    if recipe.bias_model is not None:
        fitted = fit_bias_model(
            recipe.bias_model, examples[:n_drawn], labels[:n_drawn], classes, parents
        )
        bias = fitted(examples)
    return Signals(labels, teacher, bias, number_groups(examples))


def _check_groups(recipe: Recipe, signals: Signals) -> None:
    if "groups" in recipe.objective.needs and signals.groups is None:
        raise RecipeError(
            f"Objective {objective_name(recipe.objective)!r} needs the group of each training "
            f"item, but task {recipe.data.task!r} does not know it, or not of the items that "
            "data.augment or data.recolour adds. Choose another objective, or leave these out."
        )


def _check_words(
    recipe: Recipe, classifier: Classifier, inputs: EncodedInputs, n_drawn: int
) -> None:
    """Refuse added items in words that the student does not know."""
    added = torch.arange(n_drawn, len(inputs))
    if recipe.data.augment is None:
        return
    share = unknown_share(classifier.preprocessor, EncodedInputs(inputs.take(added)))
    if share > MOST_UNKNOWN:
        raise RecipeError(
            f"{share:.0%} of the words that {recipe.data.augment.path} adds are unknown to the "
            f"student's tokenizer. Add items that look like those of task {recipe.data.task!r}."
        )


def _teacher_logits(
    name: str,
    folder: Path,
    inputs: Sequence[Input],
    classes: Sequence[str],
    labels: Int[Tensor, " drawn"],
    cache: Path | None,
) -> Tensor:
    """Logits of the student's classes; the names of the teacher's are checked on drawn items."""
    teacher = Teacher.open(name, folder, classes)

    def ask() -> Tensor:
        return teacher.predict(teacher.encode(inputs))

    answers = ask() if cache is None else TeacherCache(cache).logits(folder, inputs, ask)
    check_answers(name, answers[: len(labels)], labels, teacher.readout)
    return teacher.readout.task_logits(answers)
