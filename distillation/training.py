"""From a recipe and a seed to a finished model folder.

1. Draw the training split and encode it; add counterfactual twins if the recipe asks for them.
2. Make the network: fresh weights, or those of the model it starts from.
3. Collect what the objective reads besides labels: logits of the teacher, the bias model.
4. Draw the order of the items for the whole training, then let the trainer run; take the
   checkpoint that the recipe's rule of selection names.
5. Measure the cells of the validation quads; write the folder and move it to its place.

The seed decides three things, each drawn apart from the others: the training items, the initial
weights (the same for all recipes of one shape), and the order of the items (the same for all
recipes that visit as many of the same items without weights).
"""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from accelerate import PartialState
from transformers import TrainingArguments

from behavior.errors import RecipeError
from distillation.commands import FULL, SAVE_STEPS
from distillation.folders import (
    CHECKPOINTS,
    FINISHED,
    find_parents,
    finish,
    held,
    is_finished,
    last_checkpoint,
    logits_folder,
    open_partial,
    weights_digest,
)
from distillation.named_files import file_digests
from distillation.objectives import ClosedForm, SteppedObjective
from distillation.options import RunOptions, is_first_process, n_processes
from distillation.prepare import Prepared, prepare
from distillation.recipe import Recipe
from distillation.record import write_finished_folder
from distillation.teacher_cache import settings_digest
from distillation.trainer import ObjectiveTrainer, Progress, training_arguments


def train(
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    parents: Mapping[str, Path] | None = None,
    save_steps: int = SAVE_STEPS,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train one recipe with one seed and return its finished folder.

    An interrupted training goes on from its last checkpoint and ends with the same weights, bit
    for bit on one thread of a CPU, as one that was never interrupted. A finished one is left alone.
    Started by torchrun or `accelerate launch`, all processes train it together.

    Args:
        recipe: What to train.
        seed: Decides items, initial weights and order.
        out: Folder to make; `OUT.partial` holds the checkpoints until then.
        parents: Folder of each recipe in `recipe.parents`; if out is `RUNS/<recipe>/seed-<K>`,
            those left out are looked for there.
        save_steps: Updates between checkpoints; a rule of selection has its own.
        options: How it is run.
        progress: Called whenever the loss is logged.

    Raises:
        CircuitsError: If parents are missing, data or weights do not fit, or the folder is taken
            by another training, finished or at work.
    """
    if not 0 <= seed < 2**32:
        raise RecipeError(f"seed is {seed}, but a seed is from 0 to {2**32 - 1}.")
    if save_steps < 1:
        raise RecipeError(f"save_steps is {save_steps}, but must be at least 1.")
    options = options or RunOptions()
    options.part_of_batch(recipe.optimization.batch_size)
    folders = find_parents(recipe, seed, out, parents or {})
    request = training_request(recipe, seed, folders)
    if is_finished(out, request):
        return out
    with held(out) if is_first_process() else nullcontext():
        partial = _open(out, request, options)
        prepared = prepare(recipe, seed, folders, logits_folder(out, recipe.name, seed))
        if isinstance(recipe.objective, ClosedForm):
            history = _fit(recipe.objective, prepared)
        else:
            checkpoints = partial / CHECKPOINTS
            arguments = training_arguments(recipe, checkpoints, seed, save_steps, options)
            history = _minimise(prepared, recipe, arguments, progress)
        if is_first_process():
            finished = partial / FINISHED
            write_finished_folder(finished, recipe, seed, request, prepared, history, options)
            finish(partial, out)
    _wait_for_all(options)
    return out


def training_request(recipe: Recipe, seed: int, folders: Mapping[str, Path]) -> dict[str, object]:
    """What must be the same for an interrupted training to go on, or a finished one to stand.

    Besides recipe, seed and weights of the parents these are the contents of the files that the
    recipe names, and what the parents have beside weights, such as the names of their classes.
    """
    files = file_digests(recipe)
    settings = {name: settings_digest(folder) for name, folder in folders.items()}
    return {
        "recipe": recipe.to_json(),
        "seed": seed,
        "parents": {name: weights_digest(folder) for name, folder in folders.items()},
        **({"parent_settings": settings} if settings else {}),
        **({"files": files} if files else {}),
    }


def _fit(objective: ClosedForm, prepared: Prepared) -> list[dict[str, float]]:
    started = time.perf_counter()
    objective.fit(prepared.materials)
    return [{"seconds": time.perf_counter() - started}]


def _minimise(
    prepared: Prepared, recipe: Recipe, arguments: TrainingArguments, progress: Progress | None
) -> list[dict[str, float]]:
    assert isinstance(recipe.objective, SteppedObjective), "the other kind has no steps"
    trainer = ObjectiveTrainer(
        prepared.materials,
        recipe.objective.criterion(prepared.materials),
        prepared.order,
        arguments,
        progress,
        recipe.selection,
    )
    checkpoints = Path(cast(str, arguments.output_dir))
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    # Half precision casts the model's forward pass; what is measured and saved afterwards is not.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return trainer.state.log_history


def _open(out: Path, request: Mapping[str, object], options: RunOptions) -> Path:
    """The working folder, made by the first process before the others look into it.

    Weights of another precision differ, so an interrupted training goes on in its own.
    """
    precision = {} if options.precision == FULL else {"precision": options.precision}
    if not is_first_process():
        _wait_for_all(options)
    partial = open_partial(out, {**request, **precision})
    if is_first_process():
        _wait_for_all(options)
    return partial


def _wait_for_all(options: RunOptions) -> None:
    if n_processes() > 1:
        state = PartialState(cpu=True, backend="gloo") if options.on_cpu else PartialState()
        state.wait_for_everyone()
