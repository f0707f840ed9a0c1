"""The page: drawn from a stored result alone, opens from disk without a network.

1. The verdict, with three tiles: lost? how much? where?
2. All roles side by side: accuracy by cell, confidence when wrong, agreement with the teacher.
3. The core-shortcut plane, and every measure of every role.
4. What can be read at each stage of each model, and what whole layers do; how similar the stages
   of both models are.
5. Heads on one scale; each opens with all that is known of it, and where heads can be matched,
   matched ones light up together.
6. Circuits of both models: how faithful, which edges, and what reaches the answer directly.
7. What became of matched heads.
8. Interventions: what comes back, at what cost, and what is needed.
9. Examples on which the student fails and the teacher does not, with what heads do there.
10. How far this can be trusted, and what it cannot say.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from circuits.compare.figures import report_figures
from circuits.compare.page.behavior_section import accuracy_section, plane_section
from circuits.compare.page.circuits_section import circuits_section
from circuits.compare.page.components_section import components_section
from circuits.compare.page.diff_section import diff_section
from circuits.compare.page.examples_section import examples_section
from circuits.compare.page.footer import footer
from circuits.compare.page.headline import headline
from circuits.compare.page.interventions_section import interventions_section
from circuits.compare.page.markup import escape
from circuits.compare.page.scripts import copy_plotly, script_elements
from circuits.compare.page.similarity_section import similarity_section
from circuits.compare.page.stages_section import stages_section
from circuits.compare.page.trust_section import trust_section
from circuits.compare.reading import text

PAGE = "report.html"

Result = Mapping[str, object]


def write_report(folder: Path, result: Result) -> None:
    """Write `report.html`, and `plotly.min.js` once, into an existing folder."""
    (folder / PAGE).write_text(render(result), encoding="utf-8")
    copy_plotly(folder)


def render(result: Result) -> str:
    """The whole page."""
    home = Path(__file__).parent
    sections = (
        accuracy_section(result),
        plane_section(result),
        stages_section(result),
        similarity_section(result),
        components_section(result),
        circuits_section(result),
        diff_section(result),
        interventions_section(result),
        examples_section(result),
        trust_section(result),
    )
    return Template((home / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{_name(result, 'teacher')} and {_name(result, 'student')} compared"),
        status=escape(text(result, "verdict", "status")),
        style=(home / "page.css").read_text(encoding="utf-8"),
        headline=headline(result),
        sections="\n".join(part for part in sections if part),
        footer=footer(result),
        scripts=script_elements(report_figures(result)),
    )


def _name(result: Result, role: str) -> str:
    return text(result, "models", role, "checkpoint")
