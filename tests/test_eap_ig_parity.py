"""Our edge scores against those of the public EAP-IG, stored, on one tiny GPT-2.

Where the definitions coincide, ours are compared as they are: exact edges, and every edge into the
classifier, which reads the stream itself. Everywhere else one thing differs, on purpose: a reader
behind a LayerNorm sees the change of a writer through the norm, which EAP-IG takes by its slope in
the run of the gradient, and we by its secant between the two runs, so that changes add up. With the
slope in the place of the secant, our own pieces have to give EAP-IG's numbers, edge by edge.

Other conventions: EAP-IG's integrated gradients take the `left` ends of the steps for inputs and
the `right` ends for activations, where our default is the midpoint; it has one mean over the
examples of a batch, where we keep each; its delta is corrupted - clean, and its metric minus the
margin, which together give our sign. `benchmarks/eap_ig_parity.py` made the table.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import einsum
from modelmaking import SPECIAL, make_tokenizer
from torch import Tensor
from transformers import GPT2Config, GPT2ForSequenceClassification

from behavior.examples import Pairs, TextInput
from circuits.discovery import METHODS
from circuits.discovery.edge_runs import BothRuns, EdgeRunner
from circuits.discovery.steps import between, shares
from circuits.exchange import read_mib, write_mib
from circuits.gradients import ReaderGradients
from circuits.graph import Graph
from circuits.secants import norm_secant
from circuits.stream import TwoRuns, carry
from patching import load_checkpoint
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Site

DATA = Path(__file__).parent / "data"
GRADIENT = ("eap", "eap_ig_inputs", "clean_corrupted", "eap_ig_activations")
RULES = {"eap_ig_inputs": "left", "eap_ig_activations": "right"}
Point = tuple[ReaderGradients, ActivationCache]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return json.loads((DATA / "eap_ig_reference.json").read_text())


@pytest.fixture(scope="module")
def script() -> Any:
    path = Path(__file__).parent.parent / "benchmarks" / "eap_ig_parity.py"
    spec = importlib.util.spec_from_file_location("eap_ig_parity", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpt2(script: Any, table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    weights = script.make_weights()
    assert script.hash_of(weights) == table["weights_sha256"], "the seed gives other weights"
    names = [f"c{i}" for i in range(script.N_CLASSES)]
    config = GPT2Config(
        **table["sizes"],
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    hf = GPT2ForSequenceClassification(config).double()
    hf.load_state_dict(weights)
    folder = tmp_path_factory.mktemp("parity") / "gpt2"
    hf.save_pretrained(folder)
    words = [f"w{i}" for i in range(len(SPECIAL), config.vocab_size)]
    make_tokenizer(words=words, single="$A", pair="$A $B", has_types=False).save_pretrained(folder)
    return load_checkpoint(folder, dtype="float64", check=False)


@pytest.fixture(scope="module")
def pairs(table: dict[str, Any]) -> Pairs[TextInput]:
    n = len(table["labels"])

    def texts(name: str) -> tuple[TextInput, ...]:
        return tuple(TextInput(" ".join(f"w{i}" for i in ids)) for ids in table[name])

    def classes(name: str) -> tuple[str, ...]:
        return tuple(f"c{i}" for i in table[name])

    units = tuple(f"u{i}" for i in range(n))
    return Pairs(
        "core",
        texts("clean"),
        texts("corrupted"),
        classes("labels"),
        classes("foils"),
        units,
        ("t",) * n,
        ("A->C",) * n,
    )


def theirs(table: dict[str, Any], method: str, edges: tuple[str, ...]) -> Tensor:
    """[pair, edge] in the order of our edges."""
    columns = [table["edges"].index(edge) for edge in edges]
    return torch.tensor(table["scores"][method], dtype=torch.float64)[:, columns]


def assert_same(ours: Tensor, reference: Tensor) -> None:
    assert reference.abs().max() > 1e-3
    assert (ours - reference).abs().max() <= 1e-5 * reference.abs().max()


def ours(model: PatchableModel, pairs: Pairs[TextInput], table: Any, method: str) -> Any:
    rule = RULES.get(method)
    return METHODS[method](
        model, pairs, **({"steps": table["steps"], "rule": rule} if rule else {})
    )


def test_it_is_the_same_model_on_the_same_inputs(
    gpt2: PatchableModel, pairs: Pairs[TextInput], table: dict[str, Any]
) -> None:
    ids = EdgeRunner(gpt2, pairs).batch(range(len(pairs)), True)["input_ids"]
    assert ids.tolist() == table["clean"]
    for found, name in zip(EdgeRunner(gpt2, pairs).margins(), ("clean", "corrupted"), strict=True):
        reference = torch.tensor(table["margins"][name], dtype=torch.float64)
        torch.testing.assert_close(found, reference, atol=1e-9, rtol=0)
    assert set(table["edges"]) == set(Graph.of(gpt2).edges)


def test_exact_edges_are_theirs(
    gpt2: PatchableModel, pairs: Pairs[TextInput], table: dict[str, Any]
) -> None:
    scores = METHODS["exact_edges"](gpt2, pairs)
    assert_same(scores.values, theirs(table, "exact_edges", scores.edges))


@pytest.mark.parametrize("method", GRADIENT)
def test_edges_into_the_classifier_are_theirs(
    gpt2: PatchableModel, pairs: Pairs[TextInput], table: dict[str, Any], method: str
) -> None:
    scores = ours(gpt2, pairs, table, method)
    last = [edge.endswith("->logits") for edge in scores.edges]
    assert_same(scores.values[:, last], theirs(table, method, scores.edges)[:, last])


@pytest.mark.parametrize("method", GRADIENT)
def test_all_edges_are_theirs_with_the_slope_of_each_norm(
    gpt2: PatchableModel, pairs: Pairs[TextInput], table: dict[str, Any], method: str
) -> None:
    runner = EdgeRunner(gpt2, pairs)
    both = runner.both(list(range(len(pairs))), "both")
    *_, last = carry(gpt2, runner.graph, TwoRuns(both.corrupted.cache, both.clean.cache))
    by_point = [
        by_slopes(runner, last.changes, *point) for point in points_of(runner, both, table, method)
    ]
    found = torch.stack(by_point).mean(dim=0)
    reference = theirs(table, method, runner.graph.edges)
    assert_same(found, reference)
    # Not an accident of the model: with secants the same edges have other scores.
    secant = ours(gpt2, pairs, table, method).values
    assert (secant - reference).abs().max() > 1e-3 * reference.abs().max()


def points_of(runner: EdgeRunner, both: BothRuns, table: Any, method: str) -> Iterator[Point]:
    """Gradients, and the run that each was taken in."""
    if method in ("eap", "clean_corrupted"):
        for side in (both.clean, both.corrupted)[: 1 if method == "eap" else 2]:
            assert side.gradients is not None
            yield side.gradients, side.cache
        return
    plain: dict[Site, Tensor] = {site: both.target.cache[site] for site in runner.entries()}
    rows = [runner.entries()]
    if method == "eap_ig_activations":
        for row in runner.model.modules.layers:
            rows += [(row.site("z"),), (row.site("mlp_out"),)]
    for row in rows:
        for share in shares(table["steps"], RULES[method]):  # type: ignore[arg-type]
            moved = {site: between(both, site, share) for site in row}
            found = runner.gradients(both, {**plain, **moved}, runner.sites)
            yield found, found.cache


def by_slopes(
    runner: EdgeRunner, changes: Tensor, gradients: ReaderGradients, cache: ActivationCache
) -> Tensor:
    """[pair, edge]: the change of each writer, by the slope of the reader's norm, there."""
    found: list[Tensor] = []
    for point in runner.graph.points:
        seen = changes[: len(point.writers)]
        if point.row is not None:
            row = runner.model.modules.layers[point.row]
            stream, norm = cache[row.site("resid_pre")], row.norm
            if point.kind == "mlp":
                assert row.mlp_norm is not None
                stream, norm = stream + cache[row.site("attn_out")], row.mlp_norm
            seen = norm_secant(norm, stream, stream)(seen)
        product = einsum(seen, gradients.at(point), "w b p d, r b p d -> b r w")
        found.append(product.flatten(start_dim=1))
    return torch.cat(found, dim=1).detach()


def test_a_circuit_file_that_they_wrote_is_read_and_written_again(
    gpt2: PatchableModel, table: dict[str, Any], tmp_path: Path
) -> None:
    path = DATA / table["graph"]["file"]
    circuit = read_mib(path, gpt2)
    stored = json.loads(path.read_text())
    assert len(circuit) == table["graph"]["in_graph"] > 5
    assert set(circuit.edges) == {e for e, v in stored["edges"].items() if v["in_graph"]}
    mean = theirs(table, table["graph"]["method"], circuit.edges).mean(dim=0)
    assert circuit.scores == pytest.approx(mean.tolist(), rel=1e-5, abs=1e-7)
    again = json.loads(write_mib(tmp_path / "ours.json", gpt2, circuit).read_text())
    assert again["cfg"].items() <= stored["cfg"].items()
    assert again["nodes"].keys() == stored["nodes"].keys()
    for name in stored["nodes"]:
        assert again["nodes"][name]["in_graph"] == stored["nodes"][name]["in_graph"], name
    assert {e: v["in_graph"] for e, v in again["edges"].items()} == {
        e: v["in_graph"] for e, v in stored["edges"].items()
    }
