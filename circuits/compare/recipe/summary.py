"""What is known of a recipe, as `summary.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median, stdev
from typing import cast

from circuits.compare.reading import branch, estimate, listing, roles, text
from circuits.compare.recipe.comparable import FREE, Run, shared_roles
from circuits.compare.recipe.plane import plane_seeds
from circuits.compare.recipe.pooling import Pooled, pool_students, pool_teacher
from circuits.compare.recipe.verdict import Seed, decide_recipe
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, number

SCHEMA_VERSION = 1
SUMMARY, PAGE = "summary.json", "summary.html"


def summarize(runs: Sequence[Run]) -> Json:
    """Every number of the summary, and the verdict about the recipe."""
    first = runs[0].result
    pooled = pool_teacher(runs)
    students = pool_students(runs)
    seeds = [_seed(run) for run in runs]
    delta = cast(float, branch(first, "config")["delta"])
    verdict = decide_recipe(seeds, pooled["loss"], pooled["auc4_loss"], delta)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "recipe",
        "n_seeds": len(runs),
        "task": text(first, "task", "name"),
        "config": {k: v for k, v in branch(first, "config").items() if k not in FREE},
        "roles": list(roles(first)),
        "runs": [_described(run) for run in runs],
        "statuses": dict(Counter(seed.status for seed in seeds)),
        "locations": dict(Counter(seed.location or "not asked" for seed in seeds)),
        "claims": {
            "C1": {name: each.to_json() for name, each in pooled.items()},
            **{
                claim: {name: each.to_json() for name, each in found.items()}
                for claim, found in students.items()
            },
        },
        "plane": plane_seeds(runs),
        "verdict": verdict.to_json(),
        "differs": [*differs(pooled["loss"]), *_sharing(runs), *_evidence(runs)],
    }


def differs(loss: Pooled) -> list[str]:
    """How this differs from a verdict about two checkpoints, in words."""
    said = [
        "A verdict about two checkpoints asks whether these weights differ; its intervals are over "
        "quads, and more quads make it surer. This one asks what the recipe does when it is run "
        f"again; its intervals are over {len(loss.seeds)} seeds, and only more seeds narrow them.",
    ]
    values = [each.value for each in loss.seeds if each.value is not None]
    widths = [
        (each.high - each.low) / 2
        for each in loss.seeds
        if each.low is not None and each.high is not None
    ]
    if len(values) > 1 and widths:
        said.append(
            f"The mean loss of single seeds ranges from {number(min(values))} to "
            f"{number(max(values))} (standard deviation {number(stdev(values))}); the interval of "
            f"one pair over quads reaches {number(median(widths))} to either side and knows "
            "nothing of that."
        )
    ends = (loss.mean.high, loss.further.high, loss.mean.low, loss.further.low)
    if any(end is not None and abs(end) > 1 for end in ends):
        said.append(
            "t intervals take seeds to be normally distributed and are not cut at the largest "
            "possible loss of 1: where an end lies beyond it, look at the single seeds."
        )
    return said


def _sharing(runs: Sequence[Run]) -> list[str]:
    shared = shared_roles(runs)
    if not shared:
        return []
    names = " and ".join(ROLE_NAMES[role] for role in roles(runs[0].result) if role in shared)
    return [
        f"Runs share one model as the {names}, so the seeds are not independent of it: nothing is "
        "said about other models in that role."
    ]


def _evidence(runs: Sequence[Run]) -> list[str]:
    asked = {str(branch(run.result, "task").get("quads")) for run in runs}
    if len(asked) == 1:
        return ["All seeds were asked the same quads; other quads could shift all of them alike."]
    return [f"The seeds were asked {len(asked)} different sets of quads."]


def _seed(run: Run) -> Seed:
    verdict: Mapping[str, object] = branch(run.result, "verdict")
    location, stage = (cast("str | None", verdict.get(key)) for key in ("location", "stage"))
    probed = any(
        estimate(row, "core_NL").value is not None for row in listing(run.result, "stages")
    )
    location = location if probed else None
    return Seed(str(verdict["status"]), location, stage)


def _described(run: Run) -> Json:
    seed = _seed(run)
    return {
        "folder": str(run.folder),
        "seed": branch(run.result, "config").get("seed"),
        "checkpoints": {
            role: text(run.result, "models", role, "checkpoint") for role in roles(run.result)
        },
        "digests": {role: run.digest(role) for role in roles(run.result)},
        "status": seed.status,
        "location": seed.location,
        "stage": seed.stage,
        "git_revision": branch(run.result, "provenance").get("git_revision"),
    }
