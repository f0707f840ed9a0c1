"""Attention over words or over patches of an image, as HTML: shades, and numbers for the most."""

from collections.abc import Sequence
from typing import cast

from circuits.compare.page.markup import escape
from circuits.compare.storage import Json

LEAST_SAID = 0.1
"""Share of the attention from which on a word carries its number."""
_DARKEST = 0.6


def attention_html(stored: Json) -> str:
    """Where one head looks, with a line that names the head and the position it looks from.

    Args:
        stored: `attention` of one model in a failure.
    """
    line = (
        f'<p class="from">{escape(stored["node"])} ({escape(stored["contrast"])}) from '
        f"<b>{escape(stored['from'])}</b> to:</p>"
    )
    weights = [float(weight) for weight in cast("list[float]", stored["weights"])]
    if "words" in stored:
        return line + _words(stored, weights)
    return line + _patches(stored, weights)


def _words(stored: Json, weights: Sequence[float]) -> str:
    special = cast("list[bool]", stored.get("special") or [False] * len(weights))
    words = cast("list[object]", stored["words"])
    most = max(weights, default=0.0) or 1.0
    return (
        f'<p class="words">{"".join(map(_word, words, weights, special, [most] * len(words)))}</p>'
    )


def _word(word: object, weight: float, special: bool, most: float) -> str:
    style = "word special" if special else "word"
    said = f"<sup>{100 * weight:.0f}</sup>" if weight >= LEAST_SAID else ""
    return (
        f'<span class="{style}" title="{100 * weight:.0f} %"><i style="opacity:'
        f'{_DARKEST * weight / most:.2f}"></i>{escape(word)}{said}</span> '
    )


def _patches(stored: Json, weights: Sequence[float]) -> str:
    """A square for each patch, in their places."""
    rows, columns = cast("list[int]", stored["shape"])
    most = max(weights, default=0.0) or 1.0
    cells = "".join(
        f'<i style="opacity:{_DARKEST * weight / most:.2f}" title="{100 * weight:.0f} %"></i>'
        for weight in weights
    )
    strongest = max(range(len(weights)), key=weights.__getitem__)
    row, column = divmod(strongest, columns)
    rest = float(cast(float, stored.get("rest", 0.0)))
    squares = (
        f'<div class="grid" style="grid-template:repeat({rows},1fr)/repeat({columns},1fr)" '
        f'aria-hidden="true">{cells}</div>'
    )
    place, most_said = f"patch {row + 1}, {column + 1}", f"{100 * weights[strongest]:.0f}&nbsp;%"
    return (
        f'{squares}<p class="from">most: {place} (row, column), {most_said}; {100 * rest:.0f}'
        "&nbsp;% to the first token</p>"
    )
