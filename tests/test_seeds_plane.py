"""The core-shortcut plane of several seeds: a dot for each seed of each role."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from playwright.sync_api import Browser
from results import made_up_result, number

from circuits.compare.figures.plane import plane_figure
from circuits.compare.figures.seeds_plane import plane_roles, seeds_plane_figure
from circuits.compare.page.captions import plane_caption
from circuits.compare.page.scripts import copy_plotly
from circuits.compare.reading import branch
from circuits.compare.recipe.comparable import Run
from circuits.compare.recipe.page import render_recipe
from circuits.compare.recipe.summary import summarize
from circuits.compare.storage import Json

EFFECTS = ((0.4, 0.6), (0.5, 0.5), (0.7, 0.2))
"""Core and shortcut effect of the students."""


def seed_run(seed: int) -> Run:
    result = made_up_result()
    branch(result, "config").update(seed=seed, delta=0.1)
    for role in branch(result, "models"):
        branch(result, "models", role)["digest"] = f"{role}-{seed}"
    core, shortcut = EFFECTS[seed]
    branch(result, "models", "student", "behavior").update(
        core_effect=number(core, 0.03), shortcut_effect=number(shortcut, 0.03)
    )
    return Run(Path(f"run-{seed}"), result)


@pytest.fixture(scope="module")
def stored() -> Json:
    return summarize([seed_run(seed) for seed in range(len(EFFECTS))])


def test_there_is_a_dot_for_each_seed_of_each_role(stored: Json) -> None:
    traces = {trace.name: trace for trace in cast("Any", seeds_plane_figure(stored)).data}
    students = traces["student"]
    assert list(zip(students.x, students.y, strict=True)) == list(EFFECTS)
    assert students.error_x.array == pytest.approx([0.03] * 3)
    assert [names[0] for names in students.customdata] == ["run-0", "run-1", "run-2"]
    assert {"teacher", "teacher, plain", "student, debiased"} < set(traces)
    joined = traces["one seed"]
    assert list(joined.x)[1::3] == [core for core, _ in EFFECTS]
    assert list(joined.x)[0::3] == list(traces["teacher"].x)


def test_a_seed_without_numbers_has_no_dot_and_a_summary_without_the_plane_no_figure() -> None:
    runs = [seed_run(seed) for seed in range(len(EFFECTS))]
    branch(runs[1].result, "models", "student", "behavior")["core_effect"] = {
        "value": None,
        "reason": "not measured",
        "n": 0,
    }
    stored = summarize(runs)
    traces = {trace.name: trace for trace in cast("Any", seeds_plane_figure(stored)).data}
    assert list(traces["student"].x) == [0.4, 0.7]
    older = {key: value for key, value in stored.items() if key != "plane"}
    assert plane_roles(older) == ()
    page = render_recipe(older)
    assert "data-figure=" not in page and "plotly.min.js" not in page


def test_other_seeds_of_a_comparison_are_dots_beside_their_model() -> None:
    result = made_up_result()
    without = len(cast("Any", plane_figure(result)).data)
    assert "other seeds" not in plane_caption(result)
    result["twin_cues"] = [
        {
            "model": f"teacher_twin_{i}",
            "of": "teacher",
            "core_effect": number(0.9 - 0.1 * i, 0.02),
            "shortcut_effect": number(0.1 * i, 0.02),
        }
        for i in range(3)
    ]
    traces = {trace.name: trace for trace in cast("Any", plane_figure(result)).data}
    assert list(traces["teacher, other seeds"].x) == pytest.approx([0.9, 0.8, 0.7])
    assert "student, other seeds" not in traces
    assert len(cast("Any", plane_figure(result)).data) == without + 1
    assert "Small dots are 3 models from other seeds." in plane_caption(result)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.mark.browser
class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    def test_the_page_of_a_recipe_draws_it_without_a_network_on_a_phone(
        self, browser: Browser, stored: Json, tmp_path: Path
    ) -> None:
        page = render_recipe(stored)
        # (0.6 + 0.5 + 0.2) / 3, and Student's t with two degrees of freedom.
        assert "0.43 (&minus;0.08 to 0.95) in the student" in page
        (tmp_path / "summary.html").write_text(page, encoding="utf-8")
        copy_plotly(tmp_path)
        visit = Visit(browser, tmp_path / "summary.html", 360)
        assert visit.page.locator("[data-figure=plane] svg.main-svg").count() > 0
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
        assert visit.complaints == []
        assert {Path(url).name for url in visit.requests} == {"summary.html", "plotly.min.js"}
        visit.page.click("#theme")
        assert visit.page.evaluate("document.documentElement.dataset.theme") == "dark"
