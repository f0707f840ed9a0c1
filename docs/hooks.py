"""Puts the pages that stand at the top of the repository into the site, with their links mended.

`index.md`, `contributing.md` and `changelog.md` hold a title at most; README, CONTRIBUTING and
CHANGELOG are read when the site is built, so that nothing is written twice.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
_PAGES = {source: page for page, source in SOURCES.items()}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The text of a page; of the three above, that of the file at the top."""
    source = SOURCES.get(page.file.src_uri)
    return markdown if source is None else at_home_in_docs((ROOT / source).read_text("utf-8"))


def at_home_in_docs(markdown: str) -> str:
    """Links from the top of the repository, as links from the folder of the site.

    What is no part of the site, such as CITATION.cff, stays as text.
    """
    return re.sub(r"\[([^\]]*)\]\(([^)]*)\)", _moved, markdown)


def _moved(link: re.Match[str]) -> str:
    text, target = link.groups()
    if target in _PAGES:
        return f"[{text}]({_PAGES[target]})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')})"
    return link[0] if ":" in target or target.startswith("#") else text
