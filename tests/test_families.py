"""Every family of encoders: Hugging Face's logits, patching identities, a check that can fail."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest
import torch
from modelmaking import (
    FAMILIES,
    ROBERTA_SPECIAL,
    SPECIAL,
    make_family,
    make_pairs,
    make_tokenizer,
)
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, RobertaTokenizer

from behavior.errors import DataError, SelfCheckError
from behavior.examples import Pairs, TextInput
from behavior.readout import margin, read_labels
from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
from patching.alignment import align_pairs
from patching.attribution import attribute_heads
from patching.effects import Direction
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import head_nodes
from patching.models.selfcheck import check_model

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")
PAIRS = make_pairs(7, seed=3)
SWAPS = (("q", "k"), ("k", "v"), ("q", "o"), ("attention_norm", "mlp_norm"), ("o", "mlp"))


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("families") / request.param, request.param)


@pytest.fixture(scope="module")
def model(folder: Path) -> PatchableModel:
    """Opening it runs the self-check."""
    return load_checkpoint(folder, dtype="float64")


def plain_logits(folder: Path, inputs: Sequence[TextInput]) -> Tensor:
    """Hugging Face alone, one input at a time."""
    hf = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [tokenizer(text.text, text.hypothesis, return_tensors="pt") for text in inputs]
        return torch.cat([hf(**row).logits for row in rows])


def margins(model: PatchableModel, pairs: Pairs, side: str) -> Tensor:
    readout = read_labels(model.spec.classes, ("entailment", "non-entailment"))
    logits = readout.task_logits(model.logits(getattr(pairs, side)))
    return margin(logits, readout.index(pairs.labels), readout.index(pairs.foils))


def naive(model: PatchableModel, pairs: Pairs, node: str, direction: Direction) -> Tensor:
    """One full forward, with the recorded z of the other run put in place."""
    into, source = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    _, cache = model.run_with_cache(getattr(pairs, source), sites=[node])
    before = margins(model, pairs, into)
    with model.patch({node: cache[node]}):
        after = margins(model, pairs, into)
    return before - after if direction == "noise" else after - before


def heads_of(model: PatchableModel) -> list[str]:
    return [str(node) for node in head_nodes(model.spec.n_layers, model.spec.n_heads)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_family_passes_the_check_on_load(folder: Path, dtype: str) -> None:
    opened = load_checkpoint(folder, dtype="float32" if dtype == "float32" else "float64")
    assert (opened.spec.n_layers, opened.spec.n_heads, opened.spec.d_model) == (3, 3, 24)
    assert opened.spec.family == folder.name


def test_logits_of_mixed_lengths_are_those_of_hugging_face(
    model: PatchableModel, folder: Path
) -> None:
    assert len({len(row) for row in model.tokens(PAIRS.clean)}) > 1
    expected = plain_logits(folder, PAIRS.clean)
    assert expected.std(dim=0).min() > 1e-2, "the inputs should not all give the same logits"
    torch.testing.assert_close(model.logits(PAIRS.clean), expected, atol=1e-12, rtol=1e-12)


def test_a_head_set_to_zero_is_the_output_weight_without_its_columns(model: PatchableModel) -> None:
    plain, d_head = model.logits(PAIRS.clean), model.spec.d_head
    sizes: list[float] = []
    for layer, modules in enumerate(model.modules.layers):
        for head in range(model.spec.n_heads):
            with model.patch({f"a{layer}.h{head}": 0.0}):
                patched = model.logits(PAIRS.clean) - plain
            weight = modules.output_weight
            columns = weight.detach()[:, head * d_head : (head + 1) * d_head]
            kept = columns.clone()
            columns.zero_()
            zeroed = model.logits(PAIRS.clean) - plain
            columns.copy_(kept)
            assert (patched - zeroed).abs().max() <= 1e-5 * zeroed.abs().max()
            sizes.append(float(zeroed.abs().max()))
    assert min(sizes) > 1e-3, "every head should matter"
    assert max(sizes) > 1.5 * min(sizes), "heads should matter unequally"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_engine_equals_one_full_forward_for_each_head_and_mlp(
    model: PatchableModel, direction: Direction
) -> None:
    heads, mlps = patch_heads(model, PAIRS, direction), patch_mlps(model, PAIRS, direction)
    assert heads.values.std() > 1e-3
    assert list(heads.nodes) == heads_of(model)
    for effects in (heads, mlps):
        for node in effects.nodes:
            torch.testing.assert_close(effects.node(node), naive(model, PAIRS, node, direction))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_with_the_same_input_changes_nothing(
    model: PatchableModel, direction: Direction
) -> None:
    same = replace(PAIRS, corrupted=PAIRS.clean)
    for effects in (
        patch_heads(model, same, direction),
        patch_mlps(model, same, direction),
        patch_layers(model, same, direction, "patterns"),
        patch_layers(model, same, direction, "values"),
        attribute_heads(model, same, direction),
    ):
        assert effects.values.abs().max() < 1e-12


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_the_input_gives_the_other_run(
    model: PatchableModel, direction: Direction
) -> None:
    effects = patch_nodes(model, PAIRS, ["input"], direction)
    assert (effects.clean - effects.corrupted).std() > 1e-3
    torch.testing.assert_close(effects.node("input"), effects.clean - effects.corrupted)


@pytest.mark.parametrize("swap", SWAPS)
def test_swapped_paths_fail_the_check(model: PatchableModel, swap: tuple[str, str]) -> None:
    declared, (one, other) = model.architecture, swap
    wrong = replace(declared, **{one: getattr(declared, other), other: getattr(declared, one)})
    with pytest.raises(SelfCheckError, match=f"'{declared.family}'"):
        check_model(PatchableModel(model.hf, model.tokenizer, wrong, model.name))


def test_second_texts_that_start_elsewhere_are_not_aligned(model: PatchableModel) -> None:
    """With and without token types: the tokenizer says which text a token is of."""
    crooked = replace(
        make_pairs(1),
        clean=(TextInput("the doctor saw", "the nurse saw"),),
        corrupted=(TextInput("the doctor", "the nurse saw today"),),
    )
    with pytest.raises(DataError, match="second text starts at different tokens"):
        align_pairs(model, crooked)


def test_the_longest_input_is_as_long_as_the_position_table_allows(model: PatchableModel) -> None:
    longest = model.spec.max_length
    assert longest == (62 if model.spec.family == "roberta" else 64)
    fits = TextInput(" ".join(["doctor"] * (longest - 2)))
    assert len(model.tokens([fits])[0]) == longest
    assert torch.isfinite(model.logits([fits])).all()
    with pytest.raises(DataError, match=f"longer than the {longest}"):
        model.logits([TextInput(f"{fits.text} doctor")])


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_token_types_are_not_given_to_a_model_without_them(tmp_path: Path, family: str) -> None:
    """A tokenizer that makes types all the same does not break it, nor change its logits."""
    made = make_family(tmp_path / family, family)
    plain = load_checkpoint(made).logits(PAIRS.clean)
    special = ROBERTA_SPECIAL if family == "roberta" else SPECIAL
    separators = "[SEP] [SEP]" if family == "roberta" else "[SEP]"
    tokenizer = make_tokenizer(special=special, pair=f"[CLS] $A {separators} $B:1 [SEP]:1")
    tokenizer.save_pretrained(made)
    opened = load_checkpoint(made)
    assert opened.encode(PAIRS.clean)[0].types.any()
    torch.testing.assert_close(opened.logits(PAIRS.clean), plain)


def test_an_electra_whose_embedding_is_as_wide_as_its_stream_opens(tmp_path: Path) -> None:
    made = make_family(tmp_path / "electra", "electra", embedding_size=24)
    model = load_checkpoint(made, dtype="float64")
    torch.testing.assert_close(model.logits(PAIRS.clean), plain_logits(made, PAIRS.clean))
    effects = patch_nodes(model, PAIRS, ["input"])
    torch.testing.assert_close(effects.node("input"), effects.clean - effects.corrupted)


def test_a_roberta_with_its_own_byte_level_tokenizer_opens(tmp_path: Path) -> None:
    tokens = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet()))
    tokenizer = RobertaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
    made = make_family(tmp_path / "roberta", "roberta", vocab_size=len(tokens))
    (made / "tokenizer.json").unlink()
    tokenizer.save_pretrained(made)
    model = load_checkpoint(made, dtype="float64")
    inputs = (TextInput("she met him", "he met her"), TextInput("she ran", "he saw"))
    torch.testing.assert_close(model.logits(inputs), plain_logits(made, inputs))
    words, _ = model.encoder.words(inputs[0])
    assert words == ("<s>", "she", "met", "him", "</s>", "</s>", "he", "met", "her", "</s>")
    assert model.encode(inputs)[0].second_start == len("she met him") + 3


def test_the_worked_example_of_the_guide_is_the_declaration() -> None:
    root = Path(__file__).parents[1]
    source = (root / "patching/models/families/electra.py").read_text(encoding="utf-8")
    declaration = source[source.index("ELECTRA = ") :]
    guide = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert indent(declaration, "    ") in guide
