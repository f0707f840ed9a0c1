"""Margin by depth: what each model would answer if it ended at each stage.

Teacher and student are asked the quads of the comparison once more, and the model's own classifier
is applied to the state of every stage as it is (`probes.lens`, the raw logit lens). The last stage
gives the margins of the model itself. An early margin says what has been decided in the form in
which the classifier reads it: that it is near zero does not say that nothing is known there yet.

The early blocks of a ResNet have fewer channels than its classifier reads. Where one of the two
models is a ResNet, states of both are first brought to the last stage by an affine map, fitted on
other quads (the tuned lens).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from behavior.examples import CELLS
from behavior.progress import Progress
from behavior.readout import Readout
from behavior.statistics import estimate_means
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import Draws
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.storage import Arrays, Json, null
from patching import PatchableModel
from probes.folds import assign_folds
from probes.lens import StageMargins, raw_margins, read_states, tuned_margins

DepthMargins = Mapping[Role, StageMargins]
"""Of teacher and student; empty without quads."""

RAW, TUNED = "raw", "tuned"


def read_margins(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> DepthMargins:
    """Margins of teacher and student at every stage; equal models are asked once."""
    if not evidence.quads:
        return {}
    known: dict[int, StageMargins] = {}
    lens = lens_of(models)
    for role in PAIR:
        model = models[role]
        if id(model) in known:
            continue
        progress.stage(f"margins by depth: {role}")
        depends: dict[str, object] = {
            "model": model,
            "readout": readouts[role],
            "data": evidence.quads,
            "lens": lens,
            "seed": config.seed,
            "batch size": config.batch_size,
        }
        known[id(model)] = steps.run(
            f"margins by depth of {role}",
            depends,
            partial(_read, model, readouts[role], evidence, config, progress, lens),
        )
    return {role: known[id(models[role])] for role in PAIR}


def lens_of(models: Mapping[Role, PatchableModel]) -> str:
    """`raw`, or `tuned` where a model's stream changes its width."""
    widens = any(models[role].modules.layers[-1].is_image for role in PAIR)
    return TUNED if widens else RAW


def margin_rows(
    found: DepthMargins, evidence: Evidence, draws: Draws, lens: str = RAW
) -> list[Json]:
    """An entry for each stage of each model: mean margin of every cell, in logits."""
    if draws.units is None:
        return []
    drawn = draws.units.over([quad.id for quad in evidence.quads])
    rows: list[Json] = []
    for role, read in found.items():
        for point, margins, reason in zip(read.points, read.margins, read.reasons, strict=True):
            cells: Json = (
                {cell: null(reason) for cell in CELLS}
                if reason
                else {
                    cell: mean.to_json()
                    for cell, mean in zip(CELLS, estimate_means(margins, drawn), strict=True)
                }
            )
            place: Json = {"model": role, "stage": point.name, "depth": point.depth}
            rows.append({**place, "lens": lens, **cells})
    return rows


def margin_arrays(found: DepthMargins) -> Arrays:
    """`<role>.lens.<stage>`: float32 [quad, cell], for every stage that has margins."""
    return {
        f"{role}.lens.{point.name}": margins.astype(np.float32)
        for role, read in found.items()
        for point, margins, reason in zip(read.points, read.margins, read.reasons, strict=True)
        if not reason
    }


def _read(
    model: PatchableModel,
    readout: Readout,
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    lens: str,
) -> StageMargins:
    states = read_states(model, evidence.quads, config.batch_size, progress.step)
    if lens == RAW:
        return raw_margins(model, states, readout)
    units, templates = zip(*((quad.id, quad.template) for quad in evidence.quads), strict=True)
    return tuned_margins(model, states, readout, assign_folds(units, templates, seed=config.seed))
