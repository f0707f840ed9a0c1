"""The part of the page on heads: what each carries, and which belong together."""

from collections.abc import Mapping
from typing import cast

from circuits.compare.figures.heads import color_limit, head_grid, panel_height
from circuits.compare.figures.nulls import best_null
from circuits.compare.page import component_captions as captions
from circuits.compare.page.head_cards import head_cards
from circuits.compare.page.markup import columns, escape, paragraph, plot, section
from circuits.compare.reading import branch, heads_of, listing, matched, pair, panels, text
from circuits.compare.wording import interval

Result = Mapping[str, object]


def components_section(result: Result) -> str:
    """Heatmaps on one scale, a card for each head, and matched heads, or why there are none."""
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
    kinds = " and ".join(dict.fromkeys(heads_of(result, role) for role in pair(result)))
    return section(
        "components",
        f"Which {kinds} carry what?",
        paragraph(captions.heads_summary(result)),
        _matching(result),
        paragraph(
            "Click a cell of a map for all that is known of it; with the keyboard, go to a map, "
            "move with the arrow keys and press Enter.",
            "hint",
        ),
        _legend(result),
        maps,
        head_cards(result),
    )


def _matching(result: Result) -> str:
    """Whether heads can be matched, with the null; where they can, the list that lights them up."""
    reason = text(result, "alignment", "reason")
    if not text(result, "alignment", "level"):
        return ""
    if not matched(result):
        null = best_null(result)
        beside = f" Best null: {null[0]}, {interval(null[1], 3)}." if null else ""
        return paragraph(f"{reason}{beside}")
    links = listing(result, "alignment", "links")
    buttons = "".join(
        f'<button type="button" class="match" data-teacher="{escape(link["teacher"])}" '
        f'data-student="{escape(link["student"])}">{escape(link["teacher"])} &ndash; '
        f"{escape(link['student'])} <small>{cast(float, link['similarity']):.2f}</small></button>"
        for link in links
    )
    alone = [
        f"{len(cast('list[str]', heads))} of the {role}"
        for role, heads in branch(result, "alignment", "unmatched").items()
        if heads
    ]
    said = f" Without a partner: {' and '.join(alone)}." if alone else ""
    return (
        paragraph(
            f"{reason}{said} Point at a head, or choose a match below (teacher, student, "
            "similarity): matched heads light up together in all maps."
        )
        + f'<div class="matches" role="group" aria-label="Matched heads">{buttons}</div>'
    )


def _legend(result: Result) -> str:
    limit = color_limit(result)
    return (
        f'<div class="legend"><span>&minus;{limit:.2f}</span><span class="scale"></span>'
        f"<span>+{limit:.2f}</span><span>{escape(captions.legend_sentences(result))}</span></div>"
    )
