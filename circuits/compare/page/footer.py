"""The foot of the page: how a result was made, in plain words."""

from collections.abc import Mapping

from circuits.compare.config import Role
from circuits.compare.page.markup import definitions
from circuits.compare.reading import branch, effect_unit, groups, listing, roles, text
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, model_name, number

Result = Mapping[str, object]

_BY_HOOKS = "attribution, circuits, direct paths and answers by plain hooks"


def footer(result: Result) -> str:
    """Command, inputs, direction, unit, intervals, digests and versions."""
    provenance, alignment = branch(result, "provenance"), branch(result, "task", "alignment")
    entries = (
        ("Command", text(provenance, "command")),
        ("Written", f"{text(provenance, 'started')}, after {text(provenance, 'seconds')} s"),
        ("Task", _task(result)),
        ("Inputs", "; ".join(str(line) for line in alignment.values())),
        ("Ablation", _ablation(result))
        if groups(result)
        else ("Direction", _direction(text(result, "config", "direction"))),
        ("Patched with", _backend(text(result, "config", "backend"))),
        ("Unit", f"effects in {effect_unit(result)}; losses in probability of the right answer"),
        ("Intervals", _intervals(result)),
        ("Weights", "; ".join(_weights(result, role) for role in roles(result))),
        ("Seed twins", "; ".join(_twin(twin) for twin in listing(result, "twins", "models"))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in branch(provenance, "versions").items())),
        ("Revision", text(provenance, "git_revision")),
    )
    return "<h2>How it was made</h2>" + definitions(entries)


def _task(result: Result) -> str:
    labels = branch(result, "task").get("labels")
    named = ", ".join(map(str, labels)) if isinstance(labels, list) else ""
    collapse = text(result, "models", "student", "readout", "collapse")
    return f"{text(result, 'task', 'name')} ({named}; several classes of a label: {collapse})"


def _ablation(result: Result) -> str:
    reference = text(result, "models", "student", "ablation", "reference")
    return (
        f"z of a head is replaced by its {reference}; effect = fall of the margin of the true "
        "label against all others"
    )


def _backend(backend: str) -> str:
    """Empty for plain hooks, which are not worth a line."""
    return "" if backend in ("", "hooks") else f"{backend}; {_BY_HOOKS}"


def _intervals(result: Result) -> str:
    config = branch(result, "config")
    return (
        f"95 %, over quads, pairs or examples within templates; {config.get('n_resamples')} "
        f"resamples, seed {config.get('seed')}; {_delta(result)}"
    )


def _delta(result: Result) -> str:
    """What was used: with seed twins it is theirs, however delta was set."""
    twins = branch(result, "twins")
    if "delta" not in twins:
        return f"two models count as equal within {branch(result, 'config').get('delta')}"
    return (
        f"a loss has to exceed {_short(twins['delta'])}, and two models count as equal within "
        f"{_short(twins.get('equal_within', twins['delta']))} (from seed twins)"
    )


def _short(value: object) -> str:
    return number(value, 3) if isinstance(value, float) else str(value)


def _weights(result: Result, role: Role) -> str:
    return f"{ROLE_NAMES[role]} {text(result, 'models', role, 'digest')[:16]}"


def _twin(twin: Json) -> str:
    name = model_name(str(twin["model"]))
    return f"{name} {twin['checkpoint']} {str(twin['digest'])[:16]}"


def _direction(direction: str) -> str:
    if direction == "noise":
        return "noise: the corrupted run's value goes into the clean run; effect = fall of margin"
    return "denoise: the clean run's value goes into the corrupted run; effect = rise of margin"
