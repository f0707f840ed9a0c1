"""Filters of drawn circuits: in Python, in the page, and both the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import plotly.graph_objects as go
import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from playwright.sync_api import Browser, Locator
from results import circuit_edges as all_edges
from results import made_up_result

from behavior.errors import DataError
from circuits.compare.figures import ComparisonFigures, report_figures
from circuits.compare.figures.circuit import circuit_figure, edge_traces
from circuits.compare.figures.edges import ROW, circuit_edges, parts_of, select_edges
from circuits.compare.page.edge_filters import AT_FIRST
from circuits.compare.page.report import render, write_report
from circuits.compare.reading import branch
from circuits.compare.storage import Json

ROLE = "teacher"
FORM = f'form[data-filters="circuit-{ROLE}"]'
PLOT = f'[data-figure="circuit-{ROLE}"]'
DRAWN = f"""() => document.querySelector('{PLOT}').data
    .filter((trace) => trace.meta && trace.mode === "markers" && trace.visible === true)
    .flatMap((trace) => trace.customdata.map((row) => [row[1], row[0]])).sort()"""
ARCS = f"""() => [...document.querySelectorAll('{PLOT} .scatterlayer path.js-line')]
    .map((path) => (path.getAttribute("d") || "").split("M").length - 1)
    .reduce((sum, n) => sum + n, 0)"""

Drawn = list[tuple[str, str]]


def result_with(n_edges: int | None = None) -> Json:
    """A made-up result whose scores have intervals, with another number of edges if given.

    Without cells, effects and direct paths of heads the page is small and opens quickly.
    """
    result = made_up_result()
    for role in ("teacher", "student"):
        for name in ("groups", "effects", "attribution"):
            branch(result, "models", role).pop(name)
    for contrast in ("core", "shortcut"):
        circuit = branch(result, "models", ROLE, "circuits", contrast, "circuit")
        stored = cast("list[Json]", circuit["edges"])
        if n_edges is not None:
            names = all_edges(ROLE)[:n_edges]
            stored = [{"edge": name, "score": 1 / (2 + i)} for i, name in enumerate(names)]
        scores = [cast(float, edge["score"]) for edge in stored]
        circuit["edges"] = [
            {**edge, "low": score - 0.01, "high": score + 0.01, "n": 32}
            for edge, score in zip(stored, scores, strict=True)
        ]
    return result


def drawn_in(figure: go.Figure) -> Drawn:
    """Contrast and label of every edge with a dot."""
    traces = cast("Any", figure.data)
    return sorted(
        (row[ROW.index("contrast")], row[ROW.index("label")])
        for trace in (traces[i] for i in edge_traces(figure))
        if trace.mode == "markers"
        for row in trace.customdata
    )


def test_filters_leave_what_they_say_and_are_nested() -> None:
    edges = circuit_edges(result_with(), ROLE)
    assert select_edges(edges) == edges
    few = select_edges(edges, most_edges=3)
    assert [sorted(e.rank for e in few if e.contrast == c) for c in ("core", "shortcut")] == [
        [1, 2, 3]
    ] * 2
    weakest = {c: min(abs(e.value) for e in few if e.contrast == c) for c in ("core", "shortcut")}
    assert all(abs(e.value) <= weakest[e.contrast] for e in edges if e not in few)
    by_part = [select_edges(edges, parts=[part]) for part in parts_of(edges)]
    assert len(by_part) > 3 and all(by_part)
    assert sorted(e.name for found in by_part for e in found) == sorted(e.name for e in edges)
    near = select_edges(edges, node="m1")
    assert near and all("m1" in (e.writer, e.reader) for e in near)
    assert [e for e in edges if e not in near and "m1" in (e.writer, e.reader)] == []
    assert set(near) <= set(select_edges(edges, node="m1", whole_paths=True))


def test_whole_paths_are_everything_up_and_downstream_within_one_circuit() -> None:
    result = made_up_result()
    chain = ["input->a0.h0<v>", "a0.h0->m0", "m0->a1.h1<q>", "a1.h1->logits", "input->m1"]
    other = ["a0.h0->m2", "m2->logits"]
    for contrast, names in (("core", chain), ("shortcut", other)):
        branch(result, "models", ROLE, "circuits", contrast, "circuit")["edges"] = [
            {"edge": name, "score": 1.0} for name in names
        ]
    edges = circuit_edges(result, ROLE)
    found = [edge.name for edge in select_edges(edges, node="m0", whole_paths=True)]
    assert found == chain[:4]
    found = [edge.name for edge in select_edges(edges, node="m0", whole_paths=True, parts=["q"])]
    assert found == ["m0->a1.h1<q>"]


def test_an_edge_says_its_name_interval_and_rank() -> None:
    edges = circuit_edges(result_with(), ROLE)
    strongest = next(edge for edge in edges if edge.rank == 1)
    row = dict(zip(ROW, strongest.row(), strict=True))
    assert row["score"] == "+1 logits (+0.99 to +1.01, n = 32)"
    assert row["label"] == strongest.name.replace("->", " → ").replace("<", "&lt;").replace(
        ">", "&gt;"
    )
    bare = next(edge for edge in circuit_edges(made_up_result(), ROLE) if edge.rank == 1)
    assert dict(zip(ROW, bare.row(), strict=True))["score"] == "+1 logits"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"most_edges": 0}, "most_edges is 0. Give at least 1"),
        ({"node": "a9.h9"}, "touches 'a9.h9'. Expected one of: a0"),
        ({"parts": ["qk"]}, "Unknown part: 'qk'. Expected some of: q, k, v, mlp"),
        ({"parts": []}, "No parts given"),
    ],
)
def test_a_filter_that_makes_no_sense_is_told_what_would(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ComparisonFigures(result_with()).circuit(ROLE, **given)


def test_a_notebook_has_a_slider_that_leaves_the_strongest_and_the_page_has_none() -> None:
    result = result_with()
    figure = ComparisonFigures(result).circuit(ROLE)
    (slider,) = cast("Any", figure.layout.sliders)
    sizes = [step.label for step in slider.steps]
    assert sizes[:2] == ["5", "10"] and sizes[-1] == "all"
    changed, places = slider.steps[1].args
    traces = cast("Any", figure.data)
    kept = sorted(
        (row[ROW.index("contrast")], row[ROW.index("label")])
        for place, rows in zip(places, changed["customdata"], strict=True)
        if traces[place].mode == "markers"
        for row in rows
    )
    assert kept == drawn_in(circuit_figure(result, ROLE, most_edges=10))
    for place, x, rows in zip(places, changed["x"], changed["customdata"], strict=True):
        if rows:
            each = len(traces[place].x) // len(traces[place].customdata)
            assert len(x) == each * len(rows)
    assert not report_figures(result)[f"circuit-{ROLE}"].layout.sliders


def test_without_edges_there_are_no_controls() -> None:
    result = made_up_result()
    for role in ("teacher", "student"):
        for contrast in ("core", "shortcut"):
            branch(result, "models", role, "circuits", contrast, "circuit")["edges"] = []
    page = render(result)
    assert "data-filters=" not in page and f'data-figure="circuit-{ROLE}"' in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filters")
    write_report(folder, result_with())
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(browser: Browser, page_file: Path) -> Visit:
    return Visit(browser, page_file, 1280)


@pytest.fixture
def visit(opened: Visit) -> Visit:
    """The page with its filters reset."""
    opened.page.click(f"{FORM} button[type=reset]")
    settle(opened)
    return opened


def settle(visit: Visit) -> None:
    """Wait until what was asked for is drawn."""
    visit.page.evaluate(
        "() => new Promise(done => setTimeout("
        "() => requestAnimationFrame(() => requestAnimationFrame(done)), 20))"
    )


def drawn(visit: Visit) -> Drawn:
    settle(visit)
    found = cast("list[list[str]]", visit.page.evaluate(DRAWN))
    return sorted((contrast, label) for contrast, label in found)


def state(visit: Visit) -> str:
    return visit.page.locator(f"{FORM} .state").inner_text()


def part_box(visit: Visit, part: str) -> Locator:
    return visit.page.locator(f'{FORM} input[value="{part}"]')


@pytest.mark.usefixtures("opened")
class TestInTheBrowser:
    pytestmark = NEEDS_BROWSER

    def test_all_edges_are_shown_at_first_and_after_a_reset(self, visit: Visit) -> None:
        everything = drawn_in(circuit_figure(result_with(), ROLE))
        assert drawn(visit) == everything
        assert state(visit).startswith(f"{len(everything)} of {len(everything)} edges shown:")
        assert visit.page.evaluate(ARCS) == len(everything)
        visit.page.select_option(f"{FORM} select", "m1")
        part_box(visit, "v").uncheck()
        visit.page.locator(f"{FORM} input[type=range]").fill("15")
        left = drawn(visit)
        assert 0 < len(left) < 30
        assert visit.page.evaluate(ARCS) == len(left)
        visit.page.click(f"{FORM} button[type=reset]")
        assert drawn(visit) == everything
        assert visit.page.evaluate(ARCS) == len(everything)

    def test_fewer_edges_are_the_strongest(self, visit: Visit) -> None:
        visit.page.locator(f"{FORM} input[type=range]").fill("7")
        expected = drawn_in(circuit_figure(result_with(), ROLE, most_edges=7))
        assert drawn(visit) == expected and len(expected) == 14
        n_all = len(circuit_edges(result_with(), ROLE))
        assert state(visit).startswith(f"14 of {n_all} edges shown: 7 core, 7 shortcut.")
        assert visit.page.locator(f"{FORM} output").inner_text() == "7"

    @pytest.mark.parametrize("part", ["q", "k", "mlp", "classifier"])
    def test_a_way_of_reading_alone(self, visit: Visit, part: str) -> None:
        for other in ("q", "k", "v", "mlp", "classifier"):
            if other != part:
                part_box(visit, other).uncheck()
        expected = drawn_in(circuit_figure(result_with(), ROLE, parts=[part]))
        assert drawn(visit) == expected and expected

    @pytest.mark.parametrize("node", ["m1", "a1.h2", "input", "logits"])
    def test_a_node_alone_and_with_its_paths(self, visit: Visit, node: str) -> None:
        box = visit.page.locator(f'{FORM} input[name="paths"]')
        assert box.is_disabled()
        visit.page.select_option(f"{FORM} select", node)
        near = drawn(visit)
        assert near == drawn_in(circuit_figure(result_with(), ROLE, node=node))
        names = [label.replace("&lt;", "<").partition("<")[0].split(" → ") for _, label in near]
        assert names and all(node in ends for ends in names)
        box.check()
        far = drawn(visit)
        assert far == drawn_in(circuit_figure(result_with(), ROLE, node=node, whole_paths=True))
        assert set(near) <= set(far)

    def test_all_filters_together_agree_with_python(self, visit: Visit) -> None:
        visit.page.locator(f"{FORM} input[type=range]").fill("20")
        part_box(visit, "k").uncheck()
        visit.page.select_option(f"{FORM} select", "m0")
        visit.page.locator(f'{FORM} input[name="paths"]').check()
        parts = ["q", "v", "mlp", "classifier"]
        given: dict[str, Any] = {"most_edges": 20, "parts": parts, "node": "m0"}
        expected = drawn_in(circuit_figure(result_with(), ROLE, whole_paths=True, **given))
        assert drawn(visit) == expected and expected

    def test_a_circuit_is_hidden_by_its_box_and_by_the_legend(self, visit: Visit) -> None:
        both = drawn(visit)
        part_box(visit, "shortcut").uncheck()
        core = drawn(visit)
        assert core == [edge for edge in both if edge[0] == "core"]
        assert " core, 0 shortcut." in state(visit)
        legend = visit.page.locator(f"{PLOT} .legend .traces", has_text="core, carries")
        legend.locator(".legendtoggle").click()
        visit.page.wait_for_function(
            "f => !document.querySelector(f + ' input[value=core]').checked", arg=FORM
        )
        assert drawn(visit) == [] and state(visit).startswith("0 of ")

    def test_it_works_from_the_keyboard(self, visit: Visit) -> None:
        everything = drawn(visit)
        keys = visit.page.keyboard
        visit.page.focus(f"{FORM} input[type=range]")
        keys.press("Home")
        assert len(drawn(visit)) == 2
        keys.press("ArrowRight")
        assert len(drawn(visit)) == 4
        keys.press("End")
        for value in ("core", "shortcut", "q"):
            keys.press("Tab")
            assert visit.page.evaluate("document.activeElement.value") == value
        keys.press("Space")
        assert 0 < len(drawn(visit)) < len(everything)
        visit.page.focus(f"{FORM} select")
        keys.press("ArrowDown")
        assert visit.page.evaluate("document.activeElement.value") == "input"
        assert all(label.startswith("input") for _, label in drawn(visit))
        visit.page.focus(f"{FORM} button[type=reset]")
        keys.press("Enter")
        assert drawn(visit) == everything

    def test_the_state_is_announced_and_every_control_has_a_name(self, visit: Visit) -> None:
        live = visit.page.locator(f"{FORM} [aria-live=polite]")
        assert live.count() == 1 and "edges shown" in live.inner_text()
        form = visit.page.get_by_role("form", name="Filter the circuits of the teacher")
        assert form.get_by_role("slider", name="Strongest edges").count() == 1
        assert form.get_by_role("combobox", name="Node").count() == 1
        assert form.get_by_role("checkbox").count() == 8

    def test_the_shown_edges_are_listed_by_rank(self, visit: Visit) -> None:
        visit.page.locator(f"{FORM} input[type=range]").fill("3")
        visit.page.click(f'[data-edges="circuit-{ROLE}"] summary')
        settle(visit)
        rows = visit.page.locator(f'[data-edges="circuit-{ROLE}"] tbody tr')
        assert rows.count() == 6
        ranks = [line.split("\t")[2] for line in rows.all_inner_texts()]
        assert ranks == ["1", "1", "2", "2", "3", "3"]
        assert "n = 32" in rows.first.inner_text() and "&lt;" not in rows.first.inner_text()
        visit.page.click(f'[data-edges="circuit-{ROLE}"] summary')

    def test_the_box_of_an_edge_shows_its_name_score_and_rank(self, visit: Visit) -> None:
        visit.page.evaluate(
            f"() => {{ const plot = document.querySelector('{PLOT}');"
            "const place = plot.data.findIndex(t => t.meta && t.mode === 'markers');"
            "Plotly.Fx.hover(plot, [{curveNumber: place, pointNumber: 0}]); }"
        )
        text = visit.page.locator(f"{PLOT} .hoverlayer").text_content()
        assert text is not None
        row = visit.page.evaluate(
            f"document.querySelector('{PLOT}').data.find(t => t.meta && t.mode === 'markers')"
            ".customdata[0]"
        )
        for column in ("label", "score", "rank"):
            said = str(row[ROW.index(column)])
            assert said.replace("&lt;", "<").replace("&gt;", ">") in text

    def test_the_theme_colors_the_edges(self, visit: Visit) -> None:
        ink = (
            f"document.querySelector('{PLOT}').data.find(t => t.meta && t.meta.sign === 1)"
            ".line.color"
        )
        assert visit.page.evaluate(ink) == "#b2182b"
        visit.page.click("#theme")
        assert visit.page.evaluate(ink) == "#f0705a"
        visit.page.click("#theme")

    def test_a_filtered_page_prints_without_its_controls(self, visit: Visit) -> None:
        visit.page.select_option(f"{FORM} select", "m1")
        visit.page.emulate_media(media="print")
        assert not visit.page.locator(f"{FORM} select").is_visible()
        assert visit.page.locator(f"{FORM} .state").is_visible()
        assert len(visit.page.pdf()) > 50_000
        visit.page.emulate_media(media="screen")

    def test_nothing_was_asked_of_a_network_and_nothing_complained(
        self, visit: Visit, page_file: Path
    ) -> None:
        assert visit.complaints == []
        assert {Path(url).name for url in visit.requests} == {page_file.name, "plotly.min.js"}

    def test_two_large_circuits_start_with_one_on_a_phone(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        write_report(tmp_path, result_with(150))
        phone = Visit(browser, tmp_path / "report.html", 360)
        first = drawn(phone)
        assert len(first) == 150 and {contrast for contrast, _ in first} == {"core"}
        assert state(phone).startswith("150 of 300 edges shown: 150 core, 0 shortcut.")
        part_box(phone, "shortcut").check()
        assert len(drawn(phone)) == 300
        phone.page.click(f'[data-edges="circuit-{ROLE}"] summary')
        settle(phone)
        assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
        outside = phone.page.evaluate(
            "[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > 361"
            " && !e.closest('.scroll')).map(e => e.tagName)"
        )
        assert outside == []
        phone.page.click(f"{FORM} button[type=reset]")
        assert drawn(phone) == first
        assert phone.complaints == []


def test_rows_survive_the_page_as_json() -> None:
    figure = circuit_figure(result_with(), ROLE)
    stored = json.loads(str(figure.to_json()))
    rows = [row for trace in stored["data"] if trace.get("meta") for row in trace["customdata"]]
    assert len(rows) == 2 * len(circuit_edges(result_with(), ROLE))
    assert all(len(row) == len(ROW) for row in rows)


BOTH = "[data-figure=circuits]"
SHOWN_ROWS = f"""() => document.querySelector('{BOTH}').data
    .filter((trace) => trace.meta && trace.mode === "markers" && trace.visible === true)
    .flatMap((trace) => trace.customdata)"""


class TestBothModelsInOneDrawing:
    pytestmark = NEEDS_BROWSER
    form = "form[data-filters=circuits]"

    def rows(self, visit: Visit) -> list[dict[str, object]]:
        found = visit.page.evaluate(SHOWN_ROWS)
        return [dict(zip(ROW, row, strict=True)) for row in found]

    def test_at_first_the_strongest_of_both_circuits_of_both_models_are_shown(
        self, opened: Visit
    ) -> None:
        opened.page.click(f"{self.form} button[type=reset]")
        settle(opened)
        shown = self.rows(opened)
        owners = {(str(row["label"]).split()[0], str(row["contrast"])) for row in shown}
        assert owners == {(r, c) for r in ("teacher", "student") for c in ("core", "shortcut")}
        ranks = [int(str(row["rank"])) for row in shown]
        assert max(ranks) <= AT_FIRST and len(shown) == sum(
            min(AT_FIRST, len([e for e in circuit_edges(result_with(), role) if e.contrast == c]))
            for role in ("teacher", "student")
            for c in ("core", "shortcut")
        )

    def test_core_and_shortcut_are_switched_and_strength_is_set_from_the_keyboard(
        self, opened: Visit
    ) -> None:
        opened.page.uncheck(f"{self.form} [value=shortcut]")
        opened.page.focus(f"{self.form} input[type=range]")
        opened.page.keyboard.press("Home")
        opened.page.keyboard.press("ArrowRight")
        settle(opened)
        shown = self.rows(opened)
        assert [row["contrast"] for row in shown] == ["core"] * 4
        assert sorted(int(str(row["rank"])) for row in shown) == [1, 1, 2, 2]
        assert opened.page.inner_text(f"{self.form} .state").startswith("4 of ")
        opened.page.click(f"{self.form} button[type=reset]")
        settle(opened)
        assert opened.complaints == []
