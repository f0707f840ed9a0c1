"""The tables of the report."""

from collections.abc import Mapping

from behavior.estimates import Estimate
from circuits.compare.page.markup import group_row, number_row, table
from circuits.compare.reading import (
    branch,
    cells,
    contrasts,
    estimate,
    gone,
    roles,
    sample,
)
from circuits.compare.wording import ROLE_NAMES, cell_names

Result = Mapping[str, object]

_ROWS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Accuracy",
        (
            ("in-domain", "id_accuracy"),
            ("out of domain (mean of the four cells)", "ood_accuracy"),
            ("aligned (A, L)", "aligned_accuracy"),
            ("conflicting (C, N)", "conflicting_accuracy"),
            ("spurious gap", "spurious_gap"),
            ("worse of A and C", "min_AC_accuracy"),
        ),
    ),
    (
        "Ranking",
        (("AUC, A above C", "auc"), ("AUC, N above L", "auc_NL"), ("AUC4", "auc4")),
    ),
    (
        "What moves the answer (probability)",
        (
            ("spurious share", "spurious_share"),
            ("core effect", "core_effect"),
            ("shortcut effect", "shortcut_effect"),
            ("interaction", "interaction"),
            ("total range", "total_range"),
        ),
    ),
    (
        "What moves the answer (logits)",
        (
            ("spurious share", "spurious_share_logits"),
            ("core effect", "core_effect_logits"),
            ("shortcut effect", "shortcut_effect_logits"),
            ("total range", "total_range_logits"),
        ),
    ),
    (
        "Confidence",
        (
            ("mean", "confidence"),
            ("when right", "confidence_when_right"),
            ("when wrong", "confidence_when_wrong"),
            ("entropy (nats)", "entropy"),
            ("calibration error (ECE)", "ece"),
        ),
    ),
)


_OVERALL = (
    ("in-domain accuracy", "id_accuracy"),
    ("out-of-domain accuracy", "ood_accuracy"),
    ("aligned accuracy", "aligned_accuracy"),
    ("conflicting accuracy", "conflicting_accuracy"),
    ("spurious gap", "spurious_gap"),
)


_OF_PAIRS = (
    ("accuracy on clean inputs", "clean_accuracy"),
    ("accuracy on corrupted inputs", "corrupted_accuracy"),
    ("AUC, clean above corrupted", "auc"),
    ("effect (probability)", "effect"),
    ("effect (logits)", "effect_logits"),
)


def role_table(result: Result) -> str:
    """Every measure of every role, with intervals."""
    present = roles(result)
    rows: list[str] = []
    for title, measures in _ROWS:
        rows.append(group_row(title, len(present) + 1))
        digits = 2 if title.endswith("(logits)") else 3
        rows += [
            number_row(
                name, [estimate(result, "models", r, "behavior", key) for r in present], digits
            )
            for name, key in measures
        ]
    counts = estimate(result, "models", "student", "behavior", "ood_accuracy").n
    inside = estimate(result, "models", "student", "behavior", "id_accuracy").n
    caption = (
        f"All roles on the same examples; 95 % intervals below. n = {counts:,} quads; in-domain "
        f"accuracy: n = {inside:,} examples."
    )
    return table(caption, ("", *(ROLE_NAMES[role] for role in present)), rows)


def cue_table(result: Result) -> str:
    """What moves the answer of each role, in probability: the numbers of the plane."""
    keys = ("spurious_share", "core_effect", "shortcut_effect", "total_range")
    rows = [
        number_row(
            ROLE_NAMES[role], [estimate(result, "models", role, "behavior", k) for k in keys]
        )
        for role in roles(result)
    ]
    n = estimate(result, "models", "student", "behavior", "spurious_share").n
    return table(
        f"Share: of the shortcut. In probability, 95 % intervals below; n = {n:,} quads.",
        ("", "share", "core", "shortcut", "total range"),
        rows,
    )


def agreement_table(result: Result) -> str:
    """Agreement and divergence of student and teacher by cell."""
    keys = [key for key in (*cells(result), "all") if key in branch(result, "agreement")]
    measures = (
        ("same answer", "all", "rate"),
        ("where the teacher is right", "teacher_right", "rate"),
        ("where the teacher is wrong", "teacher_wrong", "rate"),
        ("Cohen's kappa", "all", "kappa"),
        ("KL, teacher to student (nats)", "all", "kl"),
        ("Jensen-Shannon (nats)", "all", "js"),
    )
    rows = [
        number_row(name, [estimate(result, "agreement", key, split, measure) for key in keys])
        for name, split, measure in measures
        if any(measure in branch(result, "agreement", key, split) for key in keys)
    ]
    if not rows:
        return ""
    caption = "Student against teacher on the same examples; 95 % intervals below. " + "; ".join(
        cell_names(gone(result))[cell] for cell in cells(result)
    )
    return table(caption, ("", *keys), rows)


def group_table(result: Result) -> str:
    """Accuracy by the source's own groups, where there are no quads."""
    present = roles(result)
    groups = list(branch(result, "models", "student", "groups"))
    if not groups:
        return ""
    rows = [
        number_row(name, found)
        for name, key in _OVERALL
        for found in ([estimate(result, "models", r, "behavior", key) for r in present],)
        if any(each.value is not None for each in found)
    ]
    for group in groups:
        found = [estimate(result, "models", r, "groups", group, "accuracy") for r in present]
        rows.append(number_row(f"{group} (n = {found[0].n:,})", found))
    heads = ("group", *(ROLE_NAMES[role] for role in present))
    return table("Accuracy by group of the source; 95 % intervals below.", heads, rows)


def contrast_table(result: Result) -> str:
    """What the pairs of each contrast do to each model, where there are no quads."""
    present = roles(result)
    rows: list[str] = []
    for contrast in contrasts(result):
        rows.append(group_row(f"{contrast} contrast", len(present) + 1))
        rows += [
            number_row(name, [_paired(result, role, contrast, key) for role in present])
            for name, key in _OF_PAIRS
            if any(_paired(result, role, contrast, key).n for role in present)
        ]
    if not rows:
        return ""
    heads = ("", *(ROLE_NAMES[role] for role in present))
    return table(
        f"Clean against corrupted inputs, {sample(result)}; 95 % intervals below.", heads, rows
    )


def _paired(result: Result, role: str, contrast: str, key: str) -> Estimate:
    return estimate(result, "models", role, "pairs", contrast, key)
