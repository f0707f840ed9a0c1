"""The verdict gives each of its answers to models that were made to deserve it."""

from pathlib import Path

import pytest
from lateplanting import is_top, plant_late

from circuits.compare import Comparison, compare_models
from circuits.compare.reading import estimate, listing
from circuits.compare.untrained import untrained_like
from circuits.plants import changes
from patching import PatchableModel, load_checkpoint

SMALL: dict[str, object] = {
    "n_pairs": 120,
    "n_examples": 20,
    "n_resamples": 100,
    "discovery": "none",
    "interventions": False,
    "check": False,
}


def compared(teacher: str | Path, student: str | Path, **options: object) -> Comparison:
    return compare_models(teacher, student, **(SMALL | options))  # pyright: ignore[reportArgumentType]


def saved(model: PatchableModel, folder: Path) -> Path:
    model.hf.save_pretrained(folder)
    model.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The debiased image model against a top trained on fully biased data."""
    student = plant_late(load_checkpoint("vit-teacher", check=False))
    folder = saved(student, tmp_path_factory.mktemp("late"))
    return compared("vit-teacher", folder, task="digits", n_probe_quads=500)


def test_a_top_trained_on_fully_biased_data_has_the_core_and_does_not_use_it(
    late: Comparison,
) -> None:
    assert late.verdict.status == "erosion"
    assert (late.verdict.location, late.verdict.stage) == ("present, not used", None)
    assert (estimate(late.result, "losses", "N").value or 0) > 0.3
    assert (estimate(late.result, "losses", "C").value or 0) > 0.3


def test_such_a_top_is_read_above_what_an_untrained_net_gives(late: Comparison) -> None:
    ends = {
        model: estimate([r for r in rows if r["model"] == model][-1], "core_NL")
        for rows in (listing(late.result, "stages"),)
        for model in ("teacher", "student", "untrained_student")
    }
    student, untrained = ends["student"].low, ends["untrained_student"].value
    assert student is not None and untrained is not None and student > untrained


def test_the_top_is_the_last_layer_and_what_follows_it() -> None:
    names = [name for name, _ in load_checkpoint("vit-teacher", check=False).hf.named_parameters()]
    top = [name for name in names if is_top(name)]
    assert len(top) == 16 + 2 + 2
    assert not any("embeddings" in name for name in top)


def test_a_plain_student_has_eroded_and_the_loss_is_located() -> None:
    found = compared("teacher", "student-plain", n_probe_quads=300)
    assert (found.verdict.status, found.verdict.location) == ("erosion", "located")
    stages = [row["stage"] for row in listing(found.result, "stages") if row["model"] == "student"]
    assert found.verdict.stage in stages
    assert f"Lost from stage {found.verdict.stage}" in " ".join(found.verdict.sentences)


def test_a_directly_debiased_student_has_not_eroded() -> None:
    found = compared("teacher", "student-debiased", n_probe_quads=0)
    assert (found.verdict.status, found.verdict.location) == ("no erosion", None)


def test_a_small_constant_on_one_logit_is_no_erosion(tmp_path: Path) -> None:
    teacher = load_checkpoint("teacher", check=False)
    folder = saved(changes.add_constant(teacher, "entailment", 1.0), tmp_path)
    found = compared("teacher", folder, task="nli-overlap", n_probe_quads=0)
    assert (found.verdict.status, found.verdict.location) == ("no erosion", None)


def test_a_biased_teacher_leaves_it_undecided() -> None:
    found = compared("teacher-plain", "student", n_probe_quads=0)
    assert found.verdict.status == "undecided"
    assert "the teacher itself is right on only" in found.verdict.sentences[0]


@pytest.mark.parametrize("trained", [False, True])
def test_untrained_models_leave_it_undecided(tmp_path: Path, trained: bool) -> None:
    """Two of them, and one as the student of a teacher that knows its task."""
    student = saved(untrained_like(load_checkpoint("student", check=False), 3), tmp_path / "s")
    teacher = load_checkpoint("teacher", check=False)
    first = "teacher" if trained else saved(untrained_like(teacher, 4), tmp_path / "t")
    found = compared(first, student, task="nli-overlap", n_probe_quads=0)
    assert (found.verdict.status, found.verdict.location) == ("undecided", None)
    said = "does not respond to either cue" if trained else "the teacher itself is right on only"
    assert said in found.verdict.sentences[0]
