"""The page in a real headless Chromium: drawn, quiet, offline, readable on a phone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from playwright.sync_api import Browser
from results import made_up_image_result, made_up_result, matched_result

from behavior.images import encode_data_uri
from circuits.compare.figures import report_figures
from circuits.compare.heatmaps import write_heatmaps
from circuits.compare.page.report import render, write_report

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_report(folder, matched_result())
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def desktop(browser: Browser, page_file: Path) -> Visit:
    return Visit(browser, page_file, 1280)


def test_every_figure_is_drawn(desktop: Visit) -> None:
    drawn = desktop.page.evaluate(
        "[...document.querySelectorAll('.plot')]"
        ".map(p => p.querySelectorAll('svg.main-svg').length)"
    )
    assert len(drawn) == len(report_figures(matched_result()))
    assert all(n > 0 for n in drawn)


def test_the_browser_does_not_complain(desktop: Visit) -> None:
    assert desktop.complaints == []


def test_nothing_is_asked_of_a_network(desktop: Visit, page_file: Path) -> None:
    names = {Path(url).name for url in desktop.requests}
    assert all(url.startswith("file://") for url in desktop.requests)
    assert names == {page_file.name, "plotly.min.js"}


def test_example_text_stays_text(desktop: Visit) -> None:
    assert desktop.page.evaluate("window.broken") is None
    assert desktop.page.evaluate("window.shaded") is None
    assert desktop.page.query_selector(".case img, .case script") is None
    assert desktop.page.get_by_text("<script>window.broken = true</script>").count() == 1
    assert desktop.page.get_by_text("<script>window.shaded = true</script>").count() == 5


def test_an_image_is_shown_and_anything_else_stays_text(browser: Browser, tmp_path: Path) -> None:
    uri = encode_data_uri(np.full((8, 6, 3), 200, dtype=np.uint8))
    write_report(tmp_path, made_up_image_result(uri))
    visit = Visit(browser, tmp_path / "report.html", 360)
    image = visit.page.locator(".case img")
    assert image.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [6, 8]
    assert image.get_attribute("alt") == "cell C, truth 3"
    assert visit.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in visit.requests)
    write_report(tmp_path, made_up_image_result('http://x/y.png"><script>window.broken=1</script>'))
    other = Visit(browser, tmp_path / "report.html", 1280)
    assert other.page.locator(".case img").count() == 0
    assert other.page.evaluate("window.broken") is None


def test_no_overflow_at_360_pixels(browser: Browser, page_file: Path) -> None:
    phone = Visit(browser, page_file, 360)
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
    outside = phone.page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > 361"
        " && !e.closest('.scroll')).map(e => e.tagName)"
    )
    assert outside == []
    assert phone.complaints == []


def test_dark_mode_follows_the_system_and_the_button(browser: Browser, page_file: Path) -> None:
    dark = Visit(browser, page_file, 1280, "dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert dark.page.evaluate(background) == "rgb(20, 23, 27)"
    dark.page.click("#theme")
    assert dark.page.evaluate(background) == "rgb(246, 247, 249)"
    ink = "document.querySelector('.js-plotly-plot').layout.font.color"
    assert dark.page.evaluate(ink) == "#1d2126"
    assert dark.complaints == []


def test_the_button_works_from_the_keyboard(browser: Browser, page_file: Path) -> None:
    visit = Visit(browser, page_file, 1280)
    visit.page.focus("#theme")
    visit.page.keyboard.press("Enter")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_figures_and_tables_do_not_overlap_their_captions(desktop: Visit) -> None:
    overlaps = desktop.page.evaluate(
        "[...document.querySelectorAll('figure')].filter(f => f.querySelector('.plot')"
        ".getBoundingClientRect().bottom > f.querySelector('figcaption').getBoundingClientRect()"
        ".top + 1).length"
    )
    assert overlaps == 0


def test_it_prints(desktop: Visit) -> None:
    assert len(desktop.page.pdf()) > 50_000


def test_without_plotly_the_page_says_what_is_missing(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(made_up_result()), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    missing = page.get_by_text("plotly.min.js in the folder of this page")
    assert missing.count() == len(report_figures(made_up_result()))


def test_heatmaps_are_drawn_as_pictures(tmp_path: Path) -> None:
    assert write_heatmaps(tmp_path, made_up_result()) == ()
    pictures = sorted(path.name for path in (tmp_path / "heatmaps").glob("*.png"))
    assert pictures == [
        "student-core.png",
        "student-shortcut.png",
        "teacher-core.png",
        "teacher-shortcut.png",
    ]
    assert "<svg" in (tmp_path / "heatmaps/teacher-core.svg").read_text(encoding="utf-8")
