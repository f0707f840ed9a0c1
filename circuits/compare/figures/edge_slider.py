"""A slider below a drawn circuit, for notebooks: so many of the strongest edges of each circuit."""

from collections.abc import Sequence
from typing import Any, cast

import plotly.graph_objects as go

from circuits.compare.figures.circuit import edge_traces
from circuits.compare.figures.edges import ROW

_SIZES = (5, 10, 20, 50, 100, 200)
_RANK, _OF = ROW.index("rank"), ROW.index("of")
_HEIGHT = 140


def add_edge_slider(figure: go.Figure) -> go.Figure:
    """The figure with a slider over the edges that it draws; unchanged if they are few."""
    places = edge_traces(figure)
    traces = [cast("Sequence[Any]", figure.data)[i] for i in places]
    most = max((row[_OF] for trace in traces for row in trace.customdata), default=0)
    sizes = [*(size for size in _SIZES if size < most), most]
    if len(sizes) < 2:
        return figure
    steps = [
        {
            "label": "all" if size == most else str(size),
            "method": "restyle",
            "args": [_strongest(traces, size), places],
        }
        for size in sizes
    ]
    layout = cast("Any", figure.layout)
    return figure.update_layout(
        height=layout.height + _HEIGHT,
        margin_b=layout.margin.b + _HEIGHT,
        sliders=[
            {
                "active": len(steps) - 1,
                "steps": steps,
                "currentvalue": {"prefix": "strongest edges of each circuit: "},
                "pad": {"t": 150, "b": 8},
            }
        ],
    )


def _strongest(traces: Sequence[Any], size: int) -> dict[str, list[list[Any]]]:
    """Points and rows of each trace that stay."""
    kept: dict[str, list[list[Any]]] = {"x": [], "y": [], "customdata": []}
    for trace in traces:
        rows = trace.customdata
        n_points = len(trace.x) // len(rows)
        stay = [i for i, row in enumerate(rows) if row[_RANK] <= size]
        for name in ("x", "y"):
            values = list(getattr(trace, name))
            # A trace without a point would lose its entry in the legend.
            kept[name].append(
                [x for i in stay for x in values[i * n_points : (i + 1) * n_points]] or [None]
            )
        kept["customdata"].append([list(rows[i]) for i in stay])
    return kept
