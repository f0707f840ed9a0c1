"""Read a stored result: branches, numbers with intervals, the roles in their order."""

from collections.abc import Mapping, Sequence
from typing import Literal, cast, get_args

from behavior.estimates import Estimate
from behavior.examples import CELLS, Cell, Contrast
from circuits.compare.config import PAIR, ROLES, Role
from circuits.compare.storage import Json
from circuits.compare.wording import GONE

Panel = Literal["core", "shortcut", "aligned", "conflicting"]
"""What a heatmap of heads is about: a contrast, or a group of examples that were ablated."""

PANELS: tuple[Panel, ...] = get_args(Panel)
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


def n_labels(result: Mapping[str, object]) -> int:
    """How many labels the task has; two if the result does not say."""
    labels = branch(result, "task").get("labels")
    return len(cast("list[str]", labels)) if isinstance(labels, list) and labels else 2


def shows_images(result: Mapping[str, object]) -> bool:
    """Whether the inputs are images and not texts."""
    return text(result, "models", "student", "spec", "modality") == "image"


def gone(result: Mapping[str, object]) -> str:
    """What becomes of the shortcut in N and L."""
    return GONE["image" if shows_images(result) else "text"]


def contrasts(result: Mapping[str, object], role: Role = "student") -> tuple[Contrast, ...]:
    """The contrasts for which the heads of a model were patched."""
    present = branch(result, "models", role, "effects")
    return tuple(c for c in cast(Sequence[Contrast], ("core", "shortcut")) if c in present)


def groups(result: Mapping[str, object], role: Role = "student") -> tuple[Panel, ...]:
    """The groups of examples on which the heads of a model were ablated, for data without pairs."""
    present = branch(result, "models", role, "ablation", "groups")
    return tuple(panel for panel in PANELS if panel in present)


def panels(result: Mapping[str, object], role: Role = "student") -> tuple[Panel, ...]:
    """All heatmaps that there are of a model."""
    return (*contrasts(result, role), *groups(result, role))


def is_head(node: str) -> bool:
    """Whether a node is a head or a group of channels, such as `a3.h5`, `dec.x0.h1`, `s2.b1.g3`."""
    return node.rpartition(".")[2][:1] in ("h", "g")


def heads_of(result: Mapping[str, object], role: Role) -> str:
    """What the heads of a model are: heads, or channel groups."""
    panel = next(iter(panels(result, role)), None)
    nodes = node_estimates(result, role, panel) if panel else {}
    return (
        "channel groups" if any(name.rpartition(".")[2][:1] == "g" for name in nodes) else "heads"
    )


def rows_of(result: Mapping[str, object], role: Role) -> str:
    """What a row of heads of a model is: a layer, a block, or a row of one of several stacks."""
    panel = next(iter(panels(result, role)), None)
    nodes = node_estimates(result, role, panel) if panel else {}
    stacks = {name.count(".") > 1 for name in nodes if is_head(name)}
    if stacks != {True}:
        return "layer"
    return "block" if heads_of(result, role) == "channel groups" else "row"


def matched(result: Mapping[str, object]) -> bool:
    """Whether heads of teacher and student were matched."""
    return text(result, "alignment", "level") == "heads"


def effect_unit(result: Mapping[str, object]) -> str:
    """Unit of `node_estimates`: share of the total range, or logits where a model has no range.

    Always one unit for both models, so that they stay comparable.
    """
    if any(groups(result, role) for role in pair(result)):
        return "logits"
    shares = [
        Estimate.from_json(cast(Json, node))
        for role in pair(result)
        for contrast in contrasts(result, role)
        for node in branch(result, "models", role, "effects", contrast, "nodes").values()
    ]
    return "logits" if any(share.value is None for share in shares) else SHARE


def stored_nodes(result: Mapping[str, object], role: Role, panel: Panel) -> Json:
    """The numbers of every node that a heatmap shows."""
    if panel in groups(result, role):
        return branch(result, "models", role, "ablation", "groups", panel, "nodes")
    return branch(result, "models", role, "effects", panel, "nodes")


def node_estimates(result: Mapping[str, object], role: Role, panel: Panel) -> dict[str, Estimate]:
    """Effect of every head and MLP, in the unit that `effect_unit` names."""
    nodes = stored_nodes(result, role, panel)
    if panel in groups(result, role) or effect_unit(result) == SHARE:
        return {name: estimate(nodes, name) for name in nodes}
    return {name: estimate(nodes, name, "logits") for name in nodes}


def attributed(result: Mapping[str, object], role: Role, contrast: Contrast) -> dict[str, Estimate]:
    """First-order effect of every head, in the unit that `effect_unit` names; may be empty."""
    nodes = branch(result, "models", role, "attribution", contrast, "nodes")
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


def units(result: Mapping[str, object]) -> str:
    """What is resampled: quads, or pairs where the data hold no quads."""
    return "quads" if branch(result, "task").get("quads") else "pairs"


def circuit_contrasts(result: Mapping[str, object], role: Role) -> tuple[Contrast, ...]:
    """The contrasts for which circuits of a model were run."""
    present = branch(result, "models", role, "circuits")
    order: Sequence[Contrast] = ("core", "shortcut")
    return tuple(c for c in order if listing(present, c, "faithfulness"))


def direct_contrasts(result: Mapping[str, object], role: Role) -> tuple[Contrast, ...]:
    """The contrasts whose direct paths were attributed."""
    present = branch(result, "models", role, "direct")
    order: Sequence[Contrast] = ("core", "shortcut")
    return tuple(c for c in order if branch(present, c, "nodes"))


def direct_estimates(
    result: Mapping[str, object], role: Role, contrast: Contrast
) -> dict[str, Estimate]:
    """Direct attribution of every writer, in the unit that `effect_unit` names."""
    nodes = branch(result, "models", role, "direct", contrast, "nodes")
    if effect_unit(result) == SHARE:
        return {name: estimate(nodes, name) for name in nodes}
    return {name: estimate(nodes, name, "logits") for name in nodes}
