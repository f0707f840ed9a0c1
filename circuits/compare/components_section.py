"""The part of the page on components: where the two models differ."""

from collections.abc import Mapping

from behavior.examples import Contrast
from circuits.compare import component_captions as captions
from circuits.compare.figures.heads import color_limit, head_grid, panel_height
from circuits.compare.markup import columns, escape, paragraph, plot, section
from circuits.compare.reading import attributed, contrasts, pair, panels

Result = Mapping[str, object]


def components_section(result: Result) -> str:
    """Heatmaps, whole rows by relative depth, and attribution beside exact patching."""
    present = panels(result)
    if not present:
        return ""
    n_rows = max(len(head_grid(result, role, present[0]).values) for role in pair(result))
    maps = columns(
        *(
            plot(
                f"heads-{role}-{panel}",
                captions.heads_caption(result, role, panel),
                f"Head effects, {role}, {panel}",
                panel_height(n_rows),
            )
            for panel in present
            for role in pair(result)
        )
    )
    return section(
        "components",
        "Where do the two models differ?",
        paragraph(captions.heads_summary(result)),
        _legend(result),
        maps,
        _layers(result),
        _attribution(result),
    )


def _layers(result: Result) -> str:
    present = contrasts(result)
    if not present:
        return ""
    layers = columns(
        *(
            plot(
                f"layers-{contrast}",
                captions.layers_caption(result, contrast),
                f"Whole-layer effects, {contrast}",
                380,
            )
            for contrast in present
        )
    )
    return f"<h3>{captions.all_heads(result)} together</h3>\n{layers}"


def _attribution(result: Result) -> str:
    present: list[Contrast] = [c for c in contrasts(result) if attributed(result, "student", c)]
    if not present:
        return ""
    scatters = columns(
        *(
            plot(
                f"attribution-{contrast}",
                captions.attribution_caption(result, contrast),
                f"Attribution against exact patching, {contrast}",
                420,
            )
            for contrast in present
        )
    )
    return f"<h3>How far a first-order estimate can be trusted here</h3>\n{scatters}"


def _legend(result: Result) -> str:
    limit = color_limit(result)
    return (
        f'<div class="legend"><span>&minus;{limit:.2f}</span><span class="scale"></span>'
        f"<span>+{limit:.2f}</span><span>{escape(captions.legend_sentences(result))}</span></div>"
    )
