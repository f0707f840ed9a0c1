"""Training: resuming changes nothing, folders are whole, seeds decide what they should."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from behavior.errors import DataError, RecipeError, ResultError
from behavior.examples import TextInput
from behavior.tasks import load_task
from distillation.bias_models import FITTED, overlap_features
from distillation.data import draw_order, encode
from distillation.families import PretrainedRecipe
from distillation.folders import (
    find_parents,
    last_checkpoint,
    open_partial,
    partial_folder,
    write_json,
)
from distillation.grid import train_grid
from distillation.models import build_classifier, load_classifier, word_tokenizer
from distillation.objectives import Signals
from distillation.objectives.resampling import Resampling
from distillation.prepare import Prepared, prepare
from distillation.recipe import BiasModelRecipe, DataRecipe, Recipe, StartRecipe
from distillation.recipe_files import list_recipes, load_recipe
from distillation.remedies import AugmentRecipe, copy_weights, counterfactual_twins
from distillation.train import main
from distillation.training import file_digests, train, training_request

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = [
    "data.n=200",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=12",
    "optimization.batch_size=8",
]


def tiny(name: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", TINY)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def initial(prepared: Prepared) -> dict[str, Tensor]:
    """The weights that a training starts from."""
    return dict(prepared.materials.classifier.model.state_dict())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny teacher, and the student distilled from it without interruption."""
    folder = tmp_path_factory.mktemp("runs")
    train_grid([tiny("teacher"), tiny("student")], [0], folder)
    return folder


def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(
    runs: Path, tmp_path: Path, interrupt: Callable[[int | None], None]
) -> None:
    parents = {"teacher": runs / "teacher" / "seed-0"}
    out = tmp_path / "student"
    interrupt(8)
    with pytest.raises(KeyboardInterrupt):
        train(tiny("student"), 0, out, parents=parents, save_steps=6)
    assert not out.exists()
    assert last_checkpoint(
        tmp_path / "student.partial" / "checkpoints",
    )
    interrupt(None)
    train(tiny("student"), 0, out, parents=parents, save_steps=6)
    assert same(weights(out), weights(runs / "student" / "seed-0"))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_checkpoint_cut_short_by_a_kill_is_not_resumed_from(tmp_path: Path) -> None:
    for step, state in ((6, '{"global_step": 6}'), (12, '{"global_st')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-18").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-6")


def test_what_an_interrupted_training_left_serves_no_other_one(
    tmp_path: Path, interrupt: Callable[[int | None], None]
) -> None:
    out = tmp_path / "teacher"
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        train(tiny("teacher"), 0, out)
    with pytest.raises(ResultError, match=r"left by an unfinished training with another seed"):
        train(tiny("teacher"), 1, out)


def test_the_finished_folder_is_a_plain_hugging_face_folder(runs: Path) -> None:
    folder = runs / "student" / "seed-0"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        "training.json",
    }
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("the doctor helped the kid", "the kid slept", return_tensors="pt")
    assert encoded["token_type_ids"].tolist() == [[0] * 7 + [1] * 4]
    assert (encoded["input_ids"] == tokenizer.unk_token_id).sum() == 1
    assert model(**encoded).logits.shape == (1, 2)
    assert model.config.id2label == {0: "non-entailment", 1: "entailment"}


def test_the_record_says_how_the_model_came_to_be(runs: Path) -> None:
    record = json.loads((runs / "student" / "seed-0" / "training.json").read_text())
    teacher = json.loads((runs / "teacher" / "seed-0" / "training.json").read_text())
    assert record["seed"] == 0 and record["recipe"]["optimization"]["steps"] == 12
    assert record["parents"] == {"teacher": teacher["digest"]}
    assert set(record["validation_accuracy"]) == {"A", "N", "C", "L"}
    assert sum(record["data"]["cells"].values()) == record["data"]["n"] == 200
    assert record["seconds"] > 0 and record["versions"]["torch"]


def test_a_finished_training_is_left_alone_and_another_one_does_not_replace_it(runs: Path) -> None:
    folder = runs / "teacher" / "seed-0"
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert train(replace(tiny("teacher"), description="Reworded."), 0, folder) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ResultError, match="holds a training with another seed"):
        train(tiny("teacher"), 1, folder)


def test_a_folder_that_is_no_training_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader")
    with pytest.raises(ResultError, match="exists and is no finished training"):
        train(tiny("teacher"), 0, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_students_of_one_seed_share_items_weights_and_order(runs: Path) -> None:
    parents = {"teacher": runs / "teacher" / "seed-0"}
    names = ("student", "student-plain", "student-debiased")
    student, plain, debiased = (prepare(tiny(name), 0, parents) for name in names)
    assert same(
        initial(student),
        initial(plain),
    )
    assert same(
        initial(student),
        initial(debiased),
    )
    assert torch.equal(student.order, plain.order)
    assert student.materials.examples == plain.materials.examples == debiased.materials.examples
    other = prepare(tiny("student-plain"), 1, {})
    assert not same(initial(plain), initial(other))
    assert (
        not torch.equal(plain.order, other.order)
        and plain.materials.examples != other.materials.examples
    )


def test_building_a_model_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    build_classifier(tiny("student").model, word_tokenizer(["the"], 32), seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_teacher_logits_are_read_by_class_name(runs: Path, tmp_path: Path) -> None:
    teacher = runs / "teacher" / "seed-0"
    turned = tmp_path / "turned"
    shutil.copytree(teacher, turned)
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": "entailment", "1": "non-entailment"}
    config["label2id"] = {"entailment": 0, "non-entailment": 1}
    (turned / "config.json").write_text(json.dumps(config))
    one, other = (prepare(tiny("student"), 0, {"teacher": path}) for path in (teacher, turned))
    assert one.materials.signals.teacher is not None and other.materials.signals.teacher is not None
    assert torch.equal(one.materials.signals.teacher, other.materials.signals.teacher.flip(-1))


def test_resampling_visits_conflicting_items_as_often_as_aligned_ones() -> None:
    prepared = prepare(load_recipe(RECIPES / "student-debiased.yaml", ["data.n=3000"]), 0, {})
    cells = [prepared.materials.examples[i].group for i in prepared.order.tolist()]
    shares = {cell: cells.count(cell) / len(cells) for cell in "ANCL"}
    assert all(share == pytest.approx(0.25, abs=0.04) for share in shares.values()), shares


def test_weights_of_items_are_one_over_the_probability_of_their_label() -> None:
    bias = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log()
    materials = prepare(tiny("teacher"), 0, {}).materials
    signals = Signals(torch.tensor([0, 1]), bias=bias)
    drawn = Resampling().sampling_weights(replace(materials, signals=signals))
    torch.testing.assert_close(drawn, torch.tensor([1 / 0.9, 10.0]))


def test_an_unweighted_order_visits_each_item_once_a_pass() -> None:
    order = draw_order(5, 12, torch.Generator().manual_seed(0))
    assert sorted(order[:5].tolist()) == sorted(order[5:10].tolist()) == list(range(5))


def test_twins_have_the_other_core_and_the_same_shortcut() -> None:
    task = load_task("nli-overlap", rho=0.9)
    drawn = list(task.examples("train", 100, seed=4))
    twins = counterfactual_twins(task, drawn, share=0.3, seed=4)
    assert len(twins) == 30
    for example, twin in zip(drawn, twins, strict=False):
        assert {example.group, twin.group} in ({"A", "C"}, {"N", "L"})
        assert twin.label != example.label and twin.input.premise == example.input.premise
    assert counterfactual_twins(task, drawn, share=0.0, seed=4) == []


def test_twins_are_added_after_the_items_and_the_bias_model_does_not_see_them() -> None:
    plain = tiny("student-debiased")
    augmented = replace(plain, data=replace(plain.data, counterfactuals=0.5))
    one, other = prepare(plain, 0, {}), prepare(augmented, 0, {})
    assert (
        len(other.materials.examples) == 300
        and other.materials.examples[:200] == one.materials.examples
    )
    assert one.materials.signals.bias is not None and other.materials.signals.bias is not None
    assert torch.equal(one.materials.signals.bias, other.materials.signals.bias[:200])


def test_layers_embeddings_and_head_of_the_source_are_copied() -> None:
    tokenizer = word_tokenizer(["the"], 32)
    deep = replace(tiny("teacher").model, n_layers=3)
    source = build_classifier(deep, tokenizer, seed=1).model
    model = build_classifier(replace(deep, n_layers=2), tokenizer, seed=2).model
    copy_weights(model, source, [0, 2])
    ours, theirs = model.state_dict(), source.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name.replace("layer.1.", "layer.2.")]), name
    with pytest.raises(RecipeError, match=r"layers \(0, 3\) of a model with 3 layers"):
        copy_weights(model, source, [0, 3])
    with pytest.raises(RecipeError, match="the source has"):
        wide = build_classifier(replace(deep, n_layers=2, d_model=32), tokenizer, seed=2).model
        copy_weights(wide, source, [0, 2])


def test_a_warm_start_begins_where_its_source_ended(runs: Path) -> None:
    recipe = replace(tiny("teacher"), start=StartRecipe("teacher"))
    prepared = prepare(recipe, 0, {"teacher": runs / "teacher" / "seed-0"})
    assert same(initial(prepared), weights(runs / "teacher" / "seed-0"))


def pair(premise: str, hypothesis: str) -> TextInput:
    return TextInput(premise, hypothesis)


def test_overlap_counts_are_the_frequencies_of_the_labels() -> None:
    full, part = pair("a b c", "c a"), pair("a b c", "c d")
    inputs, labels = [full] * 8 + [part] * 8, torch.tensor([1] * 7 + [0] + [0] * 8)
    bias = FITTED["overlap-counts"](inputs, labels, 2)([full, part]).exp()
    torch.testing.assert_close(bias, torch.tensor([[2 / 10, 8 / 10], [9 / 10, 1 / 10]]))


def test_overlap_regression_learns_that_overlap_goes_with_a_label() -> None:
    inputs = [pair("a b c d", "a b")] * 20 + [pair("a b c d", "a x")] * 20
    labels = torch.tensor([1] * 18 + [0] * 2 + [0] * 18 + [1] * 2)
    bias = FITTED["overlap-regression"](inputs, labels, 2)(inputs).exp()
    assert bias[0, 1] > 0.8 and bias[-1, 0] > 0.8
    assert overlap_features(inputs[-1:]).tolist() == [[0.5, 0.0, pytest.approx(0.6931, abs=1e-3)]]
    with pytest.raises(DataError, match="1 of 2 classes"):
        FITTED["overlap-regression"](inputs, torch.zeros(40, dtype=torch.long), 2)


def test_padding_that_a_whole_batch_has_is_left_out_and_changes_no_answer(runs: Path) -> None:
    classifier = load_classifier(runs / "teacher" / "seed-0")
    texts = ["the kid slept", "the doctor helped the kid that slept", "the kid"]
    inputs = classifier.encode([TextInput(text, "the kid slept") for text in texts])
    batch = inputs.take(torch.tensor([0, 2]))
    assert batch["input_ids"].shape[1] == 9 < inputs.columns["input_ids"].shape[1]
    torch.testing.assert_close(
        classifier.logits(batch), classifier.logits(dict(inputs.columns))[[0, 2]]
    )


def test_inputs_that_cannot_be_encoded_are_refused() -> None:
    tokenizer = word_tokenizer(["the"], max_length=8)
    with pytest.raises(DataError, match="9 tokens, but the model takes 8"):
        encode(tokenizer, [TextInput("the the the the the the the")])
    with pytest.raises(DataError, match="1 of 2 inputs have a hypothesis"):
        encode(tokenizer, [TextInput("the"), pair("the", "the")])
    padded = encode(tokenizer, [TextInput("the"), TextInput("the the")])
    assert padded.columns["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


@pytest.fixture
def nli_file(tmp_path: Path) -> Path:
    rows = [
        {"premise": "a dog runs in the park", "hypothesis": "a dog runs", "label": "entailment"},
        {"premise": "two men talk", "hypothesis": "some cats sleep", "label": "contradiction"},
        {"premise": "a girl reads a book", "hypothesis": "a girl reads", "label": "entailment"},
        {"premise": "a man eats", "hypothesis": "a man is happy", "label": "neutral"},
    ]
    path = tmp_path / "nli.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 5))
    return path


def test_a_file_of_labelled_text_is_trained_on_with_an_overlap_regression(
    nli_file: Path, tmp_path: Path
) -> None:
    recipe = tiny("student-debiased")
    data = DataRecipe("nli", options={"path": str(nli_file), "two_way": True})
    recipe = replace(recipe, data=data, bias_model=BiasModelRecipe("overlap-regression"))
    out = train(recipe, 0, tmp_path / "out")
    record = json.loads((out / "training.json").read_text())
    assert record["data"]["n"] == 20 and record["validation_accuracy"] == {}


def of_file(path: Path, **changes: Any) -> Recipe:
    """A recipe whose items come from a file."""
    data = DataRecipe("nli", options={"path": str(path), "two_way": True})
    return replace(tiny("student-plain"), data=data, **changes)


def test_a_run_on_a_file_stands_only_for_what_the_file_held(nli_file: Path, tmp_path: Path) -> None:
    recipe, out = of_file(nli_file), tmp_path / "out"
    train(recipe, 0, out)
    record = json.loads((out / "training.json").read_text())
    assert record["files"] == {str(nli_file): sha256(nli_file.read_bytes()).hexdigest()}
    assert train(recipe, 0, out) == out
    whole = nli_file.read_text()
    nli_file.write_text(whole + whole.splitlines()[0] + "\n")
    with pytest.raises(ResultError, match=rf"another content of {re.escape(str(nli_file))}\. "):
        train(recipe, 0, out)
    # A record of an earlier version, and a file that is gone, cannot be compared.
    write_json(out / "training.json", {**record, "files": {}})
    assert train(recipe, 0, out) == out
    write_json(out / "training.json", {key: x for key, x in record.items() if key != "files"})
    assert train(recipe, 0, out) == out
    write_json(out / "training.json", record)
    nli_file.unlink()
    assert train(recipe, 0, out) == out


def test_every_file_that_a_recipe_names_is_part_of_what_it_is(
    nli_file: Path, tmp_path: Path
) -> None:
    folder, network = tmp_path / "added", tmp_path / "network"
    for path in (folder, network):
        path.mkdir()
    parts = [{"task": "nli", "path": str(nli_file)}, {"task": "hans", "path": "not/here.tsv"}]
    augment = AugmentRecipe(str(folder), 0.1, "inv_*.tsv")
    recipe = replace(
        tiny("student-debiased"),
        data=DataRecipe("mixture", options={"parts": parts}, augment=augment),
        bias_model=BiasModelRecipe("file", path=str(tmp_path / "bias.csv")),
        model=PretrainedRecipe("pretrained", str(network), ("a", "b")),
    )
    files = [
        nli_file,
        folder / "inv_1.tsv",
        tmp_path / "bias.csv",
        network / "model.safetensors",
        network / "vocab.txt",
    ]
    seen = [json.dumps(file_digests(recipe))]
    for file in files:
        file.write_text(f"another {file.name}")
        seen.append(json.dumps(file_digests(recipe)))
    assert len(set(seen)) == len(files) + 1
    named = [str(folder), str(tmp_path / "bias.csv"), str(nli_file), str(network)]
    assert list(file_digests(recipe)) == named
    for other in (folder / "notes.txt", folder / ".inv_2.tsv", network / "README.md"):
        other.write_text("of no account")
    assert json.dumps(file_digests(recipe)) == seen[-1]
    assert "files" not in training_request(tiny("teacher"), 0, {})


def test_a_teacher_whose_classes_were_renamed_is_another_parent(runs: Path, tmp_path: Path) -> None:
    for name in ("teacher", "student"):
        shutil.copytree(runs / name, tmp_path / name)
    student, config = tmp_path / "student" / "seed-0", tmp_path / "teacher/seed-0/config.json"
    assert train(tiny("student"), 0, student) == student
    mended = {"0": "entailment", "1": "non-entailment"}
    config.write_text(json.dumps({**json.loads(config.read_text()), "id2label": mended}))
    with pytest.raises(ResultError, match="another config or tokenizer of 'teacher'"):
        train(tiny("student"), 0, student)
    record = json.loads((student / "training.json").read_text())
    assert set(record.pop("parent_settings")) == {"teacher"}
    write_json(student / "training.json", record)
    assert train(tiny("student"), 0, student) == student


def test_what_is_left_of_a_training_is_continued_only_with_the_same_files(tmp_path: Path) -> None:
    earlier = {"recipe": {"name": "r"}, "seed": 0, "parents": {"t": "w"}}
    now = {**earlier, "parent_settings": {"t": "c"}, "files": {"a.tsv": "1"}}
    for left in (earlier, now):
        out = tmp_path / str(len(left))
        assert open_partial(out, left) == open_partial(out, now) == partial_folder(out)
    for key, other, said in (
        ("files", {"a.tsv": "2"}, "content of a.tsv"),
        ("parent_settings", {"t": "d"}, "config or tokenizer of 't'"),
        ("precision", "bf16", "precision"),
    ):
        with pytest.raises(ResultError, match=f"training with another {said}"):
            open_partial(tmp_path / "5", {**now, key: other})
    # Neither does one that was begun in another precision go on in full.
    open_partial(tmp_path / "half", {**now, "precision": "bf16"})
    with pytest.raises(ResultError, match="training with another precision"):
        open_partial(tmp_path / "half", now)


def test_a_closed_form_ignores_a_rule_of_selection(runs: Path, tmp_path: Path) -> None:
    settings = ["objective.held_out=train", "objective.n_subsamples=2", "objective.strengths=[0.1]"]
    ruled = ["selection.rule=worst-group", "selection.every=1"]
    path, short = RECIPES / "teacher-dfr.yaml", [*TINY, *settings, "optimization.steps=1"]
    short += ["start.recipe=teacher", "data.options.rho=0.7"]
    recipe, plain = load_recipe(path, [*short, *ruled]), load_recipe(path, short)
    parents = {"teacher": runs / "teacher" / "seed-0"}
    out = train(recipe, 0, tmp_path / "dfr", parents=parents)
    record = json.loads((out / "training.json").read_text())
    assert "selected" not in record and "selection" not in record["recipe"]
    assert training_request(recipe, 0, parents) == training_request(plain, 0, parents)
    assert train(plain, 0, out, parents=parents) == out


@pytest.mark.parametrize(
    ("name", "settings", "said", "unsaid"),
    [
        ("student", (), r"FOLDER/teacher\.yaml --seed 0 .* with --teacher\.", "--start"),
        ("student", ("teacher=teacher+w32",), r"--recipes teacher\+w32 .*--teacher\.", "FOLDER"),
        ("student-teacher-init", (), r"FOLDER/teacher\.yaml .*or give its folder with", "alone"),
        ("student", ("teacher=[a, b]",), r"FOLDER/a\.yaml .*looked for there alone\.", "--teacher"),
        ("teacher-self-debiasing", (), r"FOLDER/shallow\.yaml .*there alone\.", "--start"),
        ("teacher-dfr", (), r"FOLDER/teacher-plain\.yaml .* with --start\.", "--teacher"),
    ],
)
def test_a_missing_model_comes_with_what_makes_it(
    tmp_path: Path, name: str, settings: tuple[str, ...], said: str, unsaid: str
) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml", settings)
    with pytest.raises(RecipeError, match=said) as caught:
        find_parents(recipe, 0, tmp_path / name / "seed-0", {})
    text = str(caught.value)
    assert unsaid not in text and "\n" not in text and str(tmp_path) in text


def test_a_task_without_quads_has_no_twins(nli_file: Path) -> None:
    task = load_task("nli", path=nli_file)
    with pytest.raises(RecipeError, match="does not know the counterfactuals"):
        counterfactual_twins(task, list(task.examples("all")), share=0.5, seed=0)


def test_the_grid_skips_what_is_finished(runs: Path) -> None:
    lines: list[str] = []
    train_grid([tiny("teacher"), tiny("student")], [0], runs, report=lines.append)
    assert [line.partition(": ")[2] for line in lines] == ["already finished"] * 2


def test_the_command_line_trains_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "teacher" / "seed-3"
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    command = [str(RECIPES / "teacher.yaml"), *settings, "--max-steps", "4", "--seed", "3"]
    assert main([*command, "--dry-run", "--out", str(out)]) == 0
    assert "steps: 4" in capsys.readouterr().out and not tmp_path.joinpath("teacher").exists()
    assert main([*command, "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"teacher, seed 3: {out}\n")
    assert json.loads((out / "training.json").read_text())["recipe"]["optimization"]["steps"] == 4


def test_the_list_has_a_line_for_each_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--list", str(RECIPES)]) == 0
    lines = capsys.readouterr().out.splitlines()
    recipes = list_recipes(RECIPES).values()
    assert [line.split(maxsplit=1) for line in lines] == [[r.name, r.description] for r in recipes]
    assert main(["--list", str(tmp_path)]) == 2
    assert "holds no recipe" in capsys.readouterr().err


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys\nfrom distillation.train import main\n"
        "main(['--list', sys.argv[1]])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(RECIPES)], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No recipe was given"),
        (["none.yaml"], "none.yaml: cannot be read"),
        (["{recipes}/student.yaml"], "needs a trained 'teacher'"),
        (["{recipes}/student.yaml", "--start", "here"], "has no start"),
        (["{recipes}/teacher.yaml", "--seed", "-1"], "seed is -1"),
        (["{recipes}/teacher.yaml", "--save-steps", "0"], "save_steps is 0"),
        (["{recipes}/teacher.yaml", "--max-steps", "0"], "steps must be at least 1, got 0"),
        (["{recipes}/teacher.yaml", "--set", "model.depth=3"], "model.depth is unknown"),
        (["{recipes}/teacher.yaml", "--set", "data.task=chess"], "Unknown task 'chess'"),
        (["{recipes}/teacher.yaml", "--set", "data.options.rho=7.0"], "rho is 7.0"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [argument.replace("{recipes}", str(RECIPES)) for argument in arguments]
    assert main([*command, "--out", str(tmp_path / "a" / "seed-0")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "a" / "seed-0").exists()


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path,
    interrupt: Callable[[int | None], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt(3)
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    assert main([str(RECIPES / "teacher.yaml"), *settings, "--out", str(tmp_path / "t")]) == 130
    assert "the same command goes on" in capsys.readouterr().err
