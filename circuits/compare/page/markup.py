"""The pieces of HTML that the report is made of. Everything that is not ours is escaped here."""

import html
import re
from collections.abc import Iterable, Sequence

from behavior.estimates import Estimate
from circuits.compare.wording import interval, number

_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\d)")


def escape(text: object) -> str:
    """Text that came from a file, a checkpoint or a shell, as text."""
    return html.escape(str(text), quote=True)


def prose(text: object) -> str:
    """A sentence of ours, escaped all the same, with true minus signs before its numbers."""
    return _NEGATIVE.sub("&minus;", escape(text)).replace(" %", "&nbsp;%")


def known(estimate: Estimate, digits: int = 2) -> str:
    """A number with its interval, or a dash whose title says why there is none."""
    if estimate.value is None:
        return f'<abbr title="{escape(_sentence(estimate.reason))}">-</abbr>'
    return f'<span title="n = {estimate.n:,}">{prose(interval(estimate, digits))}</span>'


def paragraph(text: str, style: str = "") -> str:
    """One paragraph."""
    attribute = f' class="{style}"' if style else ""
    return f"<p{attribute}>{prose(text)}</p>"


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{prose(line)}</li>" for line in lines) + "</ul>"


def section(identifier: str, title: str, *parts: str) -> str:
    """A numbered part of the page."""
    body = "\n".join(part for part in parts if part)
    return f'<section id="{identifier}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def plot(name: str, caption: str, label: str, height: int) -> str:
    """The place of a figure, with the sentence that reads it."""
    return (
        f'<figure><div class="plot" data-figure="{escape(name)}" role="img" '
        f'aria-label="{escape(label)}" style="min-height:{height}px"></div>'
        f"<figcaption>{prose(caption)}</figcaption></figure>"
    )


def columns(*parts: str) -> str:
    """Side by side where there is room, one below the other on a phone."""
    return f'<div class="columns">{"".join(parts)}</div>'


def tile(question: str, answer: str, measures: Iterable[str], note: str) -> str:
    """A question with its answer, large, and below it the numbers that it rests on."""
    return (
        f'<div class="tile"><div class="name">{escape(question)}</div>'
        f'<div class="value">{prose(answer)}</div>{"".join(measures)}'
        f'<div class="note">{prose(note)}</div></div>'
    )


def measure(name: str, estimate: Estimate, limits: tuple[float, float]) -> str:
    """One number of a tile, with its interval drawn and written."""
    if estimate.value is None:
        return (
            f'<div class="measure"><span class="what">{escape(name)}</span><span>&ndash;</span>'
            f'<div class="note">{prose(_sentence(estimate.reason))}</div></div>'
        )
    return (
        f'<div class="measure"><span class="what">{escape(name)}</span>'
        f"<span><b>{_minus(number(estimate.value))}</b> <small>{_interval(estimate)}</small></span>"
        f"{_range(estimate, limits)}</div>"
    )


def more(summary: str, *parts: str) -> str:
    """What is there for whoever opens it; printing opens it as well."""
    body = "".join(part for part in parts if part)
    return f"<details><summary>{escape(summary)}</summary>{body}</details>" if body else ""


def table(caption: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls inside its own frame; the first cells of `rows` are row heads."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return (
        f'<p class="caption">{prose(caption)}</p><div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def number_row(name: str, estimates: Sequence[Estimate], digits: int = 2) -> str:
    """A row of numbers with their intervals below; the reason shows where one is missing."""
    cells = "".join(f"<td>{number_cell(e, digits)}</td>" for e in estimates)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def number_cell(estimate: Estimate, digits: int = 2) -> str:
    """A number with its interval below; the reason shows where it is missing."""
    if estimate.value is None:
        return f'<span title="{escape(estimate.reason or "")}">&ndash;</span>'
    return (
        f'<span title="n = {estimate.n:,}">{_minus(number(estimate.value, digits))}</span>'
        f"<small>{_interval(estimate, digits)}</small>"
    )


def group_row(name: str, width: int) -> str:
    """A row that heads the rows below it."""
    return f'<tr class="group"><th scope="colgroup" colspan="{width}">{escape(name)}</th></tr>'


def cell_table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    wrap: bool = True,
    stacked: bool = False,
) -> str:
    """A table of cells that wrap, or of short ones that do not; the cells are HTML of ours.

    On a phone the cells of a stacked table stand one below the other.
    """
    style = ("texts" if wrap else "texts short") + (" stacked" if stacked else "")
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<p class="caption">{prose(caption)}</p><div class="scroll" tabindex="0">'
        f'<table class="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def definitions(entries: Iterable[tuple[str, str]]) -> str:
    """Name and value, line by line; empty values are left out."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries if value
    )
    return f"<dl>{items}</dl>"


def _interval(estimate: Estimate, digits: int = 2) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    return f"{_minus(low)} to {_minus(high)}"


def _range(estimate: Estimate, limits: tuple[float, float]) -> str:
    """The interval and the value on a line, with a tick at zero."""
    start, end = limits

    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - start) / (end - start)))

    marks = ""
    if start < 0 < end:
        marks += f'<em style="left:{place(0.0):.2f}%"></em>'
    if estimate.low is not None and estimate.high is not None:
        left, right = place(estimate.low), place(estimate.high)
        marks += f'<i style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
    if estimate.value is not None:
        marks += f'<b style="left:{place(estimate.value):.2f}%"></b>'
    return f'<div class="range" aria-hidden="true">{marks}</div>'


def _minus(text: str) -> str:
    return text.replace("-", "&minus;")


def _sentence(text: str | None) -> str:
    words = (text or "not measured").strip().rstrip(".")
    return words[:1].upper() + words[1:] + "."
