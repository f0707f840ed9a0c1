"""Which head of the student is which head of the teacher, if that can be said at all.

    alignment = align_heads(teacher, student, {"core": ..., "shortcut": ...})
    alignment.level                       `heads` or `stages`

1. One half of the quads is chosen; the other is left for whoever uses the alignment.
2. Evidence about each head is collected in both models: effects, attention from word to word, what
   it writes (`evidence`).
3. The pair is put to its null (`null`): untrained nets, and twins where there are some.
   If it is no better, heads of these models cannot be matched, and they are not.
4. Else heads are matched, partially and many to one (`matching`).

Groups of channels in a ResNet are an arbitrary cut and have no attention: they are never matched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast, Pairs
from behavior.readout import Readout
from behavior.resampling import split_units
from circuits.compare.alignment.evidence import Kind
from circuits.compare.alignment.inputs import EvidenceInputs, evidence_inputs, unit_templates
from circuits.compare.alignment.matching import (
    LEAST_SIMILARITY,
    Fate,
    Matching,
    fates,
    match_heads,
)
from circuits.compare.alignment.null import LEAST_LEAD, AlignmentNull, put_to_null
from circuits.compare.alignment.result import Alignment as Alignment
from circuits.compare.alignment.result import HeadLink as HeadLink
from circuits.compare.alignment.similarity import HeadSimilarity
from circuits.compare.alignment.study import EffectsByContrast, Shares, Study, effect_shares
from circuits.compare.components import has_attention
from circuits.compare.wording import interval
from patching.effects import Direction
from patching.models.model import PatchableModel

Means = dict[Contrast, Float[np.ndarray, "..."]]

N_UNTRAINED = 3

CAN = "Heads of these models can be matched"
CANNOT = "Heads of these models cannot be matched"
GROUPS = (
    f"{CANNOT}: a model without attention has groups of channels, an arbitrary cut of a block, so "
    "only its blocks are compared."
)


def align_heads(
    teacher: PatchableModel,
    student: PatchableModel,
    pairs_by_contrast: Mapping[Contrast, Pairs[Any]],
    *,
    effects: tuple[EffectsByContrast, EffectsByContrast] | None = None,
    twins: Sequence[PatchableModel] = (),
    student_twins: Sequence[PatchableModel] = (),
    seed: int = 0,
    direction: Direction = "noise",
    readouts: tuple[Readout, Readout] | None = None,
    n_untrained: int = N_UNTRAINED,
) -> Alignment:
    """Match the student's heads to the teacher's, where a null says that this means something.

    Args:
        teacher: The teacher.
        student: The student.
        pairs_by_contrast: Token-aligned pairs of the same quads for each contrast.
        effects: Of every head of teacher and student on these pairs, if they are known; else they
            are measured, on the chosen half only.
        twins: Teachers of the same recipe from other seeds, as further nulls.
        student_twins: Students of the same recipe from other seeds, alike.
        seed: Of the halves, the blocks and the untrained nets.
        direction: Of the effects that are measured; if effects are given, it is theirs.
        readouts: From classes to labels, of teacher and student; by default matched by name.
        n_untrained: Untrained nets of each of the two architectures.

    Raises:
        DataError: If there are no pairs, too few quads, or no untrained net to compare with.
    """
    if not pairs_by_contrast:
        raise DataError("There are no pairs. Give those of at least one contrast.")
    if n_untrained < 1:
        raise DataError(f"n_untrained is {n_untrained}, but the null needs at least 1.")
    ordered: dict[Contrast, Pairs[Any]] = {
        contrast: pairs_by_contrast[contrast]
        for contrast in CONTRASTS
        if contrast in pairs_by_contrast
    }
    template_of = unit_templates(ordered)
    chosen, held_out = split_units(list(template_of), list(template_of.values()), seed)
    given = evidence_inputs(ordered, chosen, seed)
    if not (has_attention(teacher) and has_attention(student)):
        return _without_attention(teacher, student, given, held_out, seed)
    if effects is not None:
        direction = next(iter(effects[0].values())).direction
    study = Study(given, (teacher, student), (twins, student_twins), direction, readouts)
    known = effects or (study.measure(0, teacher), study.measure(1, student))
    ours, theirs = study.evidence(0, teacher, known[0]), study.evidence(1, student, known[1])
    own = HeadSimilarity(ours, theirs)
    null = put_to_null(own, study.nulls((ours, theirs), n_untrained, seed), len(given.units))
    shares = (
        effect_shares(known[0], own.teacher, given),
        effect_shares(known[1], own.student, given),
    )
    matching = _match(own, null, shares)
    means = (_means(shares[0]), _means(shares[1]))
    lists: dict[Contrast, dict[Fate, float]] = {
        contrast: fates(mean, means[1][contrast], matching) for contrast, mean in means[0].items()
    }
    totals: dict[Contrast, float] = {
        contrast: float(np.abs(mean).sum()) for contrast, mean in means[0].items()
    }
    return Alignment(
        level="heads" if null.holds else "stages",
        reason=_reason(null, len(twins) + len(student_twins), n_untrained),
        null=null,
        links=_links(own, matching, means),
        unmatched_teacher=_left(own.teacher, {t for t, _ in matching.pairs}),
        unmatched_student=_left(own.student, {s for _, s in matching.pairs}),
        fates=lists,
        totals=totals,
        teacher_heads=own.teacher,
        student_heads=own.student,
        similarity=own.combined(),
        kinds=own.by_kind(),
        units=given.units,
        held_out=held_out,
        seed=seed,
    )


def _match(own: HeadSimilarity, null: AlignmentNull, shares: tuple[Shares, Shares]) -> Matching:
    if not null.holds:
        return Matching(())
    similarity = np.where(own.comparable, own.combined(), -np.inf)
    ours, theirs = (np.concatenate(list(side.values())).T for side in shares)
    cost = max(null.typical, LEAST_SIMILARITY)
    return match_heads(similarity, cost, (ours, theirs))


def _links(
    own: HeadSimilarity, matching: Matching, means: tuple[Means, Means]
) -> tuple[HeadLink, ...]:
    kinds, combined = own.by_kind(), own.combined()
    links: list[HeadLink] = []
    for t, s in matching.pairs:
        of_kind: dict[Kind, float | None] = {
            kind: None if np.isnan(table[t, s]) else float(table[t, s])
            for kind, table in kinds.items()
        }
        links.append(
            HeadLink(
                teacher=own.teacher[t],
                student=own.student[s],
                relation=matching.relation((t, s)),
                similarity=float(combined[t, s]),
                kinds=of_kind,
                mass={contrast: float(mean[t]) for contrast, mean in means[0].items()},
                student_mass={contrast: float(mean[s]) for contrast, mean in means[1].items()},
            )
        )
    return tuple(links)


def _means(shares: Shares) -> Means:
    return {contrast: each.mean(axis=0) for contrast, each in shares.items()}


def _left(heads: Sequence[str], matched: set[int]) -> tuple[str, ...]:
    return tuple(head for i, head in enumerate(heads) if i not in matched)


def _reason(null: AlignmentNull, n_twins: int, n_untrained: int) -> str:
    against = f"{n_untrained} untrained nets of either architecture"
    against += f" and {n_twins} of another seed" if n_twins else ", no twin was given"
    if not null.beaten:
        return (
            f"{CANNOT}: the similarity of their best matches, {interval(null.own)}, does not "
            f"exceed that of the best null ({against})."
        )
    if not null.led:
        return (
            f"{CANNOT}: their best matches are more alike than those of any null ({against}), but "
            f"lead the next head by {interval(null.lead)}, and {LEAST_LEAD} is asked for."
        )
    return (
        f"{CAN}: their best matches exceed the best null ({against}) by {interval(null.excess)} in "
        f"similarity, and lead the next head by {interval(null.lead)}."
    )


def _without_attention(
    teacher: PatchableModel,
    student: PatchableModel,
    given: EvidenceInputs,
    held_out: tuple[str, ...],
    seed: int,
) -> Alignment:
    heads, others = teacher.spec.heads, student.spec.heads
    return Alignment(
        level="stages",
        reason=GROUPS,
        null=None,
        links=(),
        unmatched_teacher=heads,
        unmatched_student=others,
        fates={},
        totals={},
        teacher_heads=heads,
        student_heads=others,
        similarity=np.zeros((len(heads), len(others))),
        kinds={},
        units=given.units,
        held_out=held_out,
        seed=seed,
    )
