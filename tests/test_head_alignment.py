"""Head alignment: what must be found in copies, and what must not be found between strangers."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from modelmaking import make_family, make_pairs_for

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast, Pairs
from circuits.compare.alignment.align import Alignment, align_heads
from circuits.compare.alignment.evidence import collect_evidence, gram_features
from circuits.compare.alignment.inputs import EvidenceInputs, evidence_inputs, shared_words
from circuits.compare.alignment.matching import Matching, fates, match_heads
from circuits.compare.alignment.similarity import HeadSimilarity
from circuits.compare.untrained import untrained_like
from circuits.plants import changes, make_plant
from patching import Effects, load_checkpoint, patch_heads
from patching.models.model import PatchableModel

N = 48

Evidence_ = Mapping[Contrast, Pairs[Any]]


@cache
def model_of(family: str, seed: int = 0) -> PatchableModel:
    with TemporaryDirectory() as folder:
        return load_checkpoint(make_family(Path(folder), family, seed=seed), check=False)


@cache
def pairs_of(family: str) -> Evidence_:
    return {contrast: make_pairs_for(family, N, contrast=contrast) for contrast in CONTRASTS}


@cache
def plant() -> tuple[PatchableModel, Evidence_]:
    """In float64, and whose heads differ enough for changes of layers and heads to be told."""
    made = make_plant("wired", "bert", seed=5, n_pairs=24)
    return made.model, {contrast: made.pairs(contrast, 64) for contrast in CONTRASTS}


def aligned(teacher: PatchableModel, student: PatchableModel, pairs: Evidence_) -> Alignment:
    return align_heads(teacher, student, pairs, n_untrained=1)


def links(found: Alignment) -> dict[str, str]:
    return {link.teacher: link.student for link in found.links}


@pytest.mark.parametrize("family", ["bert", "gpt2", "vit"])
def test_a_permutation_with_rotated_values_is_found_exactly(family: str) -> None:
    model, order = model_of(family), (2, 0, 1)
    found = aligned(model, changes.permute_heads(model, "a1", order, seed=4), pairs_of(family))
    assert found.level == "heads"
    expected = {head: head for head in model.spec.heads}
    expected |= {f"a1.h{old}": f"a1.h{new}" for new, old in enumerate(order)}
    assert links(found) == expected
    assert all(abs(link.similarity - 1) < 1e-6 for link in found.links)
    assert not found.unmatched_teacher and not found.unmatched_student


def test_a_model_is_itself_and_all_its_effects_are_preserved() -> None:
    model = model_of("bert")
    found = aligned(model, model, pairs_of("bert"))
    assert links(found) == {head: head for head in model.spec.heads}
    assert {link.relation for link in found.links} == {"one"}
    for contrast, sums in found.fates.items():
        assert sums["preserved"] == pytest.approx(found.totals[contrast])


def test_nets_of_different_seeds_cannot_be_matched() -> None:
    found = aligned(model_of("bert"), model_of("bert", 6), pairs_of("bert"))
    assert found.level == "stages" and not found.links
    assert found.reason.startswith("Heads of these models cannot be matched")
    assert found.unmatched_teacher == found.teacher_heads
    for contrast, sums in found.fates.items():
        assert sums["unmatched"] == pytest.approx(found.totals[contrast])


def test_after_a_layer_is_dropped_those_before_and_after_it_are_matched_rightly() -> None:
    model, pairs = plant()
    found = aligned(model, changes.drop_layer(model, 1), pairs)
    assert found.level == "heads"
    assert all(f"a0.h{head}" in links(found) for head in range(4))
    for teacher, student in links(found).items():
        if teacher.startswith(("a0", "a2")):
            assert student == teacher.replace("a2", "a1")
    assert any(head.startswith("a1") for head in found.unmatched_teacher)
    assert conserved(found)


def test_a_head_split_in_two_and_two_heads_fused_are_named_so_and_lose_no_mass() -> None:
    (model, pairs), head, other = plant(), "a0.h1", "a0.h0"
    split = changes.split_head(model, head, other, 0.4)
    found = aligned(model, split, pairs)
    parts = [link for link in found.links if link.teacher == head]
    assert {link.student for link in parts} == {head, other}
    assert {link.relation for link in parts} == {"split"}
    fused = changes.fuse_heads(split, head, other)
    back = aligned(split, fused, pairs)
    parts = [link for link in back.links if link.student == head]
    assert {link.teacher for link in parts} == {head, other}
    assert {link.relation for link in parts} == {"merged"}
    assert other in back.unmatched_student
    assert back.fates["core"]["merged"] > 0
    assert back.fates["core"]["unmatched"] + back.fates["core"]["lost"] < 1e-3
    assert conserved(found) and conserved(back)


def test_a_silenced_head_is_matched_to_none() -> None:
    model, head = model_of("bert"), "a1.h0"
    student = changes.silence_head(model, head, pairs_of("bert")["core"].clean)
    found = aligned(model, student, pairs_of("bert"))
    assert found.level == "heads"
    assert head in found.unmatched_student and head in found.unmatched_teacher


def test_a_student_that_moved_a_little_from_the_teacher_keeps_its_heads() -> None:
    model = model_of("gpt2")
    found = aligned(model, moved(model, 0.1), pairs_of("gpt2"))
    assert found.level == "heads"
    right = [teacher == student for teacher, student in links(found).items()]
    assert np.mean(right) > 0.8


def moved(model: PatchableModel, share: float) -> PatchableModel:
    """Every weight matrix with noise of a share of its size."""
    student = changes.copy_model(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in student.hf.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(share * parameter.std(correction=0) * noise)
    return student


def conserved(found: Alignment) -> bool:
    return all(
        abs(sum(sums.values()) - found.totals[contrast]) < 1e-9
        for contrast, sums in found.fates.items()
    )


def test_swapping_teacher_and_student_transposes() -> None:
    model, pairs = plant()
    student = changes.permute_heads(changes.drop_layer(model, 2), "a1", (1, 2, 3, 0))
    one, other = aligned(model, student, pairs), aligned(student, model, pairs)
    swapped = {(link.student, link.teacher) for link in other.links}
    assert {(link.teacher, link.student) for link in one.links} == swapped
    assert one.unmatched_teacher == other.unmatched_student
    np.testing.assert_allclose(one.similarity, other.similarity.T, atol=1e-6)
    assert one.null is not None and other.null is not None
    assert one.null.own.value == pytest.approx(other.null.own.value)
    assert one.null.excess.value == pytest.approx(other.null.excess.value)


def test_the_other_half_of_the_quads_is_left_alone_and_named() -> None:
    pairs = pairs_of("bert")
    found = aligned(model_of("bert"), model_of("bert"), pairs)
    everything = {unit for each in pairs.values() for unit in each.units}
    assert set(found.units) | set(found.held_out) == everything
    assert not set(found.units) & set(found.held_out)


def test_effects_that_are_known_are_taken_and_give_the_same() -> None:
    model, pairs = model_of("bert"), pairs_of("bert")
    effects: dict[Contrast, Effects] = {c: patch_heads(model, each) for c, each in pairs.items()}
    measured = aligned(model, model, pairs)
    given = align_heads(model, model, pairs, effects=(effects, effects), n_untrained=1)
    np.testing.assert_allclose(given.similarity, measured.similarity, atol=1e-6)
    assert links(given) == links(measured)


def test_a_twin_is_one_more_null_and_an_equal_one_cannot_be_beaten() -> None:
    model, pairs = model_of("bert"), pairs_of("bert")
    for side, twins in (("teacher", {"twins": [model]}), ("student", {"student_twins": [model]})):
        found = align_heads(model, model, pairs, **twins, n_untrained=1)
        assert found.null is not None and f"{side} twin 1" in found.null.nulls
        assert found.level == "stages"
        assert "does not exceed" in found.reason and "1 of another seed" in found.reason


def test_json_and_table_hold_every_head_once() -> None:
    model, pairs = plant()
    found = aligned(model, changes.drop_layer(model, 1), pairs)
    stored, table = found.to_json(), found.to_dataframe()
    assert stored["level"] == "heads" and stored["null"] is not None
    assert set(table["teacher"].dropna()) == set(model.spec.heads)
    assert set(table["student"].dropna()) == set(found.student_heads)
    assert list(stored["units"]) == list(found.units)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("family", ["t5", "t5-words"])
def test_heads_of_an_encoder_decoder_meet_only_heads_of_their_own_kind_of_row(
    family: str, tmp_path: Path
) -> None:
    model = load_checkpoint(make_family(tmp_path / family, family))
    found = aligned(model, model, {"core": make_pairs_for(family, 60)})
    similarity = found.similarity
    kinds = [
        head.partition("a0")[0] + ("x" if ".x" in head else "") for head in found.teacher_heads
    ]
    kinds = [head.rsplit(".", 1)[0].rstrip("0123456789") for head in found.teacher_heads]
    other = np.array([[a != b for b in kinds] for a in kinds])
    assert set(kinds) == {"enc.a", "dec.a", "dec.x"}
    assert np.all(similarity[other] == 0)
    assert all(teacher == student for teacher, student in links(found).items())
    assert found.level == "heads"


def test_groups_of_channels_are_never_matched(tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "resnet", "resnet"))
    found = aligned(model, model, {"core": make_pairs_for("resnet", 40)})
    assert found.level == "stages" and found.null is None and not found.links
    assert "an arbitrary cut" in found.reason


def test_an_untrained_net_has_the_shape_and_not_the_weights(tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "t5-words", "t5-words"))
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    fresh, again = untrained_like(model, 3), untrained_like(model, 3)
    assert fresh.spec == model.spec and fresh.word_ids == model.word_ids
    inputs = make_pairs_for("t5-words", 4).clean
    assert torch.equal(fresh.logits(inputs), again.logits(inputs))
    assert not torch.allclose(fresh.logits(inputs), model.logits(inputs))
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())


def given_of(family: str) -> tuple[PatchableModel, EvidenceInputs]:
    pairs = pairs_of(family)
    units = sorted({unit for each in pairs.values() for unit in each.units})
    return model_of(family), evidence_inputs(pairs, units, 0)


def test_output_similarity_is_unbiased_linear_cka() -> None:
    """Against the closed form of Song et al. 2012, in one group."""
    generator = np.random.default_rng(0)
    _, given = given_of("bert")
    members = given.group == 0
    x, y = generator.normal(size=(2, len(given.group), 1, 5))
    y = x @ generator.normal(size=(5, 5)) + 0.5 * y
    (a, b) = (gram_features(each, given) for each in (x, y))
    n = int(members.sum())
    first = slice(0, n * (n - 1) // 2)

    def hsic(u: np.ndarray, v: np.ndarray) -> float:
        k, m = (each[members, 0] @ each[members, 0].T for each in (u, v))
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        total = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2))
        return float(total - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    u, v = a.values[first, 0], b.values[first, 0]
    assert u @ v / np.sqrt((u @ u) * (v @ v)) == pytest.approx(expected, rel=1e-5)


def test_similarities_on_some_blocks_are_cosines_of_their_entries() -> None:
    model, given = given_of("bert")
    words = shared_words([model], given.inputs)[0]
    effects: dict[Contrast, Effects] = {
        contrast: patch_heads(model, each) for contrast, each in given.pairs.items()
    }
    evidence = collect_evidence(model, given, words, effects)
    keep = np.arange(10) < 4
    found = HeadSimilarity(evidence, evidence).by_kind(keep)["attention"]
    features = evidence[""].features["attention"][0]
    chosen = features.values[keep[features.blocks[:, 0]]].astype(np.float64)
    sizes = np.sqrt((chosen**2).sum(axis=0))
    np.testing.assert_allclose(found, chosen.T @ chosen / (sizes[:, None] * sizes), atol=1e-5)


def test_a_head_joins_only_if_the_sum_comes_closer() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 200))
    similarity = np.array([[0.9], [0.8]])
    merged = match_heads(similarity, 0.3, (np.stack([a, b]), (a + b)[None]))
    assert merged.pairs == ((0, 0), (1, 0)) and merged.relation((1, 0)) == "merged"
    alone = match_heads(similarity, 0.3, (np.stack([a, a]), a[None]))
    assert alone.pairs == ((0, 0),)
    copies = match_heads(np.array([[0.95], [0.94]]), 0.3, (np.stack([a, a]), a[None]))
    assert copies.pairs == ((0, 0), (1, 0))
    assert match_heads(similarity, 0.95, (np.stack([a, b]), a[None])).pairs == ()


def test_every_bit_of_effect_has_one_fate() -> None:
    teacher, student = np.array([0.5, 0.4, 0.3, -0.2, 0.1]), np.array([0.5, 0.1, 0.0, 0.3])
    found = fates(teacher, student, Matching(((0, 0), (1, 1), (2, 2), (4, 3), (3, 3))))
    assert found["preserved"] == pytest.approx(0.6) and found["weakened"] == pytest.approx(0.3)
    assert found["lost"] == pytest.approx(0.3) and found["merged"] == pytest.approx(0.3)
    assert sum(found.values()) == pytest.approx(np.abs(teacher).sum())


def test_too_little_is_refused_in_one_line() -> None:
    model, pairs = model_of("bert"), make_pairs_for("bert", 30)
    with pytest.raises(DataError, match="needs at least 20 in it, but there are 15"):
        align_heads(model, model, {"core": pairs})
    with pytest.raises(DataError, match="There are no pairs"):
        align_heads(model, model, {})
    with pytest.raises(DataError, match="n_untrained is 0"):
        align_heads(model, model, {"core": pairs}, n_untrained=0)
