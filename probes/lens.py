"""The logit lens of a classifier: what it would answer, if the model ended at each stage.

1. The state that the classifier reads (first token, last token, mean over positions) is taken from
   the stream at every stage.
2. Raw: the model's own classifier, with the final norm before it if there is one, is applied to
   it. At the last stage this is the model's answer; at an earlier one it is what has been decided
   *in the form in which the classifier reads it* (nostalgebraist 2020).
3. Tuned: an affine map from the stage's state to the last one's is put between (Belrose et al.
   2023, https://arxiv.org/abs/2303.08112), here a ridge regression fitted on other quads, so that
   no quad and no template is on both sides. It also reads what is there in another basis.

A stage that the classifier cannot read has no margins and a reason: an encoder under a decoder,
and for the raw lens a stage of a ResNet with fewer channels than the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from behavior.examples import CELLS, Quad
from behavior.inputs import Input
from behavior.readout import Readout, margin
from patching.models.model import PatchableModel
from patching.models.nodes import own_stack
from probes.classifier import classify, read_state
from probes.linear import PENALTY
from probes.stream import Point, Progress, stream_points

ENCODER = "the classifier reads the decoder, not the encoder"


@dataclass(frozen=True, eq=False)
class StageMargins:
    """Margins of label against foil at every stage of one model.

    Attributes:
        points: The stages, in order.
        margins: Of each quad's cells A, N, C, L, in logits; NaN at a stage that has a reason.
        reasons: [stage] why there are none; None where there are.
    """

    points: tuple[Point, ...]
    margins: Float[np.ndarray, "stage quad 4"]
    reasons: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class StageStates:
    """What the classifier would read at every stage.

    Attributes:
        points: The stages, in order; the last is what the classifier does read.
        states: [stage] states of all inputs, [input, d_model], quad by quad; None if there is
            nothing that it could read.
        quads: That they were taken on.
    """

    points: tuple[Point, ...]
    states: tuple[Tensor | None, ...]
    quads: tuple[Quad[Any], ...]


def margins_by_stage(
    model: PatchableModel,
    quads: Sequence[Quad[Any]],
    readout: Readout,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> StageMargins:
    """Margins that the classifier gives on the raw state of every stage, in logits.

    Raises:
        DataError: If there are no quads, or an input is longer than the model takes.
    """
    return raw_margins(model, read_states(model, quads, batch_size, progress), readout)


def read_states(
    model: PatchableModel,
    quads: Sequence[Quad[Any]],
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> StageStates:
    """The states of all cells of the quads at every stage, in one run of the model.

    Raises:
        DataError: If there are no quads, or an input is longer than the model takes.
    """
    points = stream_points(model)
    inputs: list[Input] = [quad.cell(cell) for quad in quads for cell in CELLS]
    wanted = [i for i, point in enumerate(points) if _is_read(model, point)]
    rows = model.encode(inputs)
    found: list[Tensor | None] = [None] * len(points)
    done = 0
    for chunk in model.chunks([len(row) for row in rows], batch_size):
        batch = model.encoder.batch([rows[i] for i in chunk])
        with model.hooks.reading([points[i].site for i in wanted]) as values:
            model.forward(batch)
        for i in wanted:
            state = read_state(model, batch, values[points[i].site]).detach().cpu()
            whole = found[i]
            if whole is None:
                whole = found[i] = state.new_empty(len(rows), state.shape[1])
            whole[chunk] = state
        done += len(chunk)
        if progress is not None:
            progress(done, len(rows))
    return StageStates(points, tuple(found), tuple(quads))


def raw_margins(model: PatchableModel, states: StageStates, readout: Readout) -> StageMargins:
    """Margins that the classifier gives on the states as they are, in logits."""
    width = _last(states).shape[1]
    margins: list[np.ndarray] = []
    reasons: list[str | None] = []
    for state in states.states:
        reasons.append(_raw_reason(state, width))
        fits = state is not None and reasons[-1] is None
        margins.append(_margins(model, state if fits else None, states.quads, readout))
    return StageMargins(states.points, np.stack(margins), tuple(reasons))


def tuned_margins(
    model: PatchableModel,
    states: StageStates,
    readout: Readout,
    folds: Int[np.ndarray, " quad"],
    penalty: float = PENALTY,
) -> StageMargins:
    """Margins that the classifier gives on the states as translated to the last stage, in logits.

    The last stage is not translated.

    Args:
        model: The model.
        states: See `read_states`.
        readout: From its classes to labels.
        folds: Fold in which each quad's translator has not seen it; see `assign_folds`.
        penalty: Of the ridge, for each training example, in units of a feature's variance.
    """
    last = _last(states)
    margins: list[np.ndarray] = []
    for state in states.states:
        moved = state if state is None or state is last else _translate(state, last, folds, penalty)
        margins.append(_margins(model, moved, states.quads, readout))
    reasons = tuple(ENCODER if state is None else None for state in states.states)
    return StageMargins(states.points, np.stack(margins), reasons)


def _is_read(model: PatchableModel, point: Point) -> bool:
    last = model.modules.layers[-1]
    return last.is_image or own_stack(point.site.stack) == own_stack(last.stack)


def _last(states: StageStates) -> Tensor:
    last = states.states[-1]
    assert last is not None, "the classifier reads the last stage"
    return last


def _raw_reason(state: Tensor | None, width: int) -> str | None:
    if state is None:
        return ENCODER
    if state.shape[1] == width:
        return None
    return f"the stream has {state.shape[1]:,} channels here, the classifier reads {width:,}"


def _margins(
    model: PatchableModel, state: Tensor | None, quads: Sequence[Quad[Any]], readout: Readout
) -> Float[np.ndarray, "quad 4"]:
    if state is None:
        return np.full((len(quads), len(CELLS)), np.nan)
    with torch.no_grad():
        logits = readout.task_logits(classify(model, state.to(model.device))).cpu()
    label, foil = (
        readout.index(names).repeat_interleave(len(CELLS))
        for names in ([q.label for q in quads], [q.foil for q in quads])
    )
    return margin(logits, label, foil).reshape(len(quads), len(CELLS)).double().numpy()


def _translate(
    state: Float[Tensor, "input d_stage"],
    last: Float[Tensor, "input d_model"],
    folds: Int[np.ndarray, " quad"],
    penalty: float,
) -> Float[Tensor, "input d_model"]:
    x, y = state.double().numpy(), last.double().numpy()
    fold_of = np.repeat(folds, len(CELLS))
    moved = np.empty_like(y)
    for fold in np.unique(folds):
        held_out = fold_of == fold
        ridge = Ridge(alpha=penalty * int((~held_out).sum()))
        translator = make_pipeline(StandardScaler(), ridge).fit(x[~held_out], y[~held_out])
        moved[held_out] = translator.predict(x[held_out])
    return torch.from_numpy(moved).to(last)
