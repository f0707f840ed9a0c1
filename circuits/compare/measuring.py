"""The measures of each role: on quads, or on what there is instead of quads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from behavior.examples import Contrast, Example
from behavior.inputs import Input
from behavior.measures import measure_cells, measure_examples, measure_pairs, measure_quads
from behavior.resampling import Resamples, resample_units
from behavior.statistics import Estimate
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import ComparisonConfig
from circuits.compare.evidence import Evidence

Measures = dict[str, Estimate]

NO_QUADS = "the data hold no quads"
NO_EXAMPLES = "the source has no in-domain examples"
QUAD_KEYS = (
    "ood_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "spurious_gap",
    "accuracy_gap_AC",
    "min_AC_accuracy",
    "spurious_share",
    "core_effect",
    "shortcut_effect",
    "interaction",
    "mean_margin",
    "total_range",
    "spurious_share_logits",
    "core_effect_logits",
    "shortcut_effect_logits",
    "interaction_logits",
    "mean_margin_logits",
    "total_range_logits",
    "auc",
    "auc_NL",
    "auc4",
    "confidence",
    "confidence_when_right",
    "confidence_when_wrong",
    "entropy",
    "ece",
)


@dataclass(frozen=True, slots=True)
class Draws:
    """Bootstrap weights, drawn once and shared by all roles and statistics.

    Attributes:
        units: Over the quads, or over the pairs where there are no quads; None without either.
        examples: Over the labelled examples; None if there are none.
    """

    units: Resamples | None
    examples: Resamples | None


@dataclass(frozen=True, slots=True)
class RoleMeasures:
    """All measures of one model.

    Attributes:
        behavior: By the names of `result.json`; null with a reason where not measured.
        groups: By cell, or by the source's own groups.
        pairs: By contrast, for pairs that come without quads.
    """

    behavior: Measures
    groups: Mapping[str, Measures]
    pairs: Mapping[Contrast, Measures]


def draw(evidence: Evidence, config: ComparisonConfig) -> Draws:
    """The resamples of one comparison."""
    if evidence.quads:
        rows = [(quad.id, quad.template) for quad in evidence.quads]
    else:
        rows = [
            row
            for pairs in evidence.pairs.values()
            for row in zip(pairs.units, pairs.templates, strict=True)
        ]
    examples = [(example.id, example.template) for example in evidence.examples]
    return Draws(_draw(rows, config), _draw(examples, config))


def measure_role(answers: RoleAnswers, evidence: Evidence, draws: Draws) -> RoleMeasures:
    """Everything that one model's answers say about it."""
    inside = _example_measures(answers, evidence, draws)
    behavior = {"id_accuracy": Estimate.null(NO_EXAMPLES)}
    if evidence.in_domain and "accuracy" in inside:
        behavior["id_accuracy"] = inside["accuracy"]
    if answers.quads is not None and draws.units is not None:
        cells = measure_cells(answers.quads, draws.units)
        return RoleMeasures(
            behavior | measure_quads(answers.quads, draws.units),
            {str(cell): found for cell, found in cells.items()},
            {},
        )
    behavior |= {key: inside.get(key, Estimate.null(NO_QUADS)) for key in QUAD_KEYS}
    if not evidence.in_domain and "accuracy" in inside:
        behavior["ood_accuracy"] = inside["accuracy"]
    pairs: dict[Contrast, Measures] = {
        contrast: measure_pairs(
            given.clean,
            given.corrupted,
            given.label,
            given.foil,
            draws.units.over(evidence.pairs[contrast].units),
            contrast=contrast,
        )
        for contrast, given in answers.pairs.items()
        if draws.units is not None
    }
    return RoleMeasures(behavior, _group_measures(answers, evidence.examples), pairs)


def _draw(rows: Sequence[tuple[str, str]], config: ComparisonConfig) -> Resamples | None:
    if not rows:
        return None
    units, templates = zip(*rows, strict=True)
    return resample_units(units, templates, config.n_resamples, config.seed)


def _example_measures(answers: RoleAnswers, evidence: Evidence, draws: Draws) -> Measures:
    if answers.examples is None:
        return {}
    aligned = [example.aligned for example in evidence.examples]
    return measure_examples(
        answers.examples,
        answers.truth,
        draws.examples,
        aligned=aligned if any(flag is not None for flag in aligned) else None,
    )


def _group_measures(
    answers: RoleAnswers, examples: Sequence[Example[Input]]
) -> dict[str, Measures]:
    if answers.examples is None:
        return {}
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        if example.group:
            groups.setdefault(example.group, []).append(i)
    return {
        group: measure_examples(
            answers.examples[rows],
            answers.truth[rows],
            resample_units([examples[i].id for i in rows], [examples[i].template for i in rows]),
        )
        for group, rows in sorted(groups.items())
    }
