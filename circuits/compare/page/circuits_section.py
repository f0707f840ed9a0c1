"""The part of the page on circuits: how faithful, which edges, and what is direct."""

from collections.abc import Mapping

from circuits.compare.figures.both_circuits import both_circuits_height, has_both_circuits
from circuits.compare.figures.circuit import circuit_height
from circuits.compare.figures.direct import direct_height
from circuits.compare.page import circuit_captions as captions
from circuits.compare.page.edge_filters import edge_filters, edge_list, pair_filters
from circuits.compare.page.markup import columns, paragraph, plot, section
from circuits.compare.reading import branch, circuit_contrasts, direct_contrasts, pair, text

Result = Mapping[str, object]


def circuits_section(result: Result) -> str:
    """Faithfulness by contrast, then graph and direct paths by model; empty without circuits."""
    if not any(direct_contrasts(result, role) for role in pair(result)):
        return ""
    return section(
        "circuits", "Which circuits?", _missing(result), _faithfulness(result), _direct(result)
    )


def _missing(result: Result) -> str:
    stored = branch(result, "models", "student", "circuits")
    reasons = {
        f"No circuit for the {contrast} contrast: {text(stored, contrast, 'reason')}."
        for contrast in stored
        if text(stored, contrast, "reason")
    }
    return "".join(paragraph(reason) for reason in sorted(reasons))


def _faithfulness(result: Result) -> str:
    present = circuit_contrasts(result, "student")
    if not present:
        return ""
    curves = columns(
        *(
            plot(
                f"faithfulness-{contrast}",
                captions.faithfulness_caption(result, contrast),
                f"Faithfulness of circuits, {contrast}",
                400,
            )
            for contrast in present
        )
    )
    graphs = "".join(
        edge_filters(result, role)
        + plot(
            f"circuit-{role}",
            captions.circuit_caption(result, role),
            f"Circuits of the {role}",
            circuit_height(result, role),
        )
        + edge_list(result, role)
        for role in pair(result)
    )
    return (
        f"{paragraph(captions.circuits_summary(result))}\n{curves}\n{_both(result)}"
        f"<h3>Edge by edge, one model at a time</h3>\n{graphs}"
    )


def _both(result: Result) -> str:
    if not has_both_circuits(result):
        return ""
    drawing = plot(
        "circuits",
        captions.both_caption(result),
        "The circuits of teacher and student",
        both_circuits_height(result),
    )
    return f"<h3>Teacher and student in one drawing</h3>\n{pair_filters(result)}{drawing}\n"


def _direct(result: Result) -> str:
    bars = columns(
        *(
            plot(
                f"direct-{role}",
                captions.direct_caption(result, role),
                f"Direct paths of the {role}",
                direct_height(result, role),
            )
            for role in pair(result)
            if direct_contrasts(result, role)
        )
    )
    return f"<h3>What reaches the answer directly</h3>\n{bars}"
