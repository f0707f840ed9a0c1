"""The folder `heatmaps/`: head effects as tables, interactive pages and pictures.

Tables are always written. Pictures need a Chrome (kaleido drives it); all are drawn in one go, and
where there is none one line says what to install.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go

from circuits.compare.config import Role
from circuits.compare.figures.heads import heads_figure, node_rows
from circuits.compare.page.scripts import PLOTLY, copy_plotly
from circuits.compare.pictures import draw_pictures
from circuits.compare.reading import Panel, pair, panels

FOLDER = "heatmaps"
FORMATS = ("png", "svg")
COLUMNS: tuple[str, ...] = ("node", "value", "low", "high", "q", "n")

NO_CHROME = (
    "The heatmaps were not drawn as PNG and SVG: no Chrome or Chromium was found. Install one "
    "(apt-get install chromium, or run plotly_get_chrome) and draw them with python -m "
    "circuits.report."
)


def write_heatmaps(
    folder: Path, result: Mapping[str, object], *, figures: bool = True
) -> tuple[str, ...]:
    """Write all heatmaps of a result; the remarks say what could not be drawn."""
    maps: list[tuple[Role, Panel]] = [
        (role, panel) for role in pair(result) for panel in panels(result, role)
    ]
    if not maps:
        return ()
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    for role, panel in maps:
        _write_table(target / f"{role}-{panel}.csv", result, role, panel)
    if not figures:
        return ()
    copy_plotly(folder)
    drawn = {target / f"{role}-{panel}": heads_figure(result, role, panel) for role, panel in maps}
    for path, figure in drawn.items():
        figure.write_html(path.with_suffix(".html"), include_plotlyjs=f"../{PLOTLY}")
    return _write_pictures(list(drawn.values()), list(drawn))


def _write_table(path: Path, result: Mapping[str, object], role: Role, panel: Panel) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(node_rows(result, role, panel))


def _write_pictures(figures: Sequence[go.Figure], paths: Sequence[Path]) -> tuple[str, ...]:
    files = [
        (figure, path.with_suffix(f".{kind}"))
        for kind in FORMATS
        for figure, path in zip(figures, paths, strict=True)
    ]
    reason = draw_pictures([figure for figure, _ in files], [path for _, path in files])
    if "Chrome" in reason:
        return (NO_CHROME,)
    return (f"The heatmaps were not drawn as PNG and SVG ({reason}).",) if reason else ()
