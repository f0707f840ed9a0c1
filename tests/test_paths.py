"""Path patching: against two plain forwards, against planted compositions, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_pairs, make_pairs_for
from torch import Tensor

from behavior.errors import DataError, ResultError
from behavior.examples import Pairs
from behavior.readout import margin, read_labels
from patching.activation import patch_nodes
from patching.effects import Direction
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.path_effects import Edge, PathEffects
from patching.paths import patch_edges, patch_paths

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")
LAYERED = (
    *("a0.h1->a1.h2<q>", "a0.h1->a2.h0<k>", "a0.h1->a2.h0<v>", "a0.h1->a2.h0", "a0->a1<v>"),
    *("a0.h1->m0", "m0->m2", "m0->a1.h0", "input->a1.h0<q>", "input->a2", "input->m1"),
    *("a1.h2->logits", "a2.h0->logits", "m1->logits", "m2->logits", "a2->m2", "input->logits"),
)
TWO_STREAMS = (
    *("enc.a0.h1->enc.a2.h0<k>", "enc.m0->enc.m1", "enc.input->enc.a1", "enc.a1.h0->enc.m1"),
    *("enc.a2.h1->dec.x0.h0<k>", "enc.m2->dec.x1.h1<v>", "enc.a0.h1->dec.x1.h1"),
    *("enc.input->dec.x0", "dec.input->dec.x0.h1<q>", "dec.a0.h2->dec.x0.h1", "dec.a0->dec.m0"),
    *("dec.x0.h1->dec.a1.h0<v>", "dec.m0->dec.m1", "dec.a0.h1->logits", "dec.m1->logits"),
)
BLOCKS = (
    *("s0.b0.g1->s0.b1.g2", "s0.b0.g1->s1.b0.g0", "s0.b0->s1.b0", "s0.b1.g1->logits"),
    *("input->s0.b1.g0", "input->logits", "s1.b0.g2->logits"),
)


def edges_of(family: str) -> tuple[str, ...]:
    if family.startswith("t5"):
        return TWO_STREAMS
    return BLOCKS if family.startswith("resnet") else LAYERED


@pytest.fixture(scope="module", params=FAMILIES)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PatchableModel, Pairs, tuple[str, ...]]:
    folder = make_family(tmp_path_factory.mktemp("paths") / "m", request.param)
    pairs = make_pairs_for(request.param, 5, seed=3)
    return load_checkpoint(folder, dtype="float64"), pairs, edges_of(request.param)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_family(tmp_path_factory.mktemp("gpt2") / "m", "gpt2"))


def margins(model: PatchableModel, pairs: Pairs, side: str) -> Tensor:
    readout = read_labels(model.spec.classes, (pairs.labels[0], pairs.foils[0]))
    logits = readout.task_logits(model.logits(getattr(pairs, side)))
    return margin(logits, readout.index(pairs.labels), readout.index(pairs.foils))


def naive(model: PatchableModel, pairs: Pairs, name: str, direction: Direction) -> Tensor:
    """Two forwards of the whole model through its public context manager."""
    edge = Edge.parse(name)
    into, source = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    sent = sent_values(model, pairs, edge, into, source)
    before = margins(model, pairs, into)
    if edge.receiver.kind == "logits":
        values = sent
    else:
        with model.patch(sent):
            _, cache = model.run_with_cache(getattr(pairs, into), sites=received(model, edge))
        values = {chosen(site, edge): cache[chosen(site, edge)] for site in cache}
    with model.patch(values):
        after = margins(model, pairs, into)
    return before - after if direction == "noise" else after - before


def sent_values(
    model: PatchableModel, pairs: Pairs, edge: Edge, into: str, source: str
) -> dict[str | Site, Tensor]:
    """The sender's value of the other run; of all before the receiver, those of this run."""
    every = [site for site in model.sites(None) if site.activation in ("z", "mlp_out")]
    sender = model.site(str(edge.sender))
    if edge.sender.kind == "input" and not edge.sender.stack:
        sender = model.modules.entries[0].site("resid_pre")
    _, own = model.run_with_cache(getattr(pairs, into), sites=every)
    _, other = model.run_with_cache(getattr(pairs, source), sites=[sender])
    held: dict[str | Site, Tensor] = {
        site: own[site] for site in every if before(model, site, edge)
    }
    if sender.head is None:
        return {**held, sender: other[sender]}
    mixed = own[sender.whole].clone()
    mixed[:, :, sender.head] = other[sender]
    return {**held, sender.whole: mixed}


def before(model: PatchableModel, site: Site, edge: Edge) -> bool:
    if edge.receiver.kind == "logits":
        return True
    rows = model.modules.layers
    reader = model.site(str(edge.receiver))
    here, there = rows.index(model.row(site)), rows.index(model.row(reader))
    return here < there or (here == there and reader.activation == "mlp_out" != site.activation)


def received(model: PatchableModel, edge: Edge) -> list[Site]:
    site = model.site(str(edge.receiver)).whole
    if site.activation == "mlp_out" or not model.row(site).has("q"):
        return [site]
    parts: list[Any] = ["q", "k", "v"] if edge.part is None else [edge.part]
    return [replace(site, activation=part) for part in parts]


def chosen(site: Site, edge: Edge) -> Site:
    return replace(site, head=edge.receiver.head)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_paths_equal_two_plain_forwards(
    opened: tuple[PatchableModel, Pairs, tuple[str, ...]], direction: Direction
) -> None:
    model, pairs, edges = opened
    found = patch_edges(model, pairs, edges, direction)
    assert found.edges == edges
    for name in edges:
        expected = naive(model, pairs, name, direction)
        torch.testing.assert_close(found.edge(name), expected, msg=lambda m, n=name: f"{n}: {m}")
    carrying = found.values.abs().amax(dim=0) > 1e-9
    assert carrying.sum() >= 0.7 * len(edges)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_all_that_leads_to_the_classifier_directly_is_the_node_where_nothing_else_reads_it(
    opened: tuple[PatchableModel, Pairs, tuple[str, ...]], direction: Direction
) -> None:
    model, pairs, _ = opened
    last = model.spec.mlps[-1:] or (model.spec.rows[-1], f"{model.spec.rows[-1]}.g1")
    exact = patch_nodes(model, pairs, last, direction)
    found = patch_paths(model, pairs, last, ["logits"], direction)
    torch.testing.assert_close(found.values, exact.values)
    torch.testing.assert_close(found.clean, exact.clean)


def test_the_same_input_sends_nothing(
    opened: tuple[PatchableModel, Pairs, tuple[str, ...]],
) -> None:
    model, pairs, edges = opened
    found = patch_edges(model, replace(pairs, corrupted=pairs.clean), edges)
    assert found.values.abs().max() < 1e-10


def test_effects_do_not_depend_on_batches_order_or_company(gpt2: PatchableModel) -> None:
    pairs = make_pairs(7, seed=2)
    whole = patch_edges(gpt2, pairs, LAYERED)
    torch.testing.assert_close(
        patch_edges(gpt2, pairs, LAYERED, batch_size=2).values, whole.values, atol=1e-5, rtol=1e-4
    )
    alone = patch_paths(gpt2, pairs.take([3, 1]), ["m0"], ["m2"])
    torch.testing.assert_close(alone.edge("m0->m2"), whole.edge("m0->m2")[[3, 1]])


def composed(folder: Path, part: str) -> PatchableModel:
    """GPT-2 of two rows in which a1.h0 reads, through one of its inputs, what a0.h1 writes.

    There are no norms, no MLP writes, and the stream has three blocks of 8 channels: words, what
    a0.h1 makes of them, and what a1.h0 makes of both, which is all that the classifier reads.
    """
    model = load_checkpoint(make_family(folder, "gpt2", n_layer=2, scale=25.0), dtype="float64")
    (first, second), d = model.modules.layers, 8
    message, answer = slice(8, 16), slice(16, 24)
    base = model.hf.transformer
    with torch.no_grad():
        for table in (base.wte, base.wpe):
            table.weight[:, 8:] = 0
        for row in (first, second):
            row.mlp.c_proj.weight.zero_()
            row.mlp.c_proj.bias.zero_()
            row.q.weight[8:] = 0
        only(first.o.weight, slice(d, 2 * d), message)
        only(second.o.weight, slice(0, d), answer)
        third = "qkv".index(part)
        second.q.weight[message, 24 * third : 24 * third + d] = torch.eye(d).double() * 4
        only(model.hf.score.weight.T, answer, slice(0, 3))
    for module in base.modules():
        for name in ("ln_1", "ln_2", "ln_f"):
            if hasattr(module, name):
                setattr(module, name, torch.nn.Identity())
    return PatchableModel(model.hf, model.processor, model.architecture, part)


def only(weight: Tensor, rows: slice, columns: slice) -> None:
    kept = weight[rows, columns].clone()
    weight.zero_()
    weight[rows, columns] = kept


@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_a_planted_composition_of_two_heads_is_the_only_path(tmp_path: Path, part: str) -> None:
    model, pairs = composed(tmp_path / "m", part), make_pairs(6, seed=4)
    pairs = replace(pairs, corrupted=(*pairs.clean[3:], *pairs.clean[:3]))
    readers = [f"a1.h{head}<{name}>" for head in range(3) for name in "qkv"]
    found = patch_paths(
        model, pairs, ["a0.h0", "a0.h1", "a0.h2"], [*readers, "a1.h0", "m0", "m1", "logits"]
    )
    sizes = dict(zip(found.edges, found.values.abs().amax(dim=0).tolist(), strict=True))
    carrying = {f"a0.h1->a1.h0<{part}>", "a0.h1->a1.h0"}
    assert {name for name, size in sizes.items() if size > 1e-9} == carrying
    assert min(sizes[name] for name in carrying) > 1e-3
    whole = patch_nodes(model, pairs, ["a0.h1"])
    for name in carrying:
        torch.testing.assert_close(found.edge(name), whole.node("a0.h1"))


def test_paths_come_back_from_a_file_with_intervals(gpt2: PatchableModel, tmp_path: Path) -> None:
    found = patch_paths(gpt2, make_pairs(12, seed=2), ["a0.h1", "m0"], ["a2.h0<q>", "logits"])
    again = PathEffects.load(found.save(tmp_path / "paths.safetensors"))
    torch.testing.assert_close(again.values, found.values, rtol=0, atol=0)
    assert again.edges == ("a0.h1->a2.h0<q>", "a0.h1->logits", "m0->a2.h0<q>", "m0->logits")
    summary = again.summary()
    assert summary.nodes == found.edges
    assert (summary.low < summary.high).all()
    table = found.to_dataframe()
    assert len(table) == 48
    assert set(table["part"]) == {"q", ""}
    with pytest.raises(DataError, match="was not patched"):
        found.edge("m0->m1")
    with pytest.raises(ResultError, match="expected path effects"):
        PathEffects.load(
            patch_nodes(gpt2, make_pairs(2), ["m0"]).save(tmp_path / "effects.safetensors")
        )


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ("a1.h0->a0.h1<q>", "runs backwards: a0.h1 does not run after a1.h0"),
        ("a1.h0->a1.h1", "runs backwards"),
        ("m1->m1", "runs backwards"),
        ("m1->a1.h0", "runs backwards"),
        ("m0->m1<q>", "m1 has no q"),
        ("m0->logits<q>", "classifier has no q"),
        ("m0->input", "nothing flows into an input"),
        ("logits->m1", "cannot be patched"),
        ("m0-m1", "Cannot read 'm0-m1' as a path"),
        ("m0->a9.h0", "a9.h0"),
    ],
)
def test_paths_that_do_not_exist_are_refused(gpt2: PatchableModel, edge: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        patch_edges(gpt2, make_pairs(2), [edge])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ("enc.m0->dec.m0", "keys and values alone"),
        ("enc.m0->dec.a1.h0<k>", "keys and values alone"),
        ("enc.m0->dec.x0.h0<q>", "keys and values alone"),
        ("enc.m0->logits", "does not read the encoder"),
        ("dec.a0.h0->dec.x0.h0<k>", "come from the encoder"),
        ("dec.a0.h0->enc.m1", "runs backwards"),
        ("input->dec.m1", "several streams"),
    ],
)
def test_paths_between_streams_go_through_keys_and_values_alone(
    tmp_path: Path, edge: str, message: str
) -> None:
    model = load_checkpoint(make_family(tmp_path / "m", "t5"), check=False)
    with pytest.raises(DataError, match=message):
        patch_edges(model, make_pairs(2), [edge])


def test_no_path_and_a_path_twice_are_refused(gpt2: PatchableModel) -> None:
    with pytest.raises(DataError, match="no paths"):
        patch_paths(gpt2, make_pairs(2), [], ["m0"])
    with pytest.raises(DataError, match="twice"):
        patch_edges(gpt2, make_pairs(2), ["m0->m1", "m0->m1"])


@pytest.mark.parametrize("family", ["t5", "resnet"])
def test_paths_of_a_model_with_another_backend_are_the_same(tmp_path: Path, family: str) -> None:
    folder, pairs = make_family(tmp_path / "m", family), make_pairs_for(family, 3, seed=3)
    plain, other = (
        load_checkpoint(folder, dtype="float64", check=False, backend=backend)
        for backend in ("hooks", "nnsight")
    )
    edges = edges_of(family)
    torch.testing.assert_close(
        patch_edges(other, pairs, edges).values, patch_edges(plain, pairs, edges).values
    )
