"""A comparison in a notebook cell: the verdict, its sentence and the three tiles."""

from collections.abc import Mapping

from circuits.compare.page.headline import tiles
from circuits.compare.page.markup import bullets, escape, more, paragraph
from circuits.compare.reading import branch, text

# Rules of a cell hold for the whole notebook, so each begins with a class of ours; colours are
# those of the notebook's own theme.
_STYLE = """
.dc-cell { font: 14px/1.5 system-ui, sans-serif; max-width: 1000px; }
.dc-cell .chip { border: 1.5px solid currentColor; border-radius: 999px; padding: 1px 10px;
  font-size: 12px; font-weight: 600; margin-right: 6px; }
.dc-cell .lead { margin: 8px 0; }
.dc-cell .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 10px; }
.dc-cell .tile { border: 1px solid rgba(128, 128, 128, 0.4); border-radius: 10px; padding: 10px 12px; }
.dc-cell .tile .name { font-weight: 600; }
.dc-cell .tile .value { font-size: 20px; font-weight: 650; }
.dc-cell .measure { margin: 4px 0; }
.dc-cell .measure .what { margin-right: 6px; }
.dc-cell .note, .dc-cell small { font-size: 12px; opacity: 0.75; }
.dc-cell .range { position: relative; height: 8px; margin: 3px 0 6px; background: rgba(128, 128, 128, 0.2); }
.dc-cell .range i, .dc-cell .range b, .dc-cell .range em { position: absolute; top: 0; bottom: 0; }
.dc-cell .range i { background: currentColor; opacity: 0.35; min-width: 3px; }
.dc-cell .range b { background: currentColor; width: 3px; }
.dc-cell .range em { background: currentColor; width: 1px; opacity: 0.5; }
"""  # noqa: E501


def notebook_html(result: Mapping[str, object]) -> str:
    """HTML for one cell; everything that is not ours is escaped."""
    stored = branch(result, "verdict").get("sentences")
    first, *others = [str(s) for s in stored] if isinstance(stored, list) and stored else [""]
    names = " to ".join(
        escape(text(result, "models", role, "checkpoint")) for role in ("teacher", "student")
    )
    return (
        f'<div class="dc-cell"><style>{_STYLE}</style>'
        f'<span class="chip">{escape(text(result, "verdict", "status"))}</span>'
        f"<strong>{names}</strong>{paragraph(first, 'lead')}"
        f"{more('What led there', bullets(others)) if others else ''}{tiles(result)}</div>"
    )
