"""Circuit files of EAP-IG and MIB, where a model's graph is one that they know.

Theirs are graphs of a decoder whose stream is a plain running sum (pre-norm, one stack): `input`,
`a0.h1`, `m0`, `logits`, edges `a0.h1->a3.h5<q>`. The file has `cfg`, `nodes` and `edges`; it has no
provenance, so ours goes along under a key of its own, which their readers ignore.
"""

from pathlib import Path
from typing import Any, cast

from behavior.errors import DataError, ResultError
from circuits.circuit import Circuit, read_json, write_json
from circuits.discovery.scores import EdgeScores
from circuits.graph import Graph, reader_node
from patching.models.model import PatchableModel

_OURS = "debias_circuits"


def write_mib(
    path: Path | str, model: PatchableModel, circuit: Circuit, scores: EdgeScores | None = None
) -> Path:
    """Write a circuit as EAP-IG and MIB do; returns the path.

    Args:
        path: The file (`*.json`).
        model: That the circuit belongs to.
        circuit: Its edges.
        scores: Of all edges; without them those outside the circuit get 0.

    Raises:
        DataError: If their format has no place for such a model, or the circuit is of another one.
        ResultError: If the file cannot be written.
    """
    _check_fits(model)
    graph = Graph.of(model)
    kept = circuit.kept(graph).tolist()
    values = [0.0] * len(graph) if scores is None else scores.mean.tolist()
    if scores is None:
        for edge, value in zip(circuit.edges, circuit.scores, strict=True):
            values[graph.position[edge]] = value
    inside = {*circuit.nodes, "logits"}
    nodes = dict.fromkeys((*graph.writers, *map(reader_node, graph.readers)))
    spec = model.spec
    stored = {
        "cfg": {
            "n_layers": spec.n_layers,
            "n_heads": spec.n_heads,
            "parallel_attn_mlp": False,
            "d_model": spec.d_model,
        },
        "nodes": {name: {"in_graph": name in inside} for name in nodes},
        "edges": {
            name: {"score": value, "in_graph": inside_circuit}
            for name, value, inside_circuit in zip(graph.edges, values, kept, strict=True)
        },
        _OURS: circuit.to_json(),
    }
    return write_json(Path(path), stored)


def read_mib(path: Path | str, model: PatchableModel) -> Circuit:
    """Read a circuit that EAP-IG, MIB or `write_mib` wrote.

    Of files that are not ours nothing but the edges is known; the contrast is called `core`.

    Raises:
        DataError: If their format has no place for such a model, or the file is of another one.
        ResultError: If the file cannot be read.
    """
    _check_fits(model)
    stored = read_json(Path(path))
    file = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
    if not isinstance(file.get("edges"), dict) or "cfg" not in file:
        raise ResultError(f"{path} is no circuit file of EAP-IG or MIB: it has no cfg and edges.")
    if _OURS in file:
        circuit = Circuit.from_json(file[_OURS], str(path))
        circuit.kept(Graph.of(model))
        return circuit
    graph = Graph.of(model)
    edges = cast("dict[str, dict[str, Any]]", file["edges"])
    if set(edges) != set(graph.edges):
        raise DataError(
            f"{path} has {len(edges)} edges that are not those of {model.name!r} ({len(graph)}). "
            "Use the model that it was found in."
        )
    try:
        chosen = [name for name in graph.edges if edges[name]["in_graph"]]
        scores = tuple(float(edges[name].get("score") or 0.0) for name in chosen)
    except (KeyError, TypeError, ValueError):
        raise ResultError(f"{path}: every edge needs `in_graph` and a number as score.") from None
    return Circuit(
        model=model.name,
        digest=model.digest,
        family=model.spec.family,
        edges=tuple(chosen),
        scores=scores,
        n_edges=len(graph),
        contrast="core",
        direction="noise",
        method="read from a file",
        provenance={"file": str(path)},
    )


def _check_fits(model: PatchableModel) -> None:
    architecture, spec = model.architecture, model.spec
    if architecture.layout == "pre-norm" and spec.inputs == ("input",) and len(spec.mlps):
        return
    why = {
        "post-norm": "its stream is normalised after each addition, so an edge means another thing",
    }.get(architecture.layout, "it has several stacks, or blocks without heads and MLPs")
    raise DataError(
        f"The circuit files of EAP-IG and MIB have no place for a {spec.family} model: {why}. Use "
        "Circuit.save instead."
    )
