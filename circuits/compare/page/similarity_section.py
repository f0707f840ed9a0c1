"""The part of the page on representations: how similar the stages of both models are."""

import shlex
from collections.abc import Mapping

from circuits.compare.figures.similarity import (
    PART_TITLES,
    Part,
    similar_parts,
    similarity_height,
    stage_pairs,
)
from circuits.compare.page.markup import escape, paragraph, plot, section
from circuits.compare.reading import text
from circuits.compare.wording import interval

Result = Mapping[str, object]

TITLE = "How similar the representations are"


def similarity_section(result: Result) -> str:
    """Tables of CKA, their sentence, and where more can be had; empty for older results."""
    if "similarity" not in result:
        return ""
    parts = similar_parts(result)
    if not parts:
        reason = text(result, "similarity", "reason") or "no stage of one of the models varies"
        return section("similarity", TITLE, paragraph(f"Not measured: {reason}."), _more(result))
    height = similarity_height(result)
    tables = "".join(
        plot(f"similarity-{part}", _caption(result, part), PART_TITLES[part], height)
        for part in parts
    )
    return section(
        "similarity",
        TITLE,
        paragraph(_ends(result)),
        paragraph(
            "Unbiased CKA of the mean stream, every stage of the teacher with every stage of the "
            "student: 1 if distances between examples are the same, 0 if one says nothing of the "
            "other. What is alike need not be used alike."
        ),
        f'<div class="columns three">{tables}</div>',
        _more(result),
    )


def _ends(result: Result) -> str:
    """The last stages of both models, and how far they part."""
    place = tuple(stage_pairs(result, "aligned") or stage_pairs(result, "conflicting"))[-1]
    aligned, conflicting, less = (
        stage_pairs(result, part).get(place) for part in ("aligned", "conflicting", "difference")
    )
    if not (aligned and conflicting and less) or less.value is None:
        return "How far the ends of both models are alike is not known."
    said = (
        "more alike on aligned examples"
        if less.low is not None and less.low > 0
        else "more alike on conflicting examples"
        if less.excludes_zero
        else "as alike on conflicting as on aligned examples, as far as these quads tell"
    )
    return (
        f"At their ends ({place[0]} of the teacher, {place[1]} of the student) the two models are "
        f"{said}: similarity {interval(aligned)} on aligned and {interval(conflicting)} on "
        f"conflicting ones, a difference of {interval(less)}; n = {less.n:,} quads."
    )


def _caption(result: Result, part: Part) -> str:
    found = {k: v for k, v in stage_pairs(result, part).items() if v.value is not None}
    (ours, theirs), most = max(found.items(), key=lambda item: item[1].value or 0.0)
    what = "The largest difference" if part == "difference" else "The most alike"
    return f"{what}: {ours} of the teacher, {theirs} of the student, {interval(most)}."


def _more(result: Result) -> str:
    names = " ".join(
        shlex.quote(text(result, "config", role) or role.upper()) for role in ("teacher", "student")
    )
    return (
        "<p>What the models do once a feature is erased, how selective the probes are, where "
        "attention goes and what the classifier makes of every stage: <code>python -m "
        f"probes.compare {escape(names)}</code></p>"
    )
