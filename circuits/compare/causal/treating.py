"""Heads taken away from student and teacher, and the teacher's nodes put into the student."""

from collections.abc import Mapping

from behavior.answers import QuadAnswers
from circuits.compare.causal.bench import Bench
from circuits.compare.causal.necessity import Necessity, measure_necessity
from circuits.compare.causal.removal import CANDIDATES, Removal, measure_removal
from circuits.compare.causal.restoring import share_restored
from circuits.compare.causal.transplant import NodeTransplant, Transplanter
from circuits.compare.config import PAIR
from circuits.compare.untrained import untrained_like

MOST_TRANSPLANTS = 16


def restore(
    bench: Bench, counterparts: Mapping[str, str], distances: Mapping[str, float]
) -> tuple[Removal | None, tuple[NodeTransplant, ...], str]:
    """Removal and transplants on the student, or why there is nothing to restore.

    Args:
        bench: Models and data.
        counterparts: Node of the teacher by node of the student; none without a shared basis.
        distances: How differently each of them answers; the farthest are transplanted.
    """
    units = tuple(quad.id for quad in bench.testing)
    teacher, student = (bench.answers[role].take(units) for role in PAIR)
    whole = share_restored(teacher, student, student, bench.config.n_resamples, bench.config.seed)
    if whole.restored.value is None:
        return None, (), str(whole.restored.reason)
    bench.progress.stage("take heads away: student")
    removal = measure_removal(
        bench.sets("student", bench.choosing),
        bench.sets("student", bench.testing),
        teacher,
        among=bench.strongest("student", "shortcut", CANDIDATES),
        n_resamples=bench.config.n_resamples,
        seed=bench.config.seed,
        progress=bench.progress.step,
    )
    return removal, _transplant(bench, counterparts, distances, teacher), ""


def without_core_heads(bench: Bench) -> Necessity | None:
    """The teacher without its core heads; None without the core contrast."""
    if "core" not in bench.effects["teacher"]:
        return None
    bench.progress.stage("take heads away: teacher")
    return measure_necessity(
        bench.sets("teacher", bench.testing),
        bench.means("teacher", "core"),
        n_resamples=bench.config.n_resamples,
        seed=bench.config.seed,
        progress=bench.progress.step,
    )


def _transplant(
    bench: Bench,
    counterparts: Mapping[str, str],
    distances: Mapping[str, float],
    teacher: QuadAnswers,
) -> tuple[NodeTransplant, ...]:
    if not counterparts:
        return ()
    bench.progress.stage("transplant nodes")
    model = bench.models["teacher"]
    donors = {"teacher": model}
    plain = bench.models.get("teacher_plain")
    if plain is not None and plain.spec == model.spec:
        donors["plain teacher"] = plain
    donors["untrained"] = untrained_like(model, bench.config.seed)
    order = sorted(counterparts, key=lambda node: -distances[node])[:MOST_TRANSPLANTS]
    transplanter = Transplanter(
        bench.models["student"], bench.readouts["student"], donors, bench.choosing, bench.testing
    )
    return tuple(
        transplanter.run(
            {node: counterparts[node] for node in order},
            teacher,
            n_resamples=bench.config.n_resamples,
            seed=bench.config.seed,
            progress=bench.progress.step,
        )
    )
