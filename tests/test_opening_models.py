"""An opened model: Hugging Face's own logits, and activations from where they should be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from einops import einsum
from modelmaking import CLASSES, make_bert, make_pairs, make_tokenizer
from torch import Tensor
from transformers import BertForSequenceClassification

from behavior.errors import DataError
from behavior.examples import TextInput
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import ACTIVATIONS, Node, Site

PAIRS = make_pairs(7, seed=3)
INPUTS = PAIRS.clean
LENGTHS = (17, 18, 19, 17, 18, 19, 17)
N_LAYERS, N_HEADS, D_HEAD, D_MODEL = 3, 2, 8, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("opening") / "bert", n_layers=N_LAYERS, scale=25.0)


@pytest.fixture(scope="module")
def model(folder: Path) -> PatchableModel:
    return load_checkpoint(folder, dtype="float64")


def plain_outputs(folder: Path, dtype: torch.dtype, inputs: Sequence[TextInput]) -> list[Any]:
    """Hugging Face alone: eager attention, one input at a time, nothing of ours."""
    hf = BertForSequenceClassification.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()
    tokenizer = make_tokenizer()
    read: dict[str, Any] = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        return [
            hf(**tokenizer(text.text, text.hypothesis, return_tensors="pt"), **read)
            for text in inputs
        ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_logits_are_those_of_hugging_face(
    folder: Path, dtype: Literal["float32", "float64"], tolerance: float
) -> None:
    model = load_checkpoint(folder, dtype=dtype)
    logits = model.logits(INPUTS)
    outputs = plain_outputs(folder, getattr(torch, dtype), INPUTS)
    expected = torch.cat([output.logits for output in outputs])
    assert logits.dtype == model.dtype == getattr(torch, dtype)
    assert expected.std(dim=0).min() > 0.1, "the inputs should not all give the same logits"
    torch.testing.assert_close(logits, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_neither_batch_size_nor_padding_matter(model: PatchableModel, batch_size: int) -> None:
    torch.testing.assert_close(
        model.logits(INPUTS, batch_size=batch_size), model.logits(INPUTS), atol=1e-12, rtol=0
    )


def test_the_order_of_the_inputs_is_kept(model: PatchableModel) -> None:
    order = [6, 2, 0, 5, 1, 4, 3]
    shuffled = model.logits([INPUTS[i] for i in order], batch_size=2)
    torch.testing.assert_close(shuffled, model.logits(INPUTS)[order], atol=1e-12, rtol=0)


def test_single_texts_and_pairs_of_texts_are_both_read(model: PatchableModel) -> None:
    single = [TextInput("the doctor met the nurses ."), TextInput("the judge paid .")]
    assert model.tokens(single[1:]) == [[2, 5, 14, 25, 11, 3]]
    assert model.encode(INPUTS)[0].types.tolist() == [0] * 9 + [1] * 8
    outputs = [model.hf(**make_tokenizer()(text.text, return_tensors="pt")) for text in single]
    expected = torch.cat([output.logits for output in outputs]).detach()
    torch.testing.assert_close(model.logits(single), expected, atol=1e-12, rtol=0)


def test_sizes_and_classes_are_those_of_the_config(model: PatchableModel) -> None:
    spec = model.spec
    assert (spec.family, spec.n_layers, spec.n_heads) == ("bert", N_LAYERS, N_HEADS)
    assert (spec.d_model, spec.d_head) == (D_MODEL, D_HEAD)
    assert (spec.classes, spec.n_classes, spec.has_class_names) == (CLASSES, 3, True)
    assert spec.max_length == 64
    assert spec.n_parameters == sum(weight.numel() for weight in model.hf.state_dict().values())
    assert "3 layers x 2 heads, d_model 16, classes entailment, neutral, contr" in repr(model)


@pytest.mark.parametrize(
    ("inputs", "batch_size", "words"),
    [
        ([], None, "There are no inputs"),
        (INPUTS, 0, "The batch size is 0; expected at least 1"),
        (INPUTS, -3, "The batch size is -3"),
        ([INPUTS[0], TextInput("the judge paid")], None, "Some inputs have a hypothesis and"),
        (
            [INPUTS[0], TextInput("the judge paid " * 30, "a")],
            None,
            r"A text of 94 tokens is longer than the 64 that the model takes: 'the judge paid the",
        ),
    ],
)
def test_inputs_that_cannot_be_run(
    model: PatchableModel, inputs: Sequence[TextInput], batch_size: int | None, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        model.logits(inputs, batch_size=batch_size)
    assert "\n" not in str(caught.value)


def test_the_longest_text_that_fits_is_run(model: PatchableModel) -> None:
    assert model.logits([TextInput("judge " * 62)]).shape == (1, 3)
    with pytest.raises(DataError, match="65 tokens"):
        model.logits([TextInput("judge " * 63)])


@pytest.mark.parametrize(
    ("activation", "shape"),
    [
        *((name, (7, 19, D_MODEL)) for name in ("resid_pre", "resid_mid", "resid_post")),
        *((name, (7, 19, D_MODEL)) for name in ("attn_out", "mlp_out")),
        *((name, (7, 19, N_HEADS, D_HEAD)) for name in ("q", "k", "v", "z")),
        ("pattern", (7, N_HEADS, 19, 19)),
        ("result", (7, 19, N_HEADS, D_MODEL)),
    ],
)
def test_an_activations_name_reads_it_in_every_layer(
    model: PatchableModel, activation: str, shape: tuple[int, ...]
) -> None:
    logits, cache = model.run_with_cache(INPUTS, [activation])
    torch.testing.assert_close(logits, model.logits(INPUTS), atol=1e-12, rtol=0)
    assert [str(site) for site in cache] == [f"L{i}.{activation}" for i in range(N_LAYERS)]
    assert [tuple(cache[site].shape) for site in cache] == [shape] * N_LAYERS


def test_by_default_everything_is_read_but_pattern_and_result(model: PatchableModel) -> None:
    _, cache = model.run_with_cache(INPUTS)
    assert len(cache) == N_LAYERS * (len(ACTIVATIONS) - 2)
    assert {site.activation for site in cache} == set(ACTIVATIONS) - {"pattern", "result"}


def test_stream_and_patterns_are_those_that_hugging_face_returns(
    model: PatchableModel, folder: Path
) -> None:
    _, cache = model.run_with_cache(INPUTS, ["resid_pre", "resid_post", "pattern"])
    for i, output in enumerate(plain_outputs(folder, torch.float64, INPUTS)):
        n = LENGTHS[i]
        for layer in range(N_LAYERS):
            read = cache[f"L{layer}.resid_pre"][i, :n], cache[f"L{layer}.resid_post"][i, :n]
            for found, expected in zip(read, output.hidden_states[layer : layer + 2], strict=True):
                torch.testing.assert_close(found, expected[0], atol=1e-11, rtol=0)
            pattern = cache[f"L{layer}.pattern"][i, :, :n, :n]
            torch.testing.assert_close(pattern, output.attentions[layer][0], atol=1e-12, rtol=0)


def test_patterns_sum_to_one_and_give_nothing_to_padding(model: PatchableModel) -> None:
    _, cache = model.run_with_cache(INPUTS, ["pattern"])
    for pattern in cache.values():
        torch.testing.assert_close(pattern.sum(dim=-1), torch.ones(7, N_HEADS, 19).double())
        for i, length in enumerate(LENGTHS):
            assert (pattern[i, :, :, length:] == 0).all()
            assert (pattern[i, :, :, :length] > 0).all()


def test_z_is_the_pattern_times_v_and_results_with_bias_are_attn_out(model: PatchableModel) -> None:
    _, cache = model.run_with_cache(INPUTS, ["pattern", "v", "z", "result", "attn_out"])
    for layer, modules in enumerate(model.modules.layers):
        pattern, v, z, result, attn_out = (
            cache[f"L{layer}.{name}"] for name in ("pattern", "v", "z", "result", "attn_out")
        )
        mixed = einsum(pattern, v, "b head dst src, b src head d -> b dst head d")
        torch.testing.assert_close(z, mixed, atol=1e-11, rtol=0)
        assert modules.bias is not None and modules.bias.abs().max() > 0.1
        torch.testing.assert_close(result.sum(dim=2) + modules.bias, attn_out, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("alias", "text"),
    [
        ("hook_embed", "L0.resid_pre"),
        ("input", "L0.resid_pre"),
        ("a1", "L1.z"),
        ("m2", "L2.mlp_out"),
        *(
            (f"blocks.1.hook_{name}", f"L1.{name}")
            for name in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
        ),
        *(
            (f"blocks.2.attn.hook_{name}", f"L2.{name}")
            for name in ("q", "k", "v", "z", "pattern", "result")
        ),
    ],
)
def test_names_of_transformerlens_and_of_nodes_read_the_same_tensor(
    model: PatchableModel, alias: str, text: str
) -> None:
    _, cache = model.run_with_cache(INPUTS[:2], [alias])
    assert [str(site) for site in cache] == [text]
    assert cache[alias] is cache[text] is cache[Site.parse(text)]
    assert alias in cache and text in cache and "L0.q" not in cache


@pytest.mark.parametrize("activation", ["q", "k", "v", "z", "pattern", "result"])
def test_one_head_is_a_slice_of_the_whole_site(model: PatchableModel, activation: str) -> None:
    _, cache = model.run_with_cache(INPUTS[:2], [f"L1.h0.{activation}"])
    whole = cache[f"L1.{activation}"]
    heads: Tensor = torch.stack([cache[f"L1.h{head}.{activation}"] for head in range(N_HEADS)])
    assert not torch.equal(heads[0], heads[1])
    axis = 1 if activation == "pattern" else 2
    assert torch.equal(heads, whole.movedim(axis, 0))


def test_reading_what_was_not_asked_for_says_what_was_read(model: PatchableModel) -> None:
    _, cache = model.run_with_cache(INPUTS[:1], ["L0.z", "m1"])
    with pytest.raises(DataError, match=r"L0\.q was not read.*read were: L0\.z, L1\.mlp_out"):
        cache["L0.q"]


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("L0.zed", r"Cannot read 'L0\.zed' as a site.*with one of: resid_pre, resid_mid"),
        ("blocks.0.attn.hook_zed", "Cannot read 'blocks.0.attn.hook_zed'"),
        ("zed", "Cannot read 'zed' as a site"),
        ("a1.h", r"Cannot read 'a1\.h' as a site"),
        ("L3.z", r"'L3\.z' is not in 'bert', which has the layers 0 to 2 with the heads 0 to 1"),
        ("L0.h2.z", r"'L0\.h2\.z' is not in 'bert'"),
        ("a0.h2", r"'a0\.h2' is not in 'bert'"),
        ("m3", "'m3' is not in 'bert'"),
        ("L0.h1.mlp_out", "mlp_out has no head axis, but head=1 was given"),
        ("logits", "'logits' is the output and cannot be patched"),
    ],
)
def test_a_misspelt_site_is_refused_by_reading_and_by_patching(
    model: PatchableModel, site: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        model.run_with_cache(INPUTS[:1], [site])
    with pytest.raises(DataError, match=words), model.patch({site: 0.0}):
        pass


def test_nodes_and_sites_read_what_they_write(model: PatchableModel) -> None:
    spec = model.spec
    names = (*spec.heads, *spec.rows, *spec.mlps, *spec.inputs, "logits")
    names += ("enc.a0.h1", "dec.a0", "dec.x3.h5", "dec.m2", "enc.input", "s2.b1.g3", "s0.b10")
    assert [str(Node.parse(name)) for name in names] == list(names)
    assert spec.heads[:4] == ("a0.h0", "a0.h1", "a1.h0", "a1.h1")
    assert [Node.parse(name).row for name in ("dec.x3.h5", "s2.b1.g3", "a1.h0", "dec.m2")] == [
        *("dec.x3", "s2.b1", "a1", "dec.m2")
    ]
    texts = [f"L11.{activation}" for activation in ACTIVATIONS] + ["L0.h12.pattern"]
    texts += ["enc.L0.h1.z", "dec.x.L0.z", "dec.L2.h0.q", "s2.L1.h3.z"]
    assert [str(Site.parse(text)) for text in texts] == texts
    sites = {"a3.h5": "L3.h5.z", "dec.x1.h0": "dec.x.L1.h0.z", "s2.b1": "s2.L1.z"}
    assert {name: str(Node.parse(name).site) for name in sites} == sites
    with pytest.raises(DataError, match=r"Cannot read 'c1' as a node. Expected 'input', 'a3\.h5'"):
        Node.parse("c1")
