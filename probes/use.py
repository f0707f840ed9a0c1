"""Whether what can be read is used: a decision table over an erasure at one stage.

For one model, where chance is .50 and effects are in probability:

    not decodable           the probe does not find it before (interval reaches chance)
    not erased              the probe still finds it afterwards (lower end above .55); nothing can
                            be said
    used                    the erasure takes at least .05 of its effect on the answer, and at
                            least .05 more than erasing random directions does (lower ends)
    decodable but unused    the effect changes by less than .05, up or down (both ends)
    undecided               anything else: numbers are missing, or the erasure does harm, but no
                            more than random directions do

For two models at stages of one depth the two answers are laid side by side (`compare_use`).

"Unused" is said of the directions that a linear probe reads at this stage. The model may hold the
same thing there in a form that the probe does not read, and use that.
"""

from typing import Literal

from behavior.estimates import Estimate

Use = Literal["not decodable", "not erased", "used", "decodable but unused", "undecided"]
UsePair = Literal[
    "used in both",
    "used by the teacher, lost in the student",
    "used by the teacher, decodable but unused in the student",
    "used by the student alone",
    "used in neither",
    "undecided",
]

CHANCE = 0.50
LEFT = 0.05
"""Readability above chance that an erasure may leave."""
DELTA = 0.05
"""Change of an effect, in probability, that counts."""


def decide_use(before: Estimate, after: Estimate, change: Estimate, drop: Estimate) -> Use:
    """The answer for one model at one stage.

    Args:
        before: Readability before the erasure.
        after: Readability after it, by probes fitted on what it leaves.
        change: What the erasure takes of the effect.
        drop: What it takes beyond what random erasures take.
    """
    if before.low is None or after.low is None or drop.low is None:
        return "undecided"
    if change.low is None or change.high is None:
        return "undecided"
    if before.low <= CHANCE:
        return "not decodable"
    if after.low > CHANCE + LEFT:
        return "not erased"
    if min(change.low, drop.low) > DELTA:
        return "used"
    return "decodable but unused" if max(-change.low, change.high) < DELTA else "undecided"


def compare_use(teacher: Use, student: Use) -> UsePair:
    """The answer for two models at stages of one depth."""
    idle = ("not decodable", "decodable but unused")
    if teacher == "used" and student == "used":
        return "used in both"
    if teacher == "used" and student == "not decodable":
        return "used by the teacher, lost in the student"
    if teacher == "used" and student == "decodable but unused":
        return "used by the teacher, decodable but unused in the student"
    if teacher in idle and student == "used":
        return "used by the student alone"
    return "used in neither" if teacher in idle and student in idle else "undecided"
