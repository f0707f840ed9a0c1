"""A head of the maps opens by mouse, by keyboard and on a phone; its card says what is stored."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from playwright.sync_api import Browser
from results import made_up_result, matched_result
from test_page_sections import without, words

from circuits.compare.figures.edges import circuit_edges
from circuits.compare.page.head_cards import card_id, head_cards
from circuits.compare.page.head_examples import attention_of
from circuits.compare.page.report import render, write_report
from circuits.compare.reading import branch, estimate, listing, stored_nodes
from circuits.compare.storage import Json
from circuits.compare.wording import interval, number

MAP = '[data-figure="heads-{}-core"]'
PLACE = """([map, row, column]) => {
    const plot = document.querySelector(map);
    plot.scrollIntoView({block: "center"});
    const {left, top} = plot.getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
    return [left + xaxis._offset + xaxis.d2p(column), top + yaxis._offset + yaxis.d2p(row)];
}"""
FOCUSED = "document.activeElement.dataset.figure"


def small_result() -> Json:
    """Matched heads; without what the cards do not show, so that the page opens quickly."""
    result = without(matched_result(), "margins", "similarity", "templates")
    for role in ("teacher", "student"):
        for name in ("groups", "attribution", "direct"):
            branch(result, "models", role).pop(name)
    return result


def card(result: Json, role: str, node: str) -> str:
    page = head_cards(result)
    found = re.search(rf'id="{re.escape(card_id(role, node))}".*?</div></details>', page, re.DOTALL)
    assert found is not None
    return words(f"<i {found[0]}")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_report(folder, small_result())
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


def test_every_node_of_the_maps_has_one_card() -> None:
    result = matched_result()
    page = head_cards(result)
    for role in ("teacher", "student"):
        for node in stored_nodes(result, role, "core"):  # pyright: ignore[reportArgumentType]
            assert page.count(f'id="{card_id(role, node)}"') == 1
    assert len(re.findall('class="card"', page)) == 15 + 10


def test_a_card_says_the_numbers_of_the_result() -> None:
    result = matched_result()
    said = card(result, "teacher", "a1.h0")
    for contrast in ("core", "shortcut"):
        stored = branch(result, "models", "teacher", "effects", contrast, "nodes")
        for found, digits in (
            (estimate(stored, "a1.h0"), 3),
            (estimate(stored, "a1.h0", "logits"), 2),
        ):
            assert interval(found, digits).replace("(", " ").replace(")", "").split()[0] in said
        own = [e for e in circuit_edges(result, "teacher") if e.contrast == contrast]
        strongest = min((e for e in own if e.reader == "a1.h0"), key=lambda e: e.rank)
        assert f"{contrast}, in : from {strongest.writer} as {strongest.part} " in said
        assert f"({strongest.rank} of {strongest.of})" in said
    link = next(e for e in listing(result, "alignment", "links") if e["teacher"] == "a1.h0")
    assert f"{link['student']} , similarity {number(float(str(link['similarity'])))}" in said
    assert "a1.h0 and a0.h1, core: lost , change -0.25 (-0.27 to -0.23) , q 0.001" in said
    before, after = (
        next(r for r in listing(result, "stages") if (r["model"], r["stage"]) == ("teacher", stage))
        for stage in ("m0", "a1")
    )
    read = [number(estimate(row, "core_NL").value) for row in (before, after)]
    assert re.search(rf"\(N against L\) {read[0]} .*? {read[1]} ", said)


def test_a_card_says_where_its_head_stands_and_looks_on_failing_examples() -> None:
    result = matched_result()
    failure = listing(result, "failures")[0]
    said = card(result, "teacher", "a1.h1")
    assert "Among the strongest heads on 1 of 1" in said
    assert "core no. 2 with 0.40 of its range; shortcut no. 2 with 0.40 of its range" in said
    looks = attention_of(failure, "teacher", "a1.h1")
    assert [each["weights"] for each in looks] == [[0.2, 0.1, 0.7]]
    assert "a1.h1 (shortcut) from doctor to:" in said and "doctor 70" in said
    assert "On none of the 1 is it among the strongest" in card(result, "teacher", "a0.h0")
    assert attention_of(failure, "student", "a1.h1") == []


def test_what_is_not_known_is_said_on_the_card() -> None:
    result = made_up_result()
    assert "Heads of these models cannot be matched; why is said above" in card(
        result, "student", "a0.h0"
    )
    bare = without(result, "stages", "alignment", "diff", "failures")
    for role in ("teacher", "student"):
        branch(bare, "models", role).pop("circuits")
    said = card(bare, "student", "a0.h0")
    assert "core : no circuit (none was sought)" in said and "Heads were not compared" in said
    assert "What can be read" not in said and "failing examples" not in said
    result["failures"] = [{**each, "id": "<b>"} for each in listing(result, "failures")]
    assert "<script>window" not in head_cards(result)


def test_a_click_opens_a_head_and_escape_gives_the_focus_back(
    browser: Browser, page_file: Path
) -> None:
    visit = Visit(browser, page_file, 1280)
    page = visit.page
    page.mouse.click(*page.evaluate(PLACE, [MAP.format("teacher"), 1, 0]))
    panel = page.locator("#panel")
    assert panel.get_by_role("heading", level=2).inner_text() == "teacher, a1.h0"
    assert "Its strongest edges" in panel.inner_text()
    panel.get_by_role("link", name="a0.h1", exact=True).first.click()
    assert panel.get_by_role("heading", level=2).inner_text() == "student, a0.h1"
    page.keyboard.press("Escape")
    assert not panel.is_visible()
    assert page.evaluate(FOCUSED) == "heads-teacher-core"
    assert page.evaluate("[window.broken, window.shaded]") == [None, None]
    assert visit.complaints == []
    assert all(url.startswith("file://") for url in visit.requests)


def test_arrows_and_enter_open_a_head_in_the_dark_on_a_phone(
    browser: Browser, page_file: Path
) -> None:
    visit = Visit(browser, page_file, 360, "dark")
    page = visit.page
    page.focus(MAP.format("student"))
    for key in ("ArrowUp", "ArrowUp", "ArrowRight"):  # two rows: the second ArrowUp stays
        page.keyboard.press(key)
    assert "a1.h1" in page.locator("#pointed").inner_text()
    page.keyboard.press("Enter")
    panel = page.locator("#panel")
    assert panel.get_by_role("heading", level=2).inner_text() == "student, a1.h1"
    assert panel.evaluate("p => getComputedStyle(p).backgroundColor") == "rgb(28, 32, 38)"
    outside = panel.evaluate(
        "p => [...p.querySelectorAll('*')].filter(e => !e.closest('.scroll *') &&"
        " (e.getBoundingClientRect().right > 361 || e.getBoundingClientRect().left < 0)).length"
    )
    assert outside == 0 and page.evaluate("document.documentElement.scrollWidth") == 360
    page.keyboard.press("Enter")  # on the button that closes it
    assert not panel.is_visible() and page.evaluate(FOCUSED) == "heads-student-core"
    assert visit.complaints == []


def test_without_scripts_the_cards_unfold(browser: Browser, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.get_by_text("All heads and MLPs, one by one").click()
    unfolded = page.locator(f'[id="{card_id("student", "a1.h1")}"]')
    unfolded.locator("> summary").click()
    assert unfolded.get_by_text("Its counterpart in the teacher").is_visible()
    context.close()


def test_a_page_without_maps_has_no_panel() -> None:
    result = made_up_result()
    for role in ("teacher", "student"):
        branch(result, "models", role).pop("effects")
    assert head_cards(result) == "" and 'id="panel"' not in render(result)


pytestmark = NEEDS_BROWSER
