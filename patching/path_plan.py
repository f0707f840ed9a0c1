"""Which direct paths a model has: edges resolved against it before anything is run.

A node writes into its stream, and later nodes read from it: heads what entered their row, an MLP
what its row's heads have written as well, the classifier what leaves the last row. Between the two
streams of an encoder-decoder the one way is the keys and values of cross-attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from behavior.errors import DataError
from patching.interventions import Intervention, plan_nodes
from patching.models.model import PatchableModel
from patching.models.nodes import Node, Site
from patching.models.rows import LayerModules
from patching.path_effects import Edge, Part


@dataclass(frozen=True, slots=True)
class PathPlan:
    """One direct path.

    Attributes:
        name: Of the edge.
        sender: What puts the other run's value into the sender.
        receiver: What puts a value into the receiver; None for the classifier.
        part: Through which of its inputs a head reads; None means all of them.
    """

    name: str
    sender: Intervention
    receiver: Intervention | None
    part: Part | None


def plan_paths(model: PatchableModel, edges: Sequence[str]) -> tuple[PathPlan, ...]:
    """The direct paths with these names.

    Raises:
        DataError: If there are none, one stands twice, or the model has no such path.
    """
    if not edges:
        raise DataError("There are no paths to patch. Give a sender and a receiver at least.")
    if len(set(edges)) != len(edges):
        raise DataError(f"A path stands twice in {', '.join(edges)}. Give each once.")
    return tuple(_plan(model, Edge.parse(name)) for name in edges)


def received_sites(model: PatchableModel, path: PathPlan) -> tuple[Site, ...]:
    """What the receiver makes of what it reads: q, k, v, z or mlp_out; none for the classifier."""
    if path.receiver is None:
        return ()
    row = model.modules.layers[path.receiver.layer]
    if path.receiver.kind == "mlp":
        return (row.site("mlp_out"),)
    return (row.site(path.part or "z"),)


def _plan(model: PatchableModel, edge: Edge) -> PathPlan:
    if edge.sender.kind == "input" and not edge.sender.stack and len(model.spec.inputs) > 1:
        raise DataError(
            f"{str(edge)!r} starts in several streams. Give {' or '.join(model.spec.inputs)} "
            "as the sender."
        )
    if edge.receiver.kind == "input":
        raise DataError(f"{str(edge)!r} has no meaning: nothing flows into an input.")
    (sender,) = plan_nodes(model, [str(edge.sender)])
    if edge.receiver.kind == "logits":
        if edge.part is not None:
            raise DataError(f"{str(edge)!r}: the classifier has no {edge.part}. Leave it out.")
        if _stream(model, sender) != model.modules.layers[-1].base:
            raise _no_path(edge, "the classifier does not read the encoder's stream")
        return PathPlan(str(edge), sender, None, None)
    (receiver,) = plan_nodes(model, [str(edge.receiver)])
    _check_part(model, edge, receiver)
    _check_order(model, edge, sender, receiver)
    return PathPlan(str(edge), sender, receiver, edge.part)


def _check_part(model: PatchableModel, edge: Edge, receiver: Intervention) -> None:
    row = model.modules.layers[receiver.layer]
    if edge.part is not None and (receiver.kind != "heads" or not row.has(edge.part)):
        raise DataError(f"{str(edge)!r}: {edge.receiver} has no {edge.part}. Leave it out.")


def _check_order(
    model: PatchableModel, edge: Edge, sender: Intervention, receiver: Intervention
) -> None:
    if _place(edge.sender, sender) >= _place(edge.receiver, receiver):
        raise DataError(
            f"{str(edge)!r} runs backwards: {edge.receiver} does not run after {edge.sender}. "
            "Give a sender that writes before the receiver reads."
        )
    row = model.modules.layers[receiver.layer]
    is_cross = receiver.kind == "heads" and row.stack.endswith(".x")
    if _stream(model, sender) == row.base:
        if is_cross and edge.part in ("k", "v"):
            raise _no_path(edge, "its keys and values come from the encoder")
    elif not is_cross or edge.part == "q":
        raise _no_path(edge, "of the encoder, the decoder reads keys and values alone")


def _no_path(edge: Edge, reason: str) -> DataError:
    return DataError(f"There is no direct path {str(edge)!r}: {reason}. Leave it out.")


def _stream(model: PatchableModel, sender: Intervention) -> str:
    row: LayerModules = model.modules.layers[sender.layer]
    return row.base


def _place(node: Node, planned: Intervention) -> tuple[int, int]:
    """When a node runs: its row, and within the row first the heads, then the MLP."""
    order = {"input": -1, "mlp": 1}
    return planned.layer, order.get(node.kind, 0)
