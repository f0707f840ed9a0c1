"""The scripts of a page: its figures as data, plotly from the folder of the page, and ours."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import plotly
import plotly.graph_objects as go

PLOTLY = "plotly.min.js"
SCRIPTS = ("circuit_filters.js", "matches.js", "head_panel.js", "page.js")
"""In one script element; the last one draws."""
_THEME = "theme.js"
"""For a page without figures."""


def script_elements(figures: Mapping[str, go.Figure]) -> str:
    """What stands at the end of a page; without figures it needs no other file.

    Args:
        figures: By the name that their places carry (`markup.plot`).
    """
    home = Path(__file__).parent
    if not figures:
        return f"<script>{(home / _THEME).read_text(encoding='utf-8')}</script>"
    drawn = {name: json.loads(str(figure.to_json())) for name, figure in figures.items()}
    data = json.dumps(drawn, allow_nan=False).replace("<", "\\u003c")
    ours = "\n".join((home / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return (
        f'<script type="application/json" id="figures">{data}</script>\n'
        f'<script src="{PLOTLY}"></script>\n<script>{ours}</script>'
    )


def copy_plotly(folder: Path) -> None:
    """Put plotly's script into the folder, where the page and the heatmaps look for it."""
    if not (folder / PLOTLY).is_file():
        source = Path(plotly.__file__).parent / "package_data" / PLOTLY
        shutil.copyfile(source, folder / PLOTLY)
