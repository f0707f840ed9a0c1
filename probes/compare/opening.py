"""Opens the models of a comparison and draws the quads that all of them see aligned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from behavior.errors import DataError
from behavior.examples import CELLS, Quad, Task
from behavior.inputs import Input
from behavior.readout import Readout, read_labels
from behavior.resampling import Resamples, resample_units, split_units
from behavior.tasks import load_task, open_examples
from patching import PatchableModel, load_checkpoint
from patching.alignment import align_quads
from patching.models.checkpoints import resolve_checkpoint
from probes.compare.options import Options
from probes.folds import assign_folds

N_RESAMPLES = 1000
FEWEST_QUADS = 8


@dataclass(frozen=True, eq=False)
class Ready:
    """What is compared, and on what.

    Attributes:
        models: `teacher`, `student`, and `twin` if there is one.
        readouts: From the classes of each to the task's labels.
        task: Its name.
        quads: That all models see aligned.
        label: [quad] number of its label.
        foil: [quad] number of its foil.
        folds: [quad] in which it is held out from probes and translators.
        tested: [quad] whether erasures are tested on it; they are fitted on the others.
        resamples: Of the quads.
    """

    models: dict[str, PatchableModel]
    readouts: dict[str, Readout]
    task: str
    quads: tuple[Quad[Any], ...]
    label: Int[np.ndarray, " quad"]
    foil: Int[np.ndarray, " quad"]
    folds: Int[np.ndarray, " quad"]
    tested: Bool[np.ndarray, " quad"]
    resamples: Resamples

    @property
    def inputs(self) -> list[Input]:
        """All cells, quad by quad."""
        return [quad.cell(cell) for quad in self.quads for cell in CELLS]


def make_ready(options: Options) -> Ready:
    """Open the models and draw the quads.

    Raises:
        CircuitsError: If a model cannot be opened, or there are no quads that all see aligned.
    """
    task = _open_task(options)
    n = options.n_quads if task.n_quads is None else min(options.n_quads, task.n_quads)
    quads: tuple[Quad[Any], ...] = task.quads(n, options.seed)
    models: dict[str, PatchableModel] = {}
    readouts: dict[str, Readout] = {}
    references = {"teacher": options.teacher, "student": options.student, "twin": options.twin}
    for role, reference in references.items():
        if reference is None:
            continue
        models[role] = _open_model(reference, options)
        readouts[role] = read_labels(models[role].spec.classes, task.labels)
        quads, _ = align_quads(models[role], quads)
    units, templates = [quad.id for quad in quads], [quad.template for quad in quads]
    if len(set(units)) < FEWEST_QUADS:
        raise DataError(
            f"{len(set(units))} quads are left that all models see aligned; at least "
            f"{FEWEST_QUADS} are needed. Give more with --examples or --quads."
        )
    _, tested = split_units(units, templates, options.seed)
    positions = {name.casefold(): i for i, name in enumerate(task.labels)}
    return Ready(
        models=models,
        readouts=readouts,
        task=task.name,
        quads=quads,
        label=np.array([positions[quad.label.casefold()] for quad in quads]),
        foil=np.array([positions[quad.foil.casefold()] for quad in quads]),
        folds=assign_folds(units, templates, seed=options.seed),
        tested=np.isin(units, tested),
        resamples=resample_units(units, templates, N_RESAMPLES, options.seed),
    )


def _open_task(options: Options) -> Task[Any]:
    source = _source(options)
    if options.examples is not None:
        path = Path(options.examples).expanduser()
        task = load_task(options.task, path=path) if options.task else open_examples(path)
    else:
        name = options.task or resolve_checkpoint(options.teacher, source).task
        if name is None:
            raise DataError(
                f"The checkpoint {options.teacher!r} names no task, so it is not clear what to ask "
                "it. Give --task (such as nli-overlap) or --examples FILE."
            )
        task = load_task(name)
    if not task.has_quads:
        raise DataError(
            f"{task.name!r} has no quads, which probes need. Give --examples with quads (A, N, C, "
            "L, label, foil), or another --task."
        )
    return task


def _open_model(reference: str, options: Options) -> PatchableModel:
    return load_checkpoint(
        reference, checkpoints=_source(options), device=options.device, check=options.check
    )


def _source(options: Options) -> Path | None:
    return None if options.checkpoints is None else Path(options.checkpoints).expanduser()
