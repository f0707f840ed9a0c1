"""Draws the figures of the site from stored comparisons of the bundled models.

    python -m circuits.compare teacher student
    python -m circuits.compare vit-teacher vit-student
    python -m circuits.compare resnet-teacher resnet-student
    python docs/figures/draw.py runs docs/images

Each figure is a function from stored results, or from the bundled teacher, to a plotly figure.
Nothing is drawn by hand; a Chrome or Chromium writes the SVG files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import torch
from torch import nn

from behavior import load_task
from behavior.estimates import Estimate
from behavior.inputs import Input
from circuits.compare import Comparison
from circuits.compare.figures.style import FONT
from circuits.compare.reading import estimate
from circuits.secants import norm_secant
from patching import PatchableModel, load_checkpoint

PAIRS = {
    "teacher-student": "BERT, words",
    "vit-teacher-vit-student": "ViT, digits",
    "resnet-teacher-resnet-student": "ResNet, digits",
}
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8f98"
WIDTH = 720


def main(runs: Path, images: Path) -> None:
    """Write every figure as SVG."""
    results = {name: Comparison.load(runs / name) for name in PAIRS}
    pair = results["teacher-student"]
    for name, figure in {
        "quads": pair.figures.accuracy(),
        "losses": losses_figure(pair),
        "transports": transports_figure(),
        "stages": pair.figures.readability("core_NL"),
        "nulls": pair.figures.nulls(),
        "heads": pair.figures.heads("student", "core"),
        "verdict": verdict_figure(results),
    }.items():
        figure.update_layout(
            width=WIDTH, font_family=FONT, paper_bgcolor="white", plot_bgcolor="white"
        )
        figure.write_image(images / f"{name}.svg")


def losses_figure(pair: Comparison) -> go.Figure:
    """What the student lost on C and on N, and how much of it another threshold gives back."""
    result = pair.result
    rows = [
        ("lost on N (right core, no shortcut)", estimate(result, "losses", "N")),
        ("lost on C (wrong core, shortcut present)", estimate(result, "losses", "C")),
        ("mean of both", estimate(result, "losses", "mean")),
        ("accuracy lost, threshold as trained", estimate(result, "tests", "threshold", "loss")),
        (
            "share of it that another threshold regains",
            estimate(result, "tests", "threshold", "regained"),
        ),
    ]
    figure = go.Figure()
    for i, (name, found) in enumerate(rows):
        figure.add_scatter(**_point(found, len(rows) - i, BLUE if i < 3 else ORANGE, name))
    return _labelled(
        figure,
        [f"{name}, n = {found.n}" for name, found in rows],
        "What the bundled student lost against its teacher",
        "probability of the right answer (blue); accuracy, and share (orange); 95 % intervals",
    )


def verdict_figure(results: dict[str, Comparison]) -> go.Figure:
    """The mean loss of the three bundled pairs beside the limit of .10, and what is said of it."""
    rows = []
    for name, title in PAIRS.items():
        verdict = results[name].verdict
        said = (
            verdict.status if verdict.location is None else f"{verdict.status}, {verdict.location}"
        )
        rows.append((f"{title}: {said}", estimate(results[name].result, "losses", "mean")))
    figure = go.Figure()
    figure.add_vrect(x0=-0.1, x1=0.1, fillcolor=GREY, opacity=0.18, line_width=0)
    for i, (name, found) in enumerate(rows):
        figure.add_scatter(**_point(found, len(rows) - i, BLUE, name))
    return _labelled(
        figure,
        [f"{name}; n = {found.n} quads" for name, found in rows],
        "Three bundled pairs and their verdicts; grey: within delta = 0.10",
        "mean loss on C and N, in probability of the right answer; 95 % intervals",
        at=0.12,
    )


@torch.no_grad()
def transports_figure(n: int = 64) -> go.Figure:
    """How far three linear rules miss the change that a LayerNorm of the teacher really makes."""
    model = load_checkpoint("teacher")
    pairs = load_task("nli-overlap").pairs("core", n=4 * n)
    sizes = [len(row) for row in model.tokens(pairs.clean)]
    usual = max(sizes, key=sizes.count)
    pairs = pairs.take([i for i, size in enumerate(sizes) if size == usual][:n])
    norms = {name: m for name, m in model.hf.named_modules() if isinstance(m, nn.LayerNorm)}
    first, second = (_inputs_of(model, norms, given) for given in (pairs.clean, pairs.corrupted))
    errors: dict[str, list[float]] = {"one run's norm, frozen": [], "tangent": [], "secant": []}
    for name, norm in norms.items():
        one, other = first[name], second[name]
        change, real = other - one, norm(other) - norm(one)
        frozen = norm.weight * (change - change.mean(-1, keepdim=True)) * _r(norm, one)
        guesses = (
            frozen,
            norm_secant(norm, one, one)(change),
            norm_secant(norm, one, other)(change),
        )
        for rule, guess in zip(errors, guesses, strict=True):
            errors[rule].append(float((guess - real).norm() / real.norm()))
    figure = go.Figure()
    for (rule, found), color, symbol in zip(
        errors.items(), (GREY, ORANGE, BLUE), ("square", "diamond", "circle"), strict=True
    ):
        figure.add_scatter(
            x=[_short(name) for name in norms],
            y=found,
            name=rule,
            mode="markers",
            marker={"color": color, "size": 11, "symbol": symbol},
        )
    figure.update_yaxes(type="log", title="error / size of the real change", exponentformat="power")
    figure.update_xaxes(title="LayerNorm of the bundled teacher, in order")
    return figure.update_layout(
        title=f"A change through a LayerNorm, by three linear rules; n = {len(pairs)} core pairs",
        template="plotly_white",
        height=380,
        legend={"orientation": "h", "y": 1.12},
    )


def _inputs_of(
    model: PatchableModel, norms: dict[str, nn.LayerNorm], given: Sequence[Input]
) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
        for name, norm in norms.items()
    ]
    try:
        model.logits(given, batch_size=len(given))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _r(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    return 1 / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + norm.eps)


def _short(name: str) -> str:
    layer = "".join(part for part in name.split(".") if part.isdigit())
    if not layer:
        return "embedding"
    return f"after a{layer}" if "attention" in name else f"after m{layer}"


def _point(found: Estimate, y: float, color: str, name: str) -> dict[str, object]:
    return {
        "x": [found.value],
        "y": [y],
        "mode": "markers",
        "marker": {"color": color, "size": 11},
        "name": name,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [found.high - found.value],
            "arrayminus": [found.value - found.low],
        },
    }


def _labelled(
    figure: go.Figure, names: list[str], title: str, axis: str, at: float = -0.12
) -> go.Figure:
    for i, name in enumerate(names):
        figure.add_annotation(
            x=at, y=len(names) - i + 0.34, text=name, showarrow=False, xanchor="left"
        )
    figure.update_xaxes(range=[-0.13, 1.0], title=axis, zeroline=True)
    figure.update_yaxes(range=[0.6, len(names) + 0.6], showticklabels=False, showgrid=False)
    return figure.update_layout(
        title=title, template="plotly_white", showlegend=False, height=130 + 62 * len(names)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
