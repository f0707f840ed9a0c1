"""What the model still does once a feature is erased at a stage."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from probes.compare.measuring import StageFindings
from probes.erasure import CONCEPTS, Concept
from probes.erasure_profile import Erasure
from probes.figures.panels import add_curve, by_depth, panels, place_of
from probes.figures.style import GREY, PAIR_COLORS, PAIR_SYMBOLS, Dash


def erasure_figure(stages: Mapping[str, Sequence[StageFindings]]) -> go.Figure:
    """Effect of core and shortcut, intact, with the feature erased, and with random directions."""
    titles = [f"{role}: {concept} erased" for concept in CONCEPTS for role in stages]
    found = [each for one in stages.values() for stage in one for each in stage.erasures]
    n = max((each.drop.n for each in found), default=0)
    figure = panels(
        titles,
        2,
        title="Erasing what the probe reads: is it used?",
        note="effect of the erased feature on the probability of the label; erased against as many "
        f"random directions; n = {n:,} quads",
    )
    places: list[tuple[Concept, str]] = [(each, role) for each in CONCEPTS for role in stages]
    for number, (concept, role) in enumerate(places):
        erasures = [
            each for stage in stages[role] for each in stage.erasures if each.concept == concept
        ]
        points = [(f"{e.point.name} ({e.use})", e.point.depth) for e in erasures]
        kinds: list[tuple[str, str, str, Dash]] = [
            ("intact", GREY, "line-ew-open", "dash"),
            ("random", GREY, "x", "dot"),
            ("erased", PAIR_COLORS[role], PAIR_SYMBOLS[role], "solid"),
        ]
        for kind, color, symbol, dash in kinds:
            add_curve(
                figure,
                place_of(number, 2),
                points,
                [each.effects[concept][kind] for each in erasures],
                name={"random": "random directions erased", "erased": f"{role}: erased"}.get(
                    kind, kind
                ),
                color=color,
                symbol=symbol,
                dash=dash,
            )
        _mark_used(figure, number, erasures)
    by_depth(figure, 2, "effect (probability)")
    figure.update_yaxes(range=[-0.35, 1.1])
    return figure


def _mark_used(figure: go.Figure, number: int, erasures: Sequence[Erasure]) -> None:
    used = [each for each in erasures if each.use == "used"]
    row, column = place_of(number, 2)
    figure.add_scatter(
        x=[each.point.depth for each in used],
        y=[1.05] * len(used),
        mode="markers",
        marker={"symbol": "star", "size": 9, "color": "#D55E00"},
        name="used",
        legendgroup="used",
        showlegend=number == 0,
        customdata=[[each.point.name] for each in used],
        hovertemplate="used at %{customdata[0]}<extra></extra>",
        row=row,
        col=column,
    )
