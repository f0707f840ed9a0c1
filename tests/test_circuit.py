"""A circuit: what it holds, its files, and those of EAP-IG and MIB."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from modelmaking import make_bert, make_family, make_pairs

import circuits
from behavior.errors import DataError, ResultError
from circuits import Circuit, discover, faithfulness
from circuits.discovery import METHODS
from circuits.exchange import read_mib, write_mib
from circuits.graph import Graph
from circuits.selection import top_k
from patching import load_checkpoint
from patching.models.model import PatchableModel


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(tmp_path_factory.mktemp("circuit") / "bert", n_layers=2)
    return load_checkpoint(folder, check=False)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_family(tmp_path_factory.mktemp("g") / "gpt2", "gpt2"), check=False)


@pytest.fixture(scope="module")
def circuit(bert: PatchableModel) -> Circuit:
    return some_circuit(bert)


def some_circuit(model: PatchableModel, k: int = 10) -> Circuit:
    scores = METHODS["eap"](model, make_pairs(4))
    return Circuit.choose(scores, top_k(scores, k), selection="top 10", seed=3)


def test_a_circuit_holds_its_edges_in_order_and_where_it_comes_from(
    bert: PatchableModel, circuit: Circuit
) -> None:
    graph = Graph.of(bert)
    assert len(circuit) == 10 and circuit.n_edges == len(graph)
    positions = [graph.position[edge] for edge in circuit.edges]
    assert positions == sorted(positions)
    assert circuit.edges[0] in circuit and "m9->logits" not in circuit
    assert circuit.digest == bert.digest and circuit.family == "bert"
    assert circuit.provenance["units"] == ["u0", "u1", "u2", "u3"]
    assert circuit.provenance["seed"] == 3
    assert int(circuit.mask(graph).sum()) == 10
    assert set(circuit.nodes) <= {*graph.writers, "logits"}


def test_a_circuit_round_trips(circuit: Circuit, tmp_path: Path) -> None:
    assert Circuit.load(circuit.save(tmp_path / "deep" / "circuit.json")) == circuit
    assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["circuit.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 9}, "no circuit of version 1"),
        ({"kind": "faithfulness"}, "no circuit of version 1"),
        ({"edges": "input->logits"}, "wrong type"),
        ({"edges": ["input->logits"]}, "as many scores"),
        ({"contrast": "other"}, "contrast is 'other'"),
        ({"scores": ["x"] * 10}, "broken circuit"),
        ({"n_edges": None}, "wrong type"),
    ],
)
def test_wrong_files_are_refused_in_one_line(
    circuit: Circuit, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "circuit.json"
    path.write_text(json.dumps({**circuit.to_json(), **change}))
    with pytest.raises(ResultError, match=said) as raised:
        Circuit.load(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_missing_files_and_fields_are_said(circuit: Circuit, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        Circuit.load(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(ResultError, match="no JSON"):
        Circuit.load(tmp_path / "text.json")
    stored = circuit.to_json()
    del stored["method"]
    with pytest.raises(ResultError, match="no field 'method'"):
        Circuit.from_json(stored)
    with pytest.raises(ResultError, match="no circuit"):
        Circuit.from_json([1])


def test_another_models_graph_is_refused(circuit: Circuit, gpt2: PatchableModel) -> None:
    with pytest.raises(DataError, match="was found among"):
        circuit.mask(Graph.of(gpt2))
    renamed = replace(circuit, edges=("a9.h0->logits", *circuit.edges[1:]), n_edges=172)
    with pytest.raises(DataError, match="no edge of this model"):
        renamed.mask(Graph.of(gpt2))
    with pytest.raises(DataError, match="each edge once"):
        replace(circuit, edges=(circuit.edges[0],) * 10)
    with pytest.raises(DataError, match="finite"):
        replace(circuit, scores=(float("nan"),) * 10)


def test_mib_files_of_a_decoder_round_trip(gpt2: PatchableModel, tmp_path: Path) -> None:
    found = some_circuit(gpt2)
    scores = METHODS["eap"](gpt2, make_pairs(4))
    path = write_mib(tmp_path / "importances.json", gpt2, found, scores)
    stored = json.loads(path.read_text())
    spec = gpt2.spec
    n_forward = 1 + spec.n_layers * (spec.n_heads + 1)
    assert len(stored["nodes"]) == n_forward + 1 and stored["cfg"]["n_heads"] == spec.n_heads
    assert set(stored["edges"]) == set(Graph.of(gpt2).edges)
    assert {e for e, v in stored["edges"].items() if v["in_graph"]} == set(found.edges)
    assert read_mib(path, gpt2) == found
    del stored["debias_circuits"]
    path.write_text(json.dumps(stored))
    theirs = read_mib(path, gpt2)
    assert theirs.edges == found.edges and theirs.scores == pytest.approx(found.scores)


def test_mib_files_are_refused_where_they_have_no_place(
    bert: PatchableModel, gpt2: PatchableModel, circuit: Circuit, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="normalised after each addition"):
        write_mib(tmp_path / "x.json", bert, circuit)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ResultError, match="no cfg and edges"):
        read_mib(tmp_path / "x.json", gpt2)
    other = {"cfg": {}, "edges": {"input->logits": {"in_graph": True}}}
    (tmp_path / "x.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="not those of"):
        read_mib(tmp_path / "x.json", gpt2)


def test_discover_gives_a_circuit_of_the_size_asked_for(bert: PatchableModel) -> None:
    pairs = make_pairs(6)
    n = len(Graph.of(bert))
    assert len(discover(bert, pairs, "eap", size=n)) == n
    tenth = discover(bert, pairs, "eap", percent=30.0, select="greedy")
    assert 0 < len(tenth) <= 0.3 * n and tenth.provenance["selected"] == int(0.3 * n)
    free = discover(bert, pairs, steps=2)
    assert free.method == "eap_ig_inputs" and "top_k" in str(free.provenance["selection"])
    again = discover(bert, pairs, steps=2)
    assert again == free
    with pytest.raises(DataError, match="not both"):
        discover(bert, pairs, size=3, percent=3.0)
    with pytest.raises(DataError, match="at least 1 edge"):
        discover(bert, pairs, size=0)
    with pytest.raises(DataError, match="cannot be kept"):
        discover(bert, pairs, percent=101.0)


def test_public_names_are_functions_however_their_modules_were_imported() -> None:
    for name in ("discover", "faithfulness"):
        import_module(f"circuits.{name}")
        assert callable(getattr(circuits, name))
    assert circuits.discover is discover and circuits.faithfulness is faithfulness
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = circuits.nothing
