"""The lens: at the last stage it is the model, and before it, it reads what was planted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import write_quads
from modelmaking import FAMILIES, IMAGE_FAMILIES, make_family, make_images

from behavior.examples import CELLS, Quad
from behavior.readout import margin, read_labels
from behavior.tasks import load_task
from patching import PatchableModel, load_checkpoint
from probes.folds import assign_folds
from probes.lens import (
    ENCODER,
    StageStates,
    margins_by_stage,
    raw_margins,
    read_states,
    tuned_margins,
)

LABELS = ("entailment", "non-entailment")


def quads_for(family: str, tmp_path: Path, n: int = 6) -> tuple[Quad[Any], ...]:
    if family in IMAGE_FAMILIES:
        images = make_images(4 * n)
        return tuple(
            Quad(f"q{i}", *images[4 * i : 4 * i + 4], *LABELS, template=f"t{i % 3}")
            for i in range(n)
        )
    return load_task("quads", path=write_quads(tmp_path / "quads.jsonl", n)).quads(n)


def answers(model: PatchableModel, quads: tuple[Quad[Any], ...]) -> np.ndarray:
    """Margins of the model itself, by another route than the lens takes."""
    readout = read_labels(model.spec.classes, LABELS)
    logits = readout.task_logits(model.logits([q.cell(cell) for q in quads for cell in CELLS]))
    label, foil = (readout.index([name] * len(logits)) for name in LABELS)
    return margin(logits, label, foil).reshape(-1, 4).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_last_stage_the_lens_gives_the_model_s_own_margin(
    family: str, tmp_path: Path
) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    model.hf.double()
    model = PatchableModel(model.hf, model.processor, model.architecture, "double")
    quads = quads_for(family, tmp_path)
    readout = read_labels(model.spec.classes, LABELS)
    found = margins_by_stage(model, quads, readout, batch_size=5)
    np.testing.assert_allclose(found.margins[-1], answers(model, quads), rtol=1e-12, atol=1e-12)
    for margins, reason in zip(found.margins, found.reasons, strict=True):
        assert np.isnan(margins).all() == np.isnan(margins).any() == (reason is not None)
    states = read_states(model, quads)
    folds = assign_folds([q.id for q in quads], [q.template for q in quads])
    tuned = tuned_margins(model, states, readout, folds)
    np.testing.assert_allclose(tuned.margins[-1], found.margins[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", ["t5", "resnet", "bert"])
def test_stages_that_the_classifier_cannot_read_have_a_reason(family: str, tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    quads = quads_for(family, tmp_path)
    readout = read_labels(model.spec.classes, LABELS)
    states = read_states(model, quads)
    found = raw_margins(model, states, readout)
    by_name = {p.name: reason for p, reason in zip(found.points, found.reasons, strict=True)}
    expected = {
        "t5": {name: ENCODER for name in by_name if name.startswith("enc")},
        "resnet": dict.fromkeys(
            ("input", "s0.b0", "s0.b1"),
            "the stream has 9 channels here, the classifier reads 18",
        ),
        "bert": {},
    }[family]
    assert {name: reason for name, reason in by_name.items() if reason} == expected
    folds = assign_folds([q.id for q in quads], [q.template for q in quads])
    tuned = tuned_margins(model, states, readout, folds)
    assert [r == ENCODER for r in tuned.reasons] == [p.name.startswith("enc") for p in tuned.points]


def test_swapping_label_and_foil_flips_every_margin(tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", "bert"))
    quads = quads_for("bert", tmp_path)
    turned = tuple(Quad(q.id, q.L, q.C, q.N, q.A, q.foil, q.label, q.template) for q in quads)
    readout = read_labels(model.spec.classes, LABELS)
    found, other = (margins_by_stage(model, each, readout) for each in (quads, turned))
    np.testing.assert_allclose(other.margins, -found.margins[:, :, ::-1], rtol=1e-4, atol=1e-5)


def test_margins_do_not_depend_on_the_batches_and_progress_counts_inputs(tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", "gpt2"))
    quads = quads_for("gpt2", tmp_path)
    readout = read_labels(model.spec.classes, LABELS)
    seen: list[tuple[int, int]] = []
    found = margins_by_stage(
        model, quads, readout, batch_size=5, progress=lambda done, n: seen.append((done, n))
    )
    whole = margins_by_stage(model, quads, readout)
    np.testing.assert_allclose(found.margins, whole.margins, rtol=1e-4, atol=1e-4)
    assert seen[-1] == (24, 24)


def test_a_translator_undoes_a_rotation_of_the_last_stage_and_sees_no_held_out_quad(
    tmp_path: Path,
) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", "bert"))
    quads = quads_for("bert", tmp_path, 60)
    readout = read_labels(model.spec.classes, LABELS)
    states = read_states(model, quads)
    last = states.states[-1]
    assert last is not None
    turn = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(0)))[0]
    turned = StageStates(states.points[-2:], (last @ turn, last), quads)
    folds = assign_folds([q.id for q in quads], [""] * len(quads))
    tuned = tuned_margins(model, turned, readout, folds, penalty=1e-6)
    raw = raw_margins(model, turned, readout)
    np.testing.assert_allclose(tuned.margins[0], tuned.margins[1], atol=0.02)
    assert np.abs(raw.margins[0] - raw.margins[1]).max() > 0.3
    spoiled = last @ turn
    rows = np.repeat(folds == 0, 4)
    spoiled[torch.from_numpy(rows)] *= -50.0
    other = StageStates(states.points[-2:], (spoiled, last), quads)
    rest = tuned_margins(model, other, readout, folds, penalty=1e-6)
    np.testing.assert_allclose(rest.margins[1], tuned.margins[1])
    assert not np.allclose(rest.margins[0][folds == 0], tuned.margins[0][folds == 0], atol=0.1)
