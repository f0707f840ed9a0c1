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
_WIDE, _NARROW = 21, 9
_COSTS = {"seconds": 2, "forwards": 0}
"""Digits of the columns without an interval."""


def draw_table(summary: Summary) -> str:
    """One block for each set, one line for each algorithm."""
    lines: list[str] = []
    for kind, methods in summary.items():
        n = max(found["edge_ap"].n for found in methods.values())
        lines += ["", f"{kind}: {n} plant{'s' if n != 1 else ''}", _line("", _HEADINGS.values())]
        for method, found in methods.items():
            lines.append(_line(method, (_cell(metric, found[metric]) for metric in METRICS)))
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


def _line(name: str, cells: "Sequence[str] | object") -> str:
    widths = [_NARROW if metric in _COSTS else _WIDE for metric in METRICS]
    found = [
        f"{cell:>{width}}"
        for cell, width in zip(cells, widths, strict=True)  # pyright: ignore[reportArgumentType]
    ]
    return f"{name:<20}{''.join(found)}"


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
