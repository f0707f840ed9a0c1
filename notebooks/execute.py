"""Run notebooks and store them with their outputs: `python notebooks/execute.py [FILE.ipynb ...]`.

Pictures are put on white and brought to 256 colours, which makes them a quarter of the size and
readable on a dark page.
"""

import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

HOME = Path(__file__).parent
PNG = "image/png"
LIMIT = 600


def execute(path: Path) -> None:
    """Run one notebook in its folder and write it back, without times and other traces."""
    start = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, record_timing=False, resources=where).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            _shrink(output.get("data", {}))
    nbformat.write(notebook, path)
    size = path.stat().st_size / 1000
    sys.stdout.write(f"{path.name}: {time.monotonic() - start:.0f} s, {size:.0f} kB\n")
    if size > LIMIT:
        raise SystemExit(f"{path.name} is larger than {LIMIT} kB. Show fewer figures.")


def _shrink(data: dict[str, Any]) -> None:
    if PNG not in data:
        return
    drawn = Image.open(io.BytesIO(base64.b64decode(data[PNG]))).convert("RGBA")
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    stored = io.BytesIO()
    page.convert("RGB").quantize(256).save(stored, "png", optimize=True)
    data[PNG] = base64.b64encode(stored.getvalue()).decode()


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(map(str, HOME.glob("*.ipynb"))):
        execute(Path(name))
