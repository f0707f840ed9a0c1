"""The result as text, and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from behavior.errors import ResultError
from behavior.estimates import Estimate
from circuits.compare.running.provenance import Clock, provenance
from circuits.validate.options import METRICS, ValidateOptions
from circuits.validate.running import Row

SCHEMA_VERSION = 1

Summary = Mapping[str, Mapping[str, Mapping[str, Estimate]]]

_HEADINGS = {
    "edge_auroc": "edge AUROC",
    "edge_ap": "edge AP",
    "edge_precision": "P at size",
    "node_auroc": "node AUROC",
    "node_ap": "node AP",
    "cmd": "CMD",
    "pearson": "r exact",
    "seconds": "s",
    "forwards": "forwards",
}
_GAP = 2
"""Between columns."""
_COSTS = {"seconds": 2, "forwards": 0}
"""Digits of the columns without an interval."""


def draw_table(summary: Summary) -> str:
    """One block for each set, one line for each algorithm."""
    blocks = {
        kind: [
            ["", *_HEADINGS.values()],
            *([method, *_cells(found)] for method, found in methods.items()),
        ]
        for kind, methods in summary.items()
    }
    columns = zip(*(row for block in blocks.values() for row in block), strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    lines: list[str] = []
    for kind, block in blocks.items():
        n = max(found["edge_ap"].n for found in summary[kind].values())
        size = f"{n} plants" if n != 1 else "1 plant, and so no intervals"
        lines += ["", f"{kind}: {size}", *(_line(row, widths) for row in block)]
    lines += [
        "",
        "Means over plants, each the mean of its two contrasts, with 95 % t intervals. P at size: "
        "precision, and recall, of as many edges",
        "as are true. CMD: 0 is best. r exact: Pearson's r with exact effects of single edges. "
        "s: processor seconds for one contrast.",
        "forwards: s divided by the processor seconds of one forward of as many inputs through "
        "the same model (median of 5); a backward",
        "and all else that a method does count by their time.",
    ]
    return "\n".join(lines[1:])


def write_json(
    path: Path, options: ValidateOptions, rows: Sequence[Row], summary: Summary, clock: Clock
) -> None:
    """Write summary, every row, and where they come from.

    Raises:
        ResultError: If the file cannot be written.
    """
    import torch  # noqa: PLC0415  (slow)

    command = f"python -m circuits.validate {_arguments(options)}"
    content = {
        "schema_version": SCHEMA_VERSION,
        "provenance": provenance(clock, command, torch.get_num_threads()),
        "settings": {**asdict(options), "json": str(path), "figure": _named(options.figure)},
        "sets": {
            kind: {
                method: {metric: value.to_json() for metric, value in found.items()}
                for method, found in methods.items()
            }
            for kind, methods in summary.items()
        },
        "rows": [asdict(row) for row in rows],
    }
    try:
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error.strerror}.") from error


def _named(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _arguments(options: ValidateOptions) -> str:
    return (
        f"--plants {options.plants} --seed {options.seed} --sets {','.join(options.sets)} "
        f"--families {','.join(options.families)} --methods {','.join(options.methods)} "
        f"--n-pairs {options.n_pairs}"
        + "".join(
            f" --option {method}.{name}={value}"
            for method, changed in options.option.items()
            for name, value in changed.items()
        )
    )


def _cells(found: Mapping[str, Estimate]) -> list[str]:
    return [_cell(metric, found[metric]) for metric in METRICS]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """The method on the left, numbers on the right of their columns."""
    method, *cells = (
        f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return (" " * _GAP).join([method, *cells])


def _cell(metric: str, found: Estimate) -> str:
    if found.value is None:
        return "-"
    if metric in _COSTS:
        return f"{found.value:,.{_COSTS[metric]}f}"
    value = _short(found.value)
    if found.low is None or found.high is None or found.low == found.high:
        return value
    return f"{value} [{_short(found.low)}, {_short(found.high)}]"


def _short(value: float) -> str:
    """Two digits after the point, three where two would say 1.00."""
    text = f"{value:.2f}"
    if text in ("1.00", "0.00") and value not in (0, 1):
        text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
