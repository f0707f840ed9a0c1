"""Every figure of the report, each a function from a stored result to a plotly `Figure`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.accuracy import accuracy_figure
from circuits.compare.figures.attribution import attribution_figure
from circuits.compare.figures.both_circuits import both_circuits_figure, has_both_circuits
from circuits.compare.figures.cells import agreement_figure, confidence_figure
from circuits.compare.figures.circuit import circuit_figure
from circuits.compare.figures.direct import direct_figure
from circuits.compare.figures.edge_slider import add_edge_slider
from circuits.compare.figures.faithfulness import faithfulness_figure
from circuits.compare.figures.fates import fates, fates_figure
from circuits.compare.figures.heads import heads_figure, heads_panel
from circuits.compare.figures.interventions import cost_figure, restored_figure, restored_rows
from circuits.compare.figures.layers import layers_figure
from circuits.compare.figures.margins import margin_roles, margins_figure
from circuits.compare.figures.nulls import alignment_figure, best_null, nulls_figure
from circuits.compare.figures.plane import plane_figure
from circuits.compare.figures.readability import Question, questions, readability_figure
from circuits.compare.figures.similarity import Part as SimilarityPart
from circuits.compare.figures.similarity import similar_parts, similarity_figure
from circuits.compare.figures.stages import stages_figure
from circuits.compare.reading import (
    Panel,
    attributed,
    cells,
    circuit_contrasts,
    contrasts,
    direct_contrasts,
    matched,
    pair,
    panels,
)

__all__ = ["ComparisonFigures", "report_figures"]


@dataclass(frozen=True, slots=True)
class ComparisonFigures:
    """The figures of one comparison, for notebooks.

    Attributes:
        result: A stored result.
    """

    result: Mapping[str, object]

    def accuracy(self) -> go.Figure:
        """Accuracy on the four cells, all roles."""
        return accuracy_figure(self.result)

    def plane(self) -> go.Figure:
        """Core effect against shortcut effect, in probability."""
        return plane_figure(self.result)

    def confidence(self) -> go.Figure:
        """Confidence of wrong answers, by cell."""
        return confidence_figure(self.result)

    def agreement(self) -> go.Figure:
        """Agreement of student and teacher, by cell."""
        return agreement_figure(self.result)

    def heads(self, role: Role = "student", contrast: Panel = "core") -> go.Figure:
        """Head heatmap of one model and contrast, on the scale that all four share.

        Without pairs the contrast is a group of examples: `aligned` or `conflicting`.
        """
        return heads_figure(self.result, role, contrast)

    def layers(self, contrast: Contrast = "core") -> go.Figure:
        """All heads of a layer together, by relative depth."""
        return layers_figure(self.result, contrast)

    def readability(self, question: Question = "core_NL") -> go.Figure:
        """What weak probes read at each stage of every model."""
        return readability_figure(self.result, question)

    def margins(self, role: Role = "student") -> go.Figure:
        """What the model's classifier makes of every stage, cell by cell."""
        return margins_figure(self.result, role)

    def stages(self) -> go.Figure:
        """Everything that is known stage by stage: readability, margins, and whole layers."""
        return stages_figure(self.result)

    def similarity(self, part: SimilarityPart = "conflicting") -> go.Figure:
        """CKA of every stage of the teacher with every stage of the student.

        Args:
            part: On `aligned` or on `conflicting` examples, or their `difference`.

        Raises:
            DataError: If the result holds no similarity.
        """
        return similarity_figure(self.result, part)

    def alignment(self) -> go.Figure:
        """Matched heads, or the sentence that says why none are."""
        return alignment_figure(self.result)

    def nulls(self) -> go.Figure:
        """Similarity of the best matches of heads, beside pairs where nothing can correspond."""
        return nulls_figure(self.result)

    def fates(self) -> go.Figure:
        """The teacher's effect mass by what became of it, where heads are matched."""
        return fates_figure(self.result)

    def cost(self) -> go.Figure:
        """What each intervention gains on C and N and costs on A and L."""
        return cost_figure(self.result)

    def restored(self) -> go.Figure:
        """Share of the loss that each intervention brings back, beside its controls."""
        return restored_figure(self.result)

    def attribution(self, contrast: Contrast = "core") -> go.Figure:
        """First-order attribution against exact patching, one dot a head."""
        return attribution_figure(self.result, contrast)

    def faithfulness(self, contrast: Contrast = "core") -> go.Figure:
        """How far circuits of each size carry the contrast alone, and random ones."""
        return faithfulness_figure(self.result, contrast)

    def circuit(
        self,
        role: Role = "student",
        *,
        most_edges: int | None = None,
        node: str | None = None,
        parts: Collection[str] | None = None,
        whole_paths: bool = False,
    ) -> go.Figure:
        """The circuits of one model as a layered graph, with a slider for the number of edges.

        Args:
            role: Teacher or student.
            most_edges: Only the strongest of each circuit.
            node: Only edges into or out of this one, such as `a1.h3`.
            parts: Only what is read in these ways: `q`, `k`, `v`, `mlp`, `group`, `classifier`.
            whole_paths: With a node: everything upstream and downstream of it as well.

        Raises:
            DataError: If a number, a node or a way of reading makes no sense for these circuits.
        """
        figure = circuit_figure(
            self.result,
            role,
            most_edges=most_edges,
            node=node,
            parts=parts,
            whole_paths=whole_paths,
        )
        return add_edge_slider(figure)

    def circuits(self) -> go.Figure:
        """The circuits of both models in one drawing, with ribbons for matched heads."""
        return both_circuits_figure(self.result)

    def direct(self, role: Role = "student") -> go.Figure:
        """What moves the margin of one model directly."""
        return direct_figure(self.result, role)


def report_figures(result: Mapping[str, object]) -> dict[str, go.Figure]:
    """The figures that the page shows, by the name it knows them under."""
    figures = ComparisonFigures(result)
    drawn: dict[str, go.Figure] = {}
    if cells(result):
        drawn |= {
            "accuracy": figures.accuracy(),
            "plane": figures.plane(),
            "confidence": figures.confidence(),
            "agreement": figures.agreement(),
        }
    for panel in panels(result):
        if panel == "core" or panel == "shortcut":
            drawn[f"layers-{panel}"] = figures.layers(panel)
        for role in pair(result):
            drawn[f"heads-{role}-{panel}"] = heads_panel(result, role, panel)
    for contrast in contrasts(result):
        if attributed(result, "student", contrast):
            drawn[f"attribution-{contrast}"] = figures.attribution(contrast)
    for question in questions(result):
        drawn[f"readable-{question}"] = figures.readability(question)
    for role in margin_roles(result):
        drawn[f"margins-{role}"] = figures.margins(role)
    for part in similar_parts(result):
        drawn[f"similarity-{part}"] = figures.similarity(part)
    if restored_rows(result):
        drawn |= {"restored": figures.restored(), "cost": figures.cost()}
    if matched(result) and fates(result):
        drawn["fates"] = figures.fates()
    if best_null(result) is not None:
        drawn["nulls"] = figures.nulls()
    return drawn | _circuit_figures(figures)


def _circuit_figures(figures: ComparisonFigures) -> dict[str, go.Figure]:
    """None for results without circuits."""
    result, drawn = figures.result, dict[str, go.Figure]()
    for contrast in circuit_contrasts(result, "student"):
        drawn[f"faithfulness-{contrast}"] = figures.faithfulness(contrast)
    if has_both_circuits(result):
        drawn["circuits"] = figures.circuits()
    for role in pair(result):
        if circuit_contrasts(result, role):
            drawn[f"circuit-{role}"] = circuit_figure(result, role)
        if direct_contrasts(result, role):
            drawn[f"direct-{role}"] = figures.direct(role)
    return drawn
