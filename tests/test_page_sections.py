"""Each section of the page says what its numbers say, and no figure is without its sentence."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any, cast

import plotly.graph_objects as go
import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from made_up_numbers import null, number
from playwright.sync_api import Browser
from results import made_up_result, matched_result

from circuits.compare.config import PAIR
from circuits.compare.figures import ComparisonFigures, report_figures
from circuits.compare.figures.both_circuits import RIBBONS
from circuits.compare.figures.edges import ROW, circuit_edges
from circuits.compare.page.behavior_section import accuracy_section, plane_section
from circuits.compare.page.circuits_section import circuits_section
from circuits.compare.page.components_section import components_section
from circuits.compare.page.diff_section import diff_section
from circuits.compare.page.examples_section import examples_section
from circuits.compare.page.headline import headline, tiles
from circuits.compare.page.interventions_section import interventions_section
from circuits.compare.page.report import render, write_report
from circuits.compare.page.stages_section import stages_section
from circuits.compare.page.trust_section import trust_section
from circuits.compare.reading import branch, listing
from circuits.compare.storage import Json

SECTIONS: tuple[Callable[[Json], str], ...] = (
    *(headline, accuracy_section, plane_section, stages_section, components_section),
    *(circuits_section, diff_section, interventions_section, examples_section, trust_section),
)
FIGURE = re.compile(r'data-figure="([^"]+)".*?<figcaption>(.*?)</figcaption>', re.DOTALL)


def words(html: str) -> str:
    """Text without its tags, with plain signs and spaces."""
    text = unescape(re.sub(r"<[^>]+>", " ", html)).replace("\u2212", "-").replace("\xa0", " ")
    return " ".join(text.split())


def tile_texts(result: Json) -> list[str]:
    return [words(part) for part in tiles(result).split('<div class="tile">')[1:]]


def notes(figure: go.Figure) -> list[str]:
    return [str(note.text) for note in cast("Any", figure.layout).annotations]


def without(result: Json, *names: str) -> Json:
    return {key: value for key, value in result.items() if key not in names}


@pytest.mark.parametrize("made", [made_up_result, matched_result])
def test_every_figure_has_its_place_and_a_sentence(made: object) -> None:
    result = cast(Json, made())  # pyright: ignore[reportCallIssue]
    placed = FIGURE.findall(render(result))
    assert sorted(name for name, _ in placed) == sorted(report_figures(result))
    assert all(words(caption).endswith(".") for _, caption in placed)


def test_three_tiles_answer_three_questions() -> None:
    lost, how_much, where = tile_texts(made_up_result())
    assert lost.startswith("Lost? Yes Loss on N 0.86 0.84 to 0.88 Loss on C 0.31 0.29 to 0.33")
    assert "Change of AUC4 -0.21 -0.23 to -0.19" in lost and "n = 400 quads" in lost
    assert how_much.startswith("How much? 12 % kept Retention 0.12 0.10 to 0.14")
    assert where.startswith("Where? From m0 on Core readable, student at m0 0.55 0.53 to 0.57")
    assert "1,200 quads for the probes" in where and "100 quads for the set" in where
    assert "two checkpoints" in words(headline(made_up_result()))


def test_the_teachers_stage_beside_is_the_nearest_and_of_two_the_earlier() -> None:
    where = tile_texts(made_up_result())[2]
    assert "Core readable, teacher at m0" not in where
    # m0 of the student is half-way up; a1 of the teacher is at 3/6.
    assert "Core readable, teacher at a1 0.75" in where


@pytest.mark.parametrize(
    ("status", "location", "said"),
    [
        ("erosion", "present, not used", "Where? Present, not used"),
        ("erosion", "not located", "Where? Not located"),
        ("erosion", None, "Where? Not measured"),
        ("no erosion", None, "Where? Nothing to locate"),
    ],
)
def test_where_says_what_the_verdict_says(status: str, location: str | None, said: str) -> None:
    result = made_up_result()
    branch(result, "verdict").update(status=status, location=location, stage=None)
    where = tile_texts(result)[2]
    assert where.startswith(said)
    assert "student at m1" in where and "teacher at m2" in where


def test_retention_below_zero_is_nothing_kept_and_none_is_said() -> None:
    result = made_up_result()
    result["retention"] = number(-0.4)
    assert tile_texts(result)[1].startswith("How much? Nothing kept Retention -0.40")
    result["retention"] = null("no plain teacher was given")
    unknown = tile_texts(result)[1]
    assert unknown.startswith("How much? 0.58 lost Retention \u2013 No plain teacher was given.")


def test_stages_are_read_with_their_numbers_and_layers_stand_below() -> None:
    said = words(stages_section(made_up_result()))
    assert "Located: from stage m0 of the student on" in said
    assert (
        "Without the shortcut the core feature is read at the end with 100 % (98 to 102) in the "
        "teacher, 60 % (58 to 62) in the student" in said
    )
    assert "The shortcut is read at the end with 52 % (50 to 54) in the teacher" in said
    assert said.index("Chance is 50 %") < said.index("All heads of a layer together")
    assert "n against l" not in said.lower().replace("N against L".lower(), "", 1)


def test_without_readings_only_whole_layers_are_left() -> None:
    result = made_up_result()
    for row in listing(result, "stages"):
        for name in ("core_AC", "core_NL", "transfer", "shortcut"):
            row[name] = null("probes were left out")
    said = words(stages_section(result))
    assert "What is decided at each stage?" in said and "probe" not in said
    assert "What do whole layers carry?" in words(stages_section(without(result, "margins")))
    assert "From m0 on" in tile_texts(result)[2] and "Core readable" not in tile_texts(result)[2]


def test_margins_say_from_which_stage_on_all_cells_are_right() -> None:
    said = words(stages_section(made_up_result()))
    assert (
        "In the teacher all four cells are on their right side from a1 on, in the mean over quads; "
        "at the end N at 10.0 (9.5 to 10.5) and C at -10.0" in said
    )
    assert "In the student there is no stage from which on all four cells" in said
    teacher, student = (ComparisonFigures(made_up_result()).margins(r) for r in PAIR)
    assert teacher.layout.yaxis.range == student.layout.yaxis.range
    # The first stage of the teacher is one that its classifier cannot read.
    assert len(teacher.data[0].x) == 6 and len(student.data[0].x) == 5
    assert said.index("Chance is 50 %") < said.index("In the teacher all four cells")


def test_margins_that_were_mapped_first_say_so() -> None:
    result = made_up_result()
    assert "affine map" not in words(stages_section(result))
    for row in listing(result, "margins"):
        row["lens"] = "tuned"
    assert "after an affine map to the last one" in words(stages_section(result))


def test_templates_are_sorted_by_their_loss() -> None:
    said = words(examples_section(made_up_result()))
    places = [said.index(f"{name} 100") for name in ("passive", "active", "prep")]
    assert places == sorted(places)
    assert (
        "passive 100 0.70 (0.65 to 0.75) teacher student 99 % (98 to 100) 97 % (96 to 98)" in said
    )


def test_a_failing_example_shows_answers_heads_and_attention() -> None:
    page = examples_section(made_up_result())
    said = words(page)
    assert "cell N · passive · truth entailment" in said
    assert "teacher : entailment , over 99 % sure (right)" in said.replace("teacher:", "teacher :")
    assert "non-entailment , 97 % sure (wrong, gives 3 % to the truth)" in said
    assert "core a1.h0 0.50, a1.h1 0.40, a1.h2 0.30; shortcut" in said
    assert "core a1.h0 8.00 logits, a1.h1 7.00 logits" in said
    # What comes from before answers were stored says what is known.
    assert "student: gives less than 1 % to the truth" in said
    shades = [float(found) for found in re.findall(r'<i style="opacity:([\d.]+)">', page)]
    assert shades[:3] == pytest.approx([0.05, 0.6, 0.35]) and len(shades) == 6
    assert said.count("[CLS]") == 2 and "60" in said and "35" in said
    assert "<script" not in page and "<b>nurse" not in page


def test_what_null_runs_said_stands_beside_what_was_found() -> None:
    said = words(trust_section(matched_result()))
    assert (
        "mean loss 0.58 swapped at random within quads, 2,000 times: 95 % of the losses lie from "
        "-0.06 to 0.06 yes (p < 0.001)" in said
    )
    assert "6 nulls, of which the best is untrained student 0: 0.09 (0.06 to 0.12) matched" in said
    assert "0.19 (0.11 to 0.27) of the loss comes back 20 random sets of its shape: -0.60" in said
    assert "falls by 0.37 (0.29 to 0.45) 20 random sets of their shape: 0.00 to 0.38 yes" in said
    assert "another example 0.02, label direction 0.10, untrained -0.30 1 of 3 nodes" in said
    assert "best stage of untrained nets: 0.54 (0.52 to 0.56) yes" not in said
    assert "best stage of the teacher: 1.00 (0.98 to 1.02)" in said


def test_reasons_of_missing_numbers_are_counted() -> None:
    said = words(trust_section(made_up_result()))
    assert "What could not be measured, and why" in said
    assert "margins the classifier reads the decoder 4" in said
    assert "tests the streams have different widths, 64 and 48 1" in said


def test_live_circuits_stand_beside_frozen_ones_and_older_results_have_none() -> None:
    result = made_up_result()
    said = words(trust_section(result))
    assert "Largest difference 0.20 (" in said and "frozen 20 %" in said
    for role in ("teacher", "student"):
        for contrast in ("core", "shortcut"):
            for point in result["models"][role]["circuits"][contrast]["faithfulness"]:
                point["frozen"] = None
    said = words(trust_section(result))
    assert "circuit 20 %" in said and "frozen" not in said


def test_both_circuits_are_one_drawing_with_a_ribbon_for_each_match() -> None:
    figure = ComparisonFigures(matched_result()).circuits()
    joined = [trace for trace in figure.data if trace.name == RIBBONS]
    links = listing(matched_result(), "alignment", "links")
    assert [trace.customdata[0].split(":")[0] for trace in joined] == [
        f"{link['teacher']} \u2013 {link['student']}" for link in links
    ]
    for role, side in (("teacher", -1), ("student", 1)):
        own = [
            (x, row)
            for trace in figure.data
            if trace.meta and trace.mode == "markers"
            for x, row in zip(trace.x, trace.customdata, strict=True)
            if row[ROW.index("label")].startswith(role)
        ]
        assert all(x * side > 0 for x, _ in own)
        assert sorted((row[1], row[0].removeprefix(f"{role} ")) for _, row in own) == sorted(
            (edge.contrast, str(edge.row()[0])) for edge in circuit_edges(matched_result(), role)
        )


def test_circuits_of_heads_that_are_not_matched_say_why_no_ribbon_is_drawn() -> None:
    figure = ComparisonFigures(made_up_result()).circuits()
    assert not [trace for trace in figure.data if trace.name == RIBBONS]
    said = words(circuits_section(made_up_result()))
    assert "No ribbons join the two, because their heads cannot be matched" in said
    assert "0.07 (0.04 to 0.10), those of the best null, untrained student 0, 0.09" in said
    assert "Ribbons join 9 matched heads" in words(circuits_section(matched_result()))


def test_a_result_of_which_no_number_is_known_is_drawn() -> None:
    result = cast(Json, without_numbers(matched_result()))
    page = render(result)
    assert "nan" not in re.findall(r"[a-z]+", words(page).lower())
    assert sorted(name for name, _ in FIGURE.findall(page)) == sorted(report_figures(result))


@pytest.mark.parametrize("part", ["diff", "tests", "stages", "margins", "templates", "alignment"])
def test_a_part_without_numbers_leaves_the_sections_as_sentences(part: str) -> None:
    result = matched_result()
    result[part] = without_numbers(result[part])
    for make in SECTIONS:
        assert "None" not in words(make(result))


def test_changes_that_could_not_be_had_are_counted_with_their_reason() -> None:
    result = matched_result()
    for node in listing(result, "diff", "nodes")[3:]:
        node.update(difference=null("the model does not respond"), q=None, stability=None)
    page = diff_section(result)
    said = words(page)
    assert "The change of 9 could not be measured: the model does not respond." in said
    rows = [words(row) for row in re.findall(r"<tr><td>.*?</tr>", page)]
    assert rows[0].startswith("a1.h0 a0.h1 core lost own -0.25") and len(rows) == 10
    assert rows[3].endswith("preserved - - - 0.75 -")
    assert "could not be measured" not in words(diff_section(matched_result()))


def without_numbers(stored: object) -> object:
    """Every number as a null with a reason, as it is stored where it could not be had."""
    if isinstance(stored, dict):
        found = cast(Json, stored)
        if "value" in found and "n" in found:
            return null("it could not be had")
        return {
            key: None if key in ("p", "q", "stability") else without_numbers(value)
            for key, value in found.items()
        }
    if isinstance(stored, list):
        return [without_numbers(each) for each in cast("list[object]", stored)]
    return stored


def test_heads_that_are_not_matched_say_so_with_the_null() -> None:
    page = components_section(made_up_result())
    said = words(page)
    assert "cannot be matched" in said and "Best null: untrained student 0, 0.090" in said
    assert "stand side by side and are not matched" in said
    assert 'class="match"' not in page and diff_section(made_up_result()) == ""


def test_matched_heads_are_listed_and_told_from_those_without_a_partner() -> None:
    page = components_section(matched_result())
    assert page.count('class="match"') == 9
    assert "Without a partner: 4 of the teacher." in words(page)
    assert "are not matched" not in words(page)


def test_the_diff_counts_its_categories_and_shows_the_ten_largest_changes() -> None:
    page = diff_section(matched_result())
    said = words(page)
    assert "Of 12 comparisons of matched nodes, each under one contrast, 3 declared" in said
    assert "9 preserved, 2 weakened, 1 lost" in said
    assert "core (1.00 of the total range): 60 % preserved, 20 % weakened, 10 % lost" in said
    rows = re.findall(r"<tr><td>.*?</tr>", page)
    assert len(rows) == 10
    assert words(rows[0]) == "a1.h0 a0.h1 core lost own -0.25 (-0.27 to -0.23) 0.001 0.90 0.98"


def test_interventions_are_told_beside_their_controls() -> None:
    said = words(interventions_section(matched_result()))
    assert "to take away, a0.h1, a1.h0, of all 255 sets, gives back 19 % (11 to 27) of" in said
    assert "at most 16 %; it does not count as removable" in said
    assert "1 of 3 nodes of the teacher give back more than all their controls" in said
    assert "gains 16 % (13 to 19) on C and N, and loses 5 % (3 to 7) on A and L" in said
    assert "more than without 19 of 20 random sets" in said


def test_what_was_not_tried_is_said_once() -> None:
    result = made_up_result()
    said = words(interventions_section(result))
    reason = "Nothing of the teacher was put into the student: the streams have different widths"
    assert said.count(reason) == 1
    assert words(render(result)).count(cast(str, branch(result, "alignment")["reason"])) == 1


def test_trust_names_the_best_null_and_small_circuits() -> None:
    said = words(trust_section(made_up_result()))
    assert "0.070 (0.040 to 0.100), the best null, untrained student 0, 0.090" in said
    assert "where 0.1 is asked for. So heads are not matched." in said
    assert "teacher, core 0.50 0.45 to 0.55 0.10 0.05 to 0.15 1.00" in said
    assert "So heads are matched." in words(trust_section(matched_result()))


def test_numbers_that_many_need_come_before_those_that_few_need() -> None:
    page = words(plane_section(made_up_result()))
    assert page.index("teacher 0.02") < page.index("Every measure of every role")
    folded = plane_section(made_up_result()), accuracy_section(made_up_result())
    assert all("<details>" in part for part in folded)


def test_a_result_from_before_stages_and_interventions_is_drawn() -> None:
    old = without(made_up_result(), "stages", "margins", "templates", "alignment", "diff")
    branch(old, "verdict").update(location=None, stage=None)
    old["tests"] = {"threshold": {"regained": number(0.02, 0.03, 200)}}
    page = render(old)
    names = {name for name, _ in FIGURE.findall(page)}
    assert names == set(report_figures(old))
    assert not names & {"nulls", "restored", "cost", "fates", "readable-core_NL", "margins-teacher"}
    assert "By template" not in page
    assert "What happens when we intervene?" not in page
    assert notes(ComparisonFigures(old).alignment()) == ["Heads were not compared."]


def test_stages_are_one_figure_in_a_notebook() -> None:
    figure = ComparisonFigures(made_up_result()).stages()
    titles = notes(figure)
    assert len(titles) == 8 and titles[-1] == "whole layers: shortcut"
    assert titles[4:6] == ["margin by depth: teacher", "margin by depth: student"]
    drawn = ComparisonFigures(made_up_result())
    shown = [drawn.readability("core_NL"), drawn.layers("core")]
    assert {t.name for f in shown for t in f.data} <= {t.name for t in figure.data}
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert len(named) == len(set(named))


def test_the_alignment_is_a_figure_or_the_sentence_why_not() -> None:
    drawn = ComparisonFigures(matched_result()).alignment().data[0]
    links = {
        (link["teacher"], link["student"])
        for link in listing(matched_result(), "alignment", "links")
    }
    assert set(zip(drawn.y, drawn.x, strict=True)) == links
    nothing = ComparisonFigures(made_up_result()).alignment()
    assert not nothing.data
    reason = notes(nothing)[0].replace("<br>", " ")
    assert reason == branch(made_up_result(), "alignment")["reason"]


def test_controls_and_costs_are_those_of_the_result() -> None:
    figures = ComparisonFigures(matched_result())
    controls, own = figures.restored().data
    assert len(controls.x) == 20 + 3 * 3
    assert list(own.x) == pytest.approx([19, 40, 20, 40 / 3])
    gains, costs = figures.cost().data
    assert list(costs.x) == pytest.approx([5, 5, 5, 5]) and gains.x[1] == pytest.approx(29)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def visit(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """A page small enough to open quickly."""
    folder = tmp_path_factory.mktemp("matched")
    result = matched_result()
    for role in ("teacher", "student"):
        for name in ("circuits", "direct", "attribution", "edges"):
            branch(result, "models", role).pop(name)
    write_report(folder, without(result, "stages"))
    return Visit(browser, folder / "report.html", 360)


LIT = """() => Object.fromEntries([...document.querySelectorAll('[data-figure^="heads-"]')]
    .map((plot) => [plot.dataset.figure,
        (plot.layout.shapes || []).map((s) => [Math.round(s.x0), Math.round(s.y0)]).sort()]))"""


@pytest.mark.browser
class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    def test_matched_heads_light_up_together_from_the_keyboard(self, visit: Visit) -> None:
        visit.page.locator("button.match").first.focus()
        # a1.h0 of the teacher and a0.h1 of the student, which a2.h3 was merged into as well.
        teacher, student = [[0, 1], [3, 2]], [[1, 0]]
        lit = visit.page.evaluate(LIT)
        assert lit["heads-teacher-core"] == lit["heads-teacher-shortcut"] == teacher
        assert lit["heads-student-core"] == lit["heads-student-shortcut"] == student
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate(LIT)["heads-teacher-core"] == [[1, 1]]
        visit.page.locator("#theme").focus()
        assert not any(visit.page.evaluate(LIT).values())

    def test_pointing_at_a_head_lights_up_its_partners(self, visit: Visit) -> None:
        place = visit.page.locator('[data-figure="heads-student-core"] .nsewdrag')
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        assert box is not None
        visit.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.75 * box["height"])
        visit.page.wait_for_function(f"({LIT})()['heads-teacher-core'].length > 0")
        lit = visit.page.evaluate(LIT)
        assert lit["heads-student-core"] == [[2, 0]] and lit["heads-teacher-core"] == [[1, 1]]

    def test_a_figure_gives_its_points_as_a_table(self, visit: Visit) -> None:
        with visit.page.expect_download() as waiting:
            visit.page.evaluate("saveTable(document.querySelector('[data-figure=nulls]'), 'nulls')")
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        assert waiting.value.suggested_filename == "nulls.csv"
        lines = text.splitlines()
        assert len(lines) == 1 + len(listing_of_nulls()) + 1
        own = next(line for line in lines if line.startswith("own pair")).split(",")
        assert [float(own[i]) for i in (1, 4, 5)] == pytest.approx([0.8, 0.77, 0.83])

    def test_downloads_are_reached_and_started_from_the_keyboard(self, visit: Visit) -> None:
        bar = visit.page.locator("[data-figure=nulls] .modebar")
        for kind in ("CSV", "PNG", "SVG"):
            button = visit.page.locator(f'[data-figure=nulls] [data-title="Download as {kind}"]')
            button.focus()
            visit.page.wait_for_function(
                "bar => getComputedStyle(bar).opacity === '1'", arg=bar.element_handle()
            )
            with visit.page.expect_download() as waiting:
                visit.page.keyboard.press("Enter")
            assert waiting.value.suggested_filename == f"nulls.{kind.lower()}"
            assert Path(waiting.value.path()).stat().st_size > 100

    def test_it_fits_a_phone_and_nothing_complains(self, visit: Visit) -> None:
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
        assert visit.complaints == []
        assert all(url.startswith(("file:", "blob:")) for url in visit.requests)


def listing_of_nulls() -> Json:
    return branch(matched_result(), "alignment", "null", "nulls")
