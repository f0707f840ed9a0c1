"""The tables of the claims, once as data, and written as CSV, HTML, LaTeX and Markdown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import CELLS
from behavior.intervals import t_interval
from distillation.evidence.claims import (
    Difference,
    agreements,
    by_recipe,
    claim_differences,
    type_accuracies,
)
from distillation.evidence.figures import evidence_figures
from distillation.evidence.labelled import LabelledSource, labelled_rows
from distillation.evidence.measured import CLAIM_MEASURES, Measured
from distillation.evidence.roles import LEAST_REMOVED
from distillation.evidence.states import MEASURED, RunStatus
from distillation.evidence.tables import MEASURES, Run

_CLAIMS = {
    "C1": "C1: student minus its teacher f_T, same seed",
    "C2": "C2: student minus the undistilled student f_S, same seed",
    "plain": "Student minus the plain student, same seed",
}
_MEANS = ("id_accuracy", "accuracy_N", "accuracy_C", "spurious_gap", "spurious_share", "retention")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
th, td { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ddd }
.table { overflow-x: auto }
"""


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table.

    Attributes:
        name: Of its CSV file.
        title: What it shows.
        note: How to read it.
        shown: Cells as text, for readers.
        data: The numbers behind them, for programs.
    """

    name: str
    title: str
    note: str
    shown: pd.DataFrame
    data: pd.DataFrame


def make_sheets(
    measured: Sequence[Measured],
    runs: Sequence[Run],
    states: Sequence[RunStatus],
    labelled: Sequence[LabelledSource] = (),
) -> list[Sheet]:
    """All tables: what became of each run, recipes over seeds, C1, C2, types and so on.

    Args:
        measured: The runs that stand, with their answers.
        runs: Their measures with the retention.
        states: All runs, those that failed included.
        labelled: Sources that the runs were asked besides the quads.
    """
    return [
        _state_sheet(states),
        _recipe_sheet(measured, runs),
        *_claim_sheets(claim_differences(measured)),
        _type_sheet(measured),
        _agreement_sheet(measured),
        *([_labelled_sheet(measured, labelled)] if labelled else []),
    ]


def write_sheets(folder: Path, sheets: Sequence[Sheet], measured: Sequence[Measured]) -> None:
    """Write a CSV file for each table, `evidence.html` with the figures, and `evidence.tex`."""
    for sheet in sheets:
        sheet.data.round(6).to_csv(folder / f"{sheet.name}.csv", index=False, lineterminator="\n")
    page = render_html(sheets, evidence_figures(measured))
    (folder / "evidence.html").write_text(page, encoding="utf-8")
    (folder / "evidence.tex").write_text(render_latex(sheets), encoding="utf-8")


def render_html(sheets: Sequence[Sheet], figures: Sequence[go.Figure]) -> str:
    """One page that needs no network."""
    parts = ["<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Evidence</title>"]
    parts.append(f"<style>{_STYLE}</style></head><body><h1>Evidence over seeds</h1>")
    for sheet in sheets:
        table = sheet.shown.to_html(index=False, border=0)
        parts.append(f"<h2>{sheet.title}</h2><p>{sheet.note}</p><div class='table'>{table}</div>")
    for number, figure in enumerate(figures):
        parts.append(figure.to_html(full_html=False, include_plotlyjs=number == 0))
    return "\n".join([*parts, "</body></html>"]) + "\n"


def render_latex(sheets: Sequence[Sheet]) -> str:
    """Tables for a paper; they need the package booktabs, and longtable for those of many rows."""
    parts = ["% \\usepackage{booktabs,longtable}"]
    for sheet in sheets:
        caption = f"{sheet.title}. {sheet.note}".replace("_", "\\_").replace("%", "\\%")
        parts.append(
            sheet.shown.to_latex(
                index=False,
                escape=True,
                longtable=True,
                caption=caption,
                label=f"tab:{sheet.name}",
            )
        )
    return "\n".join(parts)


def render_sheets_markdown(sheets: Sequence[Sheet]) -> str:
    """The same tables in Markdown."""
    lines: list[str] = []
    for sheet in sheets:
        head = list(sheet.shown.columns)
        lines += [
            "",
            f"## {sheet.title}",
            "",
            sheet.note,
            "",
            _row(head),
            _row(["---"] * len(head)),
        ]
        lines += [_row([str(cell) for cell in row]) for row in sheet.shown.to_numpy().tolist()]
    return "\n".join(lines) + "\n"


def _state_sheet(states: Sequence[RunStatus]) -> Sheet:
    rows = [(x.recipe, x.seed, x.state, x.reason) for x in states]
    data = pd.DataFrame(rows, columns=["recipe", "seed", "state", "reason"])
    counts = Counter(state.state for state in states)
    said = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    missing = data[data["state"] != MEASURED]
    grouped = [
        (recipe, ", ".join(str(x.seed) for x in states if x.recipe == recipe and not x.reason))
        for recipe in dict.fromkeys(x.recipe for x in states)
    ]
    shown = pd.DataFrame(
        [(recipe, seeds or "-", "measured", "") for recipe, seeds in grouped]
        + [(r[0], str(r[1]), r[2], r[3]) for r in missing.to_numpy().tolist()],
        columns=["recipe", "seeds", "state", "reason"],
    )
    return Sheet("states", "Runs", f"{len(states)} runs: {said}.", shown, data)


def _recipe_sheet(measured: Sequence[Measured], runs: Sequence[Run]) -> Sheet:
    sizes = {name: next(iter(x.values())).n_parameters for name, x in by_recipe(measured).items()}
    rows: list[list[str]] = []
    numbers: list[list[object]] = []
    for recipe, size in sizes.items():
        values = {m: [run.values[m] for run in runs if run.recipe == recipe] for m in _MEANS}
        means = {m: t_interval([v for v in given if v is not None]) for m, given in values.items()}
        n_seeds = str(sum(run.recipe == recipe for run in runs))
        rows.append([recipe, n_seeds, f"{size:,}", *(show(means[m]) for m in _MEANS)])
        numbers += [[recipe, size, m, *_numbers(means[m])] for m in _MEANS]
    head = ["recipe", "seeds", "parameters", *(MEASURES[m] for m in _MEANS)]
    columns = ["recipe", "parameters", "measure", "n", "mean", "low", "high"]
    note = (
        "Mean over seeds with its 95 % t interval; retention is 1 for f_T, 0 for its plain twin, "
        f"and left out for seeds in which f_T removed at most {LEAST_REMOVED} of the share."
    )
    return Sheet("recipes", "Recipes", note, _frame(rows, head), _frame(numbers, columns))


def _claim_sheets(differences: Sequence[Difference]) -> list[Sheet]:
    return [_claim_sheet(claim, [x for x in differences if x.claim == claim]) for claim in _CLAIMS]


def _claim_sheet(claim: str, differences: Sequence[Difference]) -> Sheet:
    cells = {(x.student, x.reference, x.measure): x for x in differences}
    rows: list[list[str]] = []
    for student, reference in dict.fromkeys((x.student, x.reference) for x in differences):
        found = [cells[student, reference, measure] for measure in CLAIM_MEASURES]
        both = [f"{show(x.over_seeds)} {_ends(x.over_examples)}" for x in found]
        rows.append([student, reference, str(found[0].over_seeds.n), *both])
    numbers = [
        [
            x.student,
            x.reference,
            x.measure,
            *_numbers(x.over_seeds),
            x.over_examples.n,
            x.over_examples.low,
            x.over_examples.high,
        ]
        for x in differences
    ]
    columns = ["student", "reference", "measure", "seeds", "difference", "seeds_low", "seeds_high"]
    data = _frame(numbers, [*columns, "quads", "examples_low", "examples_high"])
    head = ["student", "minus", "seeds", *(MEASURES[m] for m in CLAIM_MEASURES)]
    note = (
        "Difference, [95 % t interval over seeds], (95 % bootstrap interval over quads of the mean "
        "of these seeds)."
    )
    return Sheet(claim, _CLAIMS[claim], note, _frame(rows, head), data)


def _type_sheet(measured: Sequence[Measured]) -> Sheet:
    found = type_accuracies(measured)
    rows = [[x.recipe, x.type, str(x.n_quads), show(x.conflicting), show(x.gap)] for x in found]
    numbers = [
        [x.recipe, x.type, x.n_quads, measure, *_numbers(estimate)]
        for x in found
        for measure, estimate in (("conflicting_accuracy", x.conflicting), ("spurious_gap", x.gap))
    ]
    head = ["recipe", "type", "quads", "accuracy conflicting", "gap"]
    columns = ["recipe", "type", "quads", "measure", "n", "mean", "low", "high"]
    note = "By the template of the quads: mean over seeds with its 95 % t interval."
    title = "Bias types"
    return Sheet("bias_types", title, note, _frame(rows, head), _frame(numbers, columns))


def _agreement_sheet(measured: Sequence[Measured]) -> Sheet:
    found = agreements(measured)
    rates = {(x.student, x.teacher, x.cell): x.rate for x in found}
    pairs = list(dict.fromkeys((x.student, x.teacher) for x in found))
    rows = [[*pair, *(show(rates[*pair, cell]) for cell in CELLS)] for pair in pairs]
    numbers = [[x.student, x.teacher, x.cell, *_numbers(x.rate)] for x in found]
    columns = ["student", "teacher", "cell", "n", "rate", "low", "high"]
    note = "Share of equal answers in each cell: mean over seeds with its 95 % t interval."
    title = "Agreement of student and teacher"
    shown = _frame(rows, ["student", "teacher", *CELLS])
    return Sheet("agreement", title, note, shown, _frame(numbers, columns))


def _labelled_sheet(measured: Sequence[Measured], sources: Sequence[LabelledSource]) -> Sheet:
    answers = {
        recipe: [one.labelled for one in runs.values()]
        for recipe, runs in by_recipe(measured).items()
    }
    found = labelled_rows(sources, answers)
    rows = [[x.recipe, x.source, x.group, str(x.n), x.measure, show(x.value)] for x in found]
    numbers = [[x.recipe, x.source, x.group, x.n, x.measure, *_numbers(x.value)] for x in found]
    head = ["recipe", "source", "group", "examples", "measure", "value"]
    columns = ["recipe", "source", "group", "examples", "measure", "n", "mean", "low", "high"]
    note = (
        "Accuracy in each group, and the AUC of the first label against the other, where there are "
        "two: mean over seeds with its 95 % t interval."
    )
    shown = _frame(rows, head)
    return Sheet("labelled", "Labelled examples", note, shown, _frame(numbers, columns))


def show(estimate: Estimate) -> str:
    """`0.123 [0.100, 0.150]`, or the value alone, or a dash."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _ends(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"({_number(estimate.low)}, {_number(estimate.high)})"


def _number(value: float) -> str:
    # Adding zero turns -0.000 into 0.000.
    return f"{round(value, 3) + 0.0:.3f}"


def _numbers(estimate: Estimate) -> list[object]:
    return [estimate.n, estimate.value, estimate.low, estimate.high]


def _frame(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([list(row) for row in rows], columns=list(columns))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
