"""A page without figures, in the look of the report: the overview of students, and the recipe."""

from pathlib import Path
from string import Template

from circuits.compare.page.markup import escape


def sheet(
    *, title: str, overline: str, status: str, headline: str, sections: str, footer: str
) -> str:
    """The whole page; it asks nothing of a network and needs no other file.

    Args:
        title: Of the window.
        overline: What kind of page it is.
        status: A verdict, for the colour of its chip; may be empty.
        headline: HTML of ours.
        sections: HTML of ours.
        footer: HTML of ours.
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
    )
