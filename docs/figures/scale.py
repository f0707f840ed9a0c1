"""Draws what is left of the debiasing against the size of the student, from the stored tables.

    python docs/figures/scale.py docs/evidence/controls/intervals.csv docs/images

Each point is a mean over seeds with its t interval.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

MEASURE = "spurious_share"
ROLES = {
    "student": ("distilled from a debiased teacher (g)", "#D55E00", "square"),
    "student-debiased": ("debiased itself, no teacher (f_S)", "#0072B2", "circle"),
}
PANELS = {
    "width, two layers (channels)": {16: "+w16", 32: "+w32", 48: "", 64: "+w64"},
    "depth, 48 channels (layers)": {1: "+d1", 2: "", 3: "+d3"},
}


def main(table: Path, images: Path) -> None:
    """Write the figure as SVG."""
    with table.open(encoding="utf-8") as file:
        rows = {row["recipe"]: row for row in csv.DictReader(file) if row["measure"] == MEASURE}
    scale_figure(rows).write_image(images / "scale.svg")


def scale_figure(rows: Mapping[str, Mapping[str, str]]) -> go.Figure:
    """The spurious share along the width and along the depth.

    Args:
        rows: Recipe -> its row of `intervals.csv`.
    """
    figure = make_subplots(cols=len(PANELS), shared_yaxes=True, horizontal_spacing=0.06)
    for column, (axis, variants) in enumerate(PANELS.items(), start=1):
        for role, (name, color, symbol) in ROLES.items():
            points = {size: rows[f"{role}{variant}"] for size, variant in variants.items()}
            means, lows, highs = (
                [float(row[end]) for row in points.values()] for end in ("mean", "low", "high")
            )
            figure.add_scatter(
                x=list(points),
                y=means,
                error_y={
                    "symmetric": False,
                    "array": [high - mean for high, mean in zip(highs, means, strict=True)],
                    "arrayminus": [mean - low for mean, low in zip(means, lows, strict=True)],
                },
                name=name,
                marker={"color": color, "symbol": symbol, "size": 9},
                line={"color": color},
                showlegend=column == 1,
                row=1,
                col=column,
            )
        figure.update_xaxes(title=axis, tickvals=list(variants), row=1, col=column)
    n_seeds = " or ".join(sorted({row["n"] for row in rows.values()}))
    figure.update_yaxes(title="spurious share (0 core, 1 shortcut)", row=1, col=1)
    figure.update_layout(
        title=f"What the student uses, by its size (mean of {n_seeds} seeds, 95 %)",
        template="plotly_white",
        width=720,
        height=380,
        legend={"orientation": "h", "y": -0.25},
    )
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
