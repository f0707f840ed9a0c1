"""A page in the look of the report: the overview of students, and the recipe over seeds."""

from collections.abc import Mapping
from pathlib import Path
from string import Template

import plotly.graph_objects as go

from circuits.compare.page.markup import escape
from circuits.compare.page.scripts import script_elements


def sheet(
    *,
    title: str,
    overline: str,
    status: str,
    headline: str,
    sections: str,
    footer: str,
    figures: Mapping[str, go.Figure] | None = None,
) -> str:
    """The whole page; it asks nothing of a network, and without figures needs no other file.

    Args:
        title: Of the window.
        overline: What kind of page it is.
        status: A verdict, for the colour of its chip; may be empty.
        headline: HTML of ours.
        sections: HTML of ours.
        footer: HTML of ours.
        figures: By the name of their place in the sections; they need plotly's script in the
            folder of the page.
    """
    home = Path(__file__).parent
    return Template((home / "sheet.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        overline=escape(overline),
        status=escape(status),
        style=(home / "page.css").read_text(encoding="utf-8"),
        headline=headline,
        sections=sections,
        footer=footer,
        scripts=script_elements(figures or {}),
    )
