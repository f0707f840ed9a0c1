"""Read a stored result: branches, numbers with intervals, the roles in their order."""

from collections.abc import Mapping, Sequence
from typing import cast

from behavior.estimates import Estimate
from behavior.examples import CELLS, Cell, Contrast
from circuits.compare.config import PAIR, ROLES, Role
from circuits.compare.storage import Json

SHARE = "share of own total range"


def branch(result: Mapping[str, object], *path: str) -> Json:
    """The object at a path; empty if there is none."""
    current: object = result
    for key in path:
        current = current.get(key) if isinstance(current, dict) else None
    return cast(Json, current) if isinstance(current, dict) else {}


def listing(result: Mapping[str, object], *path: str) -> list[Json]:
    """The list of objects at a path; empty if there is none."""
    found = branch(result, *path[:-1]).get(path[-1])
    return cast(list[Json], found) if isinstance(found, list) else []


def text(result: Mapping[str, object], *path: str) -> str:
    """The value at a path as text; empty if there is none."""
    found = branch(result, *path[:-1]).get(path[-1])
    return "" if found is None else str(found)


def estimate(result: Mapping[str, object], *path: str) -> Estimate:
    """The number at a path, with its interval; null with a reason if it was not stored."""
    stored = branch(result, *path)
    return Estimate.from_json(stored) if "n" in stored else Estimate.null("not measured")


def roles(result: Mapping[str, object]) -> tuple[Role, ...]:
    """The roles of a result, teacher and student first."""
    present = branch(result, "models")
    return tuple(role for role in ROLES if role in present)


def pair(result: Mapping[str, object]) -> tuple[Role, ...]:
    """Teacher and student."""
    return tuple(role for role in PAIR if role in branch(result, "models"))


def cells(result: Mapping[str, object], role: Role = "student") -> tuple[Cell, ...]:
    """The cells that were measured: all four, or none where the data are no quads."""
    present = branch(result, "models", role, "groups")
    return tuple(cell for cell in CELLS if cell in present)


def contrasts(result: Mapping[str, object], role: Role = "student") -> tuple[Contrast, ...]:
    """The contrasts for which the heads of a model were patched."""
    present = branch(result, "models", role, "effects")
    return tuple(c for c in cast(Sequence[Contrast], ("core", "shortcut")) if c in present)


def effect_unit(result: Mapping[str, object]) -> str:
    """Unit of `node_estimates`: share of the total range, or logits where a model has no range.

    Always one unit for both models, so that they stay comparable.
    """
    shares = [
        Estimate.from_json(cast(Json, node))
        for role in pair(result)
        for contrast in contrasts(result, role)
        for node in branch(result, "models", role, "effects", contrast, "nodes").values()
    ]
    return "logits" if any(share.value is None for share in shares) else SHARE


def node_estimates(
    result: Mapping[str, object], role: Role, contrast: Contrast
) -> dict[str, Estimate]:
    """Effect of every head and MLP, in the unit that `effect_unit` names."""
    nodes = branch(result, "models", role, "effects", contrast, "nodes")
    if effect_unit(result) == SHARE:
        return {name: estimate(nodes, name) for name in nodes}
    return {name: estimate(nodes, name, "logits") for name in nodes}


def sample(result: Mapping[str, object]) -> str:
    """How much the effects rest on, such as `n = 400 quads`."""
    quads = branch(result, "task").get("quads")
    if isinstance(quads, list) and quads:
        return f"n = {len(quads):,} quads"
    pairs = branch(result, "task", "pairs").values()
    counts = sorted({len(cast(list[str], cast(Json, each)["units"])) for each in pairs})
    return f"n = {' and '.join(f'{n:,}' for n in counts)} pairs"
