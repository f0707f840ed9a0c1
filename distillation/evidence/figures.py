"""Figures over seeds: gap against size, teacher against student, and agreement by cell."""

from collections.abc import Callable, Iterable, Sequence

import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import CELLS
from behavior.intervals import t_interval
from distillation.evidence.claims import agreements, by_recipe, trios_of
from distillation.evidence.measured import Measured

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's, which color-blind readers can tell apart."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
_CELL_NAMES = {
    "A": "A (aligned)",
    "N": "N (conflicting)",
    "C": "C (conflicting)",
    "L": "L (aligned)",
}


def evidence_figures(measured: Sequence[Measured]) -> list[go.Figure]:
    """The figures that these runs allow: those about students need a student with its teacher."""
    if not trios_of(measured):
        return []
    return [gap_against_scale(measured), teacher_against_student(measured), agreement(measured)]


def gap_against_scale(measured: Sequence[Measured]) -> go.Figure:
    """Spurious gap of students by their number of parameters, distilled and not, per teacher."""
    runs = by_recipe(measured)
    lines: dict[str, list[str]] = {}
    for trio in trios_of(measured):
        lines.setdefault(f"distilled from {trio.teacher}", []).append(trio.student)
        if trio.debiased is not None:
            lines.setdefault(f"debiased as {trio.teacher}", []).append(trio.debiased)
    figure = _figure(
        "Spurious gap against the size of the student",
        "parameters of the student (number, logarithmic)",
        "spurious gap (accuracy aligned minus conflicting)",
    )
    for i, (name, recipes) in enumerate(lines.items()):
        unique = list(dict.fromkeys(recipes))
        sized = sorted(
            ((next(iter(runs[recipe].values())).n_parameters, recipe) for recipe in unique),
        )
        gaps = [_over_seeds(runs[recipe].values(), "spurious_gap") for _, recipe in sized]
        _add_points(figure, name, [size for size, _ in sized], gaps, [r for _, r in sized], i)
    figure.update_xaxes(type="log")
    return figure


def teacher_against_student(measured: Sequence[Measured]) -> go.Figure:
    """Spurious share of the teacher and of its student, a point for each seed."""
    runs = by_recipe(measured)
    figure = _figure(
        "Spurious share: teacher against student, each seed",
        "spurious share of the teacher f_T (0 core only, 1 shortcut only)",
        "spurious share of the student g (0 core only, 1 shortcut only)",
    )
    for i, trio in enumerate(trios_of(measured)):
        ours, theirs = runs[trio.student], runs[trio.teacher]
        shares = {
            seed: tuple(x[seed].run.values["spurious_share"] for x in (theirs, ours))
            for seed in sorted(ours.keys() & theirs.keys())
        }
        known = {seed: pair for seed, pair in shares.items() if None not in pair}
        figure.add_scatter(
            x=[pair[0] for pair in known.values()],
            y=[pair[1] for pair in known.values()],
            text=[f"{trio.student}, seed {seed}" for seed in known],
            mode="markers",
            name=trio.student,
            marker=_marker(i),
        )
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"dash": "dot", "color": "#999999"})
    return figure


def agreement(measured: Sequence[Measured]) -> go.Figure:
    """Share of equal answers of teacher and student in each cell, mean over seeds."""
    figure = _figure(
        "Answers of the student that are its teacher's, by cell",
        "cell",
        "share of equal answers",
    )
    found = agreements(measured)
    for i, student in enumerate(dict.fromkeys(one.student for one in found)):
        rates = {one.cell: one.rate for one in found if one.student == student}
        estimates = [rates[cell] for cell in CELLS]
        names = [_CELL_NAMES[cell] for cell in CELLS]
        figure.add_bar(
            x=names,
            y=[estimate.value for estimate in estimates],
            error_y=_error(estimates),
            name=student,
            marker_color=_COLORS[i % len(_COLORS)],
        )
    figure.update_yaxes(range=[0, 1.05])
    return figure


def _over_seeds(runs: Iterable[Measured], measure: str) -> Estimate:
    values = [one.run.values[measure] for one in runs]
    return t_interval([value for value in values if value is not None])


def _add_points(
    figure: go.Figure,
    name: str,
    sizes: Sequence[int],
    estimates: Sequence[Estimate],
    recipes: Sequence[str],
    number: int,
) -> None:
    figure.add_scatter(
        x=list(sizes),
        y=[estimate.value for estimate in estimates],
        error_y=_error(estimates),
        text=[f"{recipe}, {e.n} seeds" for recipe, e in zip(recipes, estimates, strict=True)],
        mode="lines+markers",
        name=name,
        marker=_marker(number),
    )


def _error(estimates: Sequence[Estimate]) -> dict[str, object]:
    ends: list[Callable[[Estimate], float]] = [
        lambda e: 0.0 if e.high is None or e.value is None else e.high - e.value,
        lambda e: 0.0 if e.low is None or e.value is None else e.value - e.low,
    ]
    above, below = ([end(estimate) for estimate in estimates] for end in ends)
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}


def _marker(number: int) -> dict[str, object]:
    symbol = _SYMBOLS[(number // len(_COLORS) + number) % len(_SYMBOLS)]
    return {"color": _COLORS[number % len(_COLORS)], "symbol": symbol, "size": 9}


def _figure(title: str, x: str, y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title=title, template="plotly_white", height=480, legend={"font": {"size": 11}}
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure
