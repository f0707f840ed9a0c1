"""How trainings are run: several processes, accumulation, precision, selection, and reports."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file
from torch import Tensor

from behavior.errors import RecipeError
from distillation.options import RunOptions
from distillation.progress import follow
from distillation.recipe import Recipe, SelectionRecipe
from distillation.recipe_files import load_recipe
from distillation.train import main
from distillation.trainer import ObjectiveTrainer
from distillation.training import train
from distillation.validation import Selection

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = [
    "data.n=200",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=12",
    "optimization.batch_size=8",
]


def tiny(*settings: str) -> Recipe:
    return load_recipe(RECIPES / "student-plain.yaml", [*TINY, *settings])


def selecting(rule: str, every: int = 2, patience: int | None = None) -> Recipe:
    settings = [f"selection.rule={rule}", f"selection.every={every}"]
    return tiny(*settings, *([] if patience is None else [f"selection.patience={patience}"]))


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def record(folder: Path) -> dict[str, object]:
    return json.loads((folder / "training.json").read_text())


def distance(one: Path, other: Path) -> float:
    """Largest difference of two models' weights, without the biases of attention keys.

    A softmax over keys does not see these: their gradient is rounding error, which AdamW scales
    to whole steps.
    """
    ours, theirs = weights(one), weights(other)
    seen = [name for name in ours if not name.endswith("key.bias")]
    return max(float((ours[name] - theirs[name]).abs().max()) for name in seen)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(), 0, tmp_path_factory.mktemp("plain") / "run")


def test_two_processes_train_the_weights_of_one(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [part for setting in TINY for part in ("--set", setting)]
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["distillation.train", str(RECIPES / "student-plain.yaml"), *settings]
    done = subprocess.run(
        [sys.executable, "-m", *launch, "-m", *command, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"student-plain, seed 0: {out}") == 1
    assert record(out)["run"]["processes"] == 2
    assert distance(plain, out) <= 1e-5


def test_accumulated_parts_make_the_same_step(plain: Path, tmp_path: Path) -> None:
    out = train(tiny(), 0, tmp_path / "run", options=RunOptions(accumulate=4))
    assert 0 < distance(plain, out) <= 1e-5
    assert record(out)["run"]["accumulate"] == 4 and record(plain)["run"]["accumulate"] == 1


@pytest.mark.parametrize("objective", ["{name: reweighting}", "{name: self-debiasing}"])
def test_a_loss_that_is_no_mean_over_items_is_not_taken_in_parts(
    objective: str, tmp_path: Path
) -> None:
    recipe = tiny(f"objective={objective}", "bias_model=overlap-counts")
    with pytest.raises(RecipeError, match="no mean over the items of a batch"):
        train(recipe, 0, tmp_path / "run", options=RunOptions(accumulate=2))
    assert not (tmp_path / "run").exists()
    by_dataset = tiny(
        "objective={name: reweighting, normalise: dataset}", "bias_model=overlap-counts"
    )
    whole, parts = (
        train(by_dataset, 0, tmp_path / f"in-{n}", options=RunOptions(accumulate=n)) for n in (1, 2)
    )
    assert 0 < distance(whole, parts) <= 1e-5


def test_a_skipped_update_leaves_no_gradients_of_a_criterion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with fp16, which skips an update whose gradients are infinite."""
    seen: list[bool] = []
    original = ObjectiveTrainer.training_step

    def look(self: ObjectiveTrainer, *args: object, **kwargs: object) -> object:
        seen.append(all(weight.grad is None for weight in self.criterion.parameters()))
        return original(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ObjectiveTrainer, "training_step", look)
    monkeypatch.setattr(AcceleratedOptimizer, "step", lambda *_: None)
    recipe = tiny("objective={name: learned-mixin}", "bias_model=overlap-counts")
    train(recipe.with_steps(3), 0, tmp_path / "run")
    assert seen == [True, True, True]


def test_half_precision_trains_weights_of_full_precision(plain: Path, tmp_path: Path) -> None:
    out = train(tiny(), 0, tmp_path / "run", options=RunOptions(precision="bf16"))
    assert {value.dtype for value in weights(out).values()} == {torch.float32}
    assert 1e-5 < distance(plain, out) < 0.1


def test_the_options_are_no_part_of_what_was_trained(plain: Path) -> None:
    before = (plain / "model.safetensors").stat().st_mtime_ns
    assert train(tiny(), 0, plain, options=RunOptions(accumulate=2)) == plain
    assert (plain / "model.safetensors").stat().st_mtime_ns == before
    assert "selection" not in record(plain)["recipe"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "torch sees no GPU"),
        ({"precision": "fp16"}, "a CPU trains in fp32 or bf16"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"report_to": ("carrier-pigeon",)}, "report_to must be none or one of .*tensorboard"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    options: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=message):
        RunOptions(**options)


def test_a_batch_that_cannot_be_split_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="batch_size is 8, which cannot be split evenly"):
        train(tiny(), 0, tmp_path / "run", options=RunOptions(accumulate=3))
    assert not any(tmp_path.iterdir())


def test_an_interrupted_run_does_not_go_on_in_another_precision(
    tmp_path: Path, interrupt: Callable[[int | None], None]
) -> None:
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), 0, tmp_path / "run", options=RunOptions(precision="bf16"))
    with pytest.raises(Exception, match="unfinished training with another precision"):
        train(tiny(), 0, tmp_path / "run")


def test_curves_are_kept_with_the_model(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    recipe = tiny().with_steps(50)
    out = train(recipe, 0, tmp_path / "run", options=RunOptions(report_to=("tensorboard",)))
    assert list((out / "runs").glob("*/events.out.tfevents.*"))


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the next measurements give, in this order."""
    given: list[float] = []
    monkeypatch.setattr(Selection, "measure", lambda *_: given.pop(0))
    return given


def test_the_best_checkpoint_is_kept_and_the_record_says_which(
    scores: list[float], tmp_path: Path, interrupt: Callable[[int | None], None]
) -> None:
    scores += [0.2, 0.6, 0.4, 0.6, 0.5, 0.1]
    out = train(selecting("worst-group"), 0, tmp_path / "run")
    told = record(out)["selected"]
    assert (told["rule"], told["step"], told["value"]) == ("worst-group", 4, 0.6)
    assert [entry["step"] for entry in told["measured"]] == [2, 4, 6, 8, 10, 12]
    # The same schedule stopped at that step leaves these weights.
    interrupt(4)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), 0, tmp_path / "last", save_steps=4)
    stopped = tmp_path / "last.partial" / "checkpoints" / "checkpoint-4"
    assert distance(stopped, out) == 0.0


def test_patience_ends_a_training_and_survives_an_interruption(
    scores: list[float], tmp_path: Path, interrupt: Callable[[int | None], None]
) -> None:
    scores += [0.5, 0.4, 0.3, 0.2]
    recipe = selecting("in-domain", patience=3)
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, 0, tmp_path / "run")
    assert scores == [0.3, 0.2]
    interrupt(None)
    out = train(recipe, 0, tmp_path / "run")
    told = record(out)["selected"]
    assert [entry["step"] for entry in told["measured"]] == [2, 4, 6, 8] and told["step"] == 2


def test_rules_measure_validation_data_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distillation.validation.N_VALIDATION", 40)
    told = {
        rule: record(train(selecting(rule, every=12), 0, tmp_path / rule))
        for rule in ("in-domain", "worst-group")
    }
    cells = told["worst-group"]["validation_accuracy"].values()
    assert told["worst-group"]["selected"]["value"] == min(cell["value"] for cell in cells)
    assert 0 <= told["in-domain"]["selected"]["value"] <= 1


def test_a_rule_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"selection\.every is 20, but optimization\.steps is 12"):
        selecting("in-domain", every=20)
    with pytest.raises(RecipeError, match=r"selection\.rule must be in-domain or worst-group"):
        tiny("selection.patience=2")
    with pytest.raises(RecipeError, match=r"selection\.rule must be one of 'last', 'in-domain'"):
        selecting("test")
    with pytest.raises(RecipeError, match=r"selection\.every must be at least 1"):
        selecting("in-domain", every=0)
    assert selecting("in-domain", every=6).with_steps(3).selection.every == 3
    assert replace(tiny(), selection=SelectionRecipe()).to_json() == tiny().to_json()


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with follow("student") as progress:
        progress(50, 100, 0.5, 2.0)
    assert capsys.readouterr().out == "step    50 of 100   loss 0.500   2 s\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with follow("student") as progress:
        progress(50, 100, 0.5, 2.0)
    captured = capsys.readouterr()
    assert captured.out == "" and "50/100" in captured.err and "loss=0.500" in captured.err


def test_the_command_takes_the_options_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in TINY for part in ("--set", setting)]
    command = [str(RECIPES / "student-plain.yaml"), *settings, "--out", str(tmp_path / "run")]
    assert main([*command, "--accumulate", "2", "--device", "auto", "--report-to", "none"]) == 0
    assert record(tmp_path / "run")["run"]["accumulate"] == 2
    assert main([*command, "--report-to", "pigeon"]) == 2
    assert "report_to must be none or one of" in capsys.readouterr().err
