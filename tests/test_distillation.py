"""Teachers: asked without being touched, matched by name or refused, cached and combined."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from behavior.errors import RecipeError
from behavior.examples import TextInput
from behavior.readout import Readout, read_labels
from distillation.classifier import Classifier
from distillation.data import encode
from distillation.families import ResNetRecipe
from distillation.folders import logits_folder
from distillation.models import build_classifier, image_processor, load_classifier, word_tokenizer
from distillation.objectives import Signals
from distillation.objectives.logit_distillation import LogitDistillation
from distillation.objectives.objective import SteppedObjective
from distillation.prepare import Prepared, prepare
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe
from distillation.teacher_cache import (
    TeacherCache,
    example_keys,
    settings_digest,
    teacher_digest,
)
from distillation.teachers import Teacher, check_answers, require_same_tokens
from distillation.train import main
from distillation.training import train

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = [
    "data.n=60",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=4",
    "optimization.batch_size=8",
]
DIGITS = tuple("0123456789")


def tiny(name: str, *settings: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", [*TINY, *settings])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny teachers among runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("teacher", "teacher-plain"):
        train(tiny(name), 0, folder / name / "seed-0")
    return folder


@pytest.fixture
def teacher(runs: Path) -> Path:
    return runs / "teacher" / "seed-0"


def loss_and_gradients(prepared: Prepared, recipe: Recipe) -> tuple[Tensor, list[Tensor]]:
    """Of the first batch."""
    assert isinstance(recipe.objective, SteppedObjective)
    materials = prepared.materials
    criterion = recipe.objective.criterion(materials)
    items, model = prepared.order[:8], materials.classifier.model
    model.zero_grad()
    loss = criterion(model, materials.inputs.take(items), materials.signals.take(items))
    loss.backward()
    return loss.detach(), [weight.grad for weight in model.parameters() if weight.grad is not None]


def rewrite_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_online_teacher_gives_the_loss_and_gradients_of_cached_logits(teacher: Path) -> None:
    recipe = tiny("student")
    online = replace(recipe, objective=replace(recipe.objective, online=True))
    parents = {"teacher": teacher}
    cached, beside = (
        loss_and_gradients(prepare(each, 0, parents), each) for each in (recipe, online)
    )
    torch.testing.assert_close(cached, beside)
    assert prepare(online, 0, parents).materials.signals.teacher is None


def test_several_teachers_are_their_mean_online_and_beforehand(runs: Path) -> None:
    names = ("teacher", "teacher-plain")
    parents = {name: runs / name / "seed-0" for name in names}
    recipe = tiny("student", "teacher=[teacher, teacher-plain]")
    assert recipe.parents == names and recipe.teacher == names
    alone = [prepare(tiny("student", f"teacher={name}"), 0, parents) for name in names]
    both = prepare(recipe, 0, parents)
    answers = [each.materials.signals.teacher for each in (*alone, both)]
    assert answers[0] is not None and answers[1] is not None and answers[2] is not None
    torch.testing.assert_close(answers[2], (answers[0] + answers[1]) / 2)
    online = replace(recipe, objective=replace(recipe.objective, online=True))
    torch.testing.assert_close(
        loss_and_gradients(both, recipe)[0],
        loss_and_gradients(prepare(online, 0, parents), online)[0],
    )


def test_probabilities_of_teachers_can_be_averaged_instead(runs: Path) -> None:
    names = ("teacher", "teacher-plain")
    parents = {name: runs / name / "seed-0" for name in names}
    settings = ("teacher=[teacher, teacher-plain]", "objective.combine=probabilities")
    combined = prepare(tiny("student", *settings), 0, parents).materials.signals.teacher
    alone = [
        prepare(tiny("student", f"teacher={name}"), 0, parents).materials.signals.teacher
        for name in names
    ]
    assert combined is not None and alone[0] is not None and alone[1] is not None
    expected = torch.stack([each.div(2).softmax(-1) for each in alone if each is not None]).mean(0)
    torch.testing.assert_close(combined.div(2).softmax(-1), expected)


def test_a_teacher_is_left_as_it_was_by_a_training(teacher: Path, tmp_path: Path) -> None:
    before = load_file(teacher / "model.safetensors")
    train(tiny("student", "objective.online=true"), 0, tmp_path / "s", parents={"teacher": teacher})
    after = load_file(teacher / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_batch_norms_of_a_teacher_are_untouched_and_it_gets_no_gradient(tmp_path: Path) -> None:
    small = ResNetRecipe(
        "resnet", DIGITS, widths=(4, 8), depths=(1, 1), stem_width=4, image_size=16
    )
    classifier = build_classifier(small, image_processor(16), seed=1)
    classifier.model.save_pretrained(tmp_path)
    classifier.preprocessor.save_pretrained(tmp_path)
    teacher = Teacher.open("t", tmp_path, DIGITS)
    before = {name: value.clone() for name, value in teacher.classifier.model.state_dict().items()}
    batch = {"pixel_values": torch.randn(6, 3, 16, 16)}
    for _ in range(3):
        given = teacher.logits(batch)
        assert not given.requires_grad
    assert not teacher.classifier.model.training
    after = teacher.classifier.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weight.grad is None for weight in teacher.classifier.model.parameters())
    # The same network in training mode would have moved them.
    classifier.model.train()
    classifier.logits(batch)
    moved = classifier.model.state_dict()
    assert any(not torch.equal(before[name], moved[name]) for name in before)


def test_the_teacher_is_no_part_of_the_criterion(teacher: Path) -> None:
    recipe = tiny("student", "objective.online=true")
    materials = prepare(recipe, 0, {"teacher": teacher}).materials
    assert isinstance(recipe.objective, SteppedObjective)
    criterion = recipe.objective.criterion(materials).train()
    assert list(criterion.parameters()) == [] and criterion.state_dict() == {}


def test_classes_in_another_order_are_mapped_by_name(teacher: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(teacher, turned)
    rewrite_config(turned, id2label={"0": "entailment", "1": "non-entailment"})
    recipe = tiny("student", "objective.online=true")
    one, other = (
        loss_and_gradients(prepare(recipe, 0, {"teacher": folder}), recipe)[0]
        for folder in (teacher, turned)
    )
    assert one != other
    opened = [
        Teacher.open("t", folder, ("non-entailment", "entailment")) for folder in (teacher, turned)
    ]
    batch = opened[0].encode([TextInput("the doctor helped", "the doctor helped")]).columns
    torch.testing.assert_close(opened[0].logits(batch), opened[1].logits(batch).flip(-1))


def test_classes_without_names_or_with_others_are_refused(teacher: Path, tmp_path: Path) -> None:
    nameless = tmp_path / "nameless"
    shutil.copytree(teacher, nameless)
    rewrite_config(nameless, id2label={"0": "LABEL_0", "1": "LABEL_1"})
    with pytest.raises(RecipeError, match="have no names"):
        prepare(tiny("student"), 0, {"teacher": nameless})
    rewrite_config(nameless, id2label={"0": "good", "1": "bad"})
    with pytest.raises(RecipeError, match="Teacher 'teacher' and its student do not fit"):
        prepare(tiny("student"), 0, {"teacher": nameless})


def answers(
    n_classes: int, accuracy: float, n: int = 400, named: Sequence[int] | None = None
) -> tuple[Tensor, Tensor, Readout]:
    """Of a teacher that is right this often, but whose classes are perhaps named otherwise."""
    rng = torch.Generator().manual_seed(n_classes)
    labels = torch.randint(n_classes, (n,), generator=rng)
    wrong = (labels + torch.randint(1, n_classes, (n,), generator=rng)) % n_classes
    given = torch.where(torch.rand(n, generator=rng) < accuracy, labels, wrong)
    logits = F.one_hot(given, n_classes).float()
    names = tuple("abcdefghij"[:n_classes])
    return logits if named is None else logits[:, list(named)], labels, read_labels(names, names)


def test_names_that_belong_to_other_classes_are_found_by_the_answers() -> None:
    labels = torch.arange(30) % 3
    right, readout = torch.eye(3)[labels], read_labels(("a", "b", "c"), ("a", "b", "c"))
    check_answers("t", right, labels, readout)
    check_answers("t", torch.zeros(30, 3), labels, readout)
    with pytest.raises(RecipeError, match=r"right on 0% .* but on 100% if its classes"):
        check_answers("t", right[:, [1, 2, 0]], labels, readout)


@pytest.mark.parametrize(
    ("n_classes", "accuracy", "named", "message"),
    [
        (2, 0.79, (1, 0), "'a' seems to be 'b', 'b' to be 'a'"),
        (3, 0.85, (1, 0, 2), "'a' seems to be 'b', 'b' to be 'a'"),
        (3, 0.75, (1, 2, 0), "'a' seems to be 'b', 'b' to be 'c', 'c' to be 'a'"),
        (10, 0.98, (0, 1, 2, 3, 4, 5, 6, 9, 8, 7), "'h' seems to be 'j', 'j' to be 'h'"),
        (10, 0.9, (9, *range(9)), "'d' to be 'c', 'e' to be 'd' and 5 more"),
    ],
)
def test_a_teacher_is_refused_for_a_few_wrong_names_too(
    n_classes: int, accuracy: float, named: tuple[int, ...], message: str
) -> None:
    check_answers("t", *answers(n_classes, accuracy))
    with pytest.raises(RecipeError, match=r"Mend id2label in its config\.json\.$") as caught:
        check_answers("t", *answers(n_classes, accuracy, named=named))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_names_of_a_three_way_teacher_are_judged_by_two_way_labels() -> None:
    """Entailment and neutral have changed names; contradiction is right either way."""
    truth = torch.arange(300) % 3
    classes, labels = ("entailment", "neutral", "contradiction"), ("non-entailment", "entailment")
    readout, two_way = read_labels(classes, labels), (truth == 0).long()
    logits = 5 * torch.eye(3)[truth]
    check_answers("t", logits, two_way, readout)
    with pytest.raises(RecipeError, match="'entailment' seems to be 'neutral', 'neutral' to be 'e"):
        check_answers("t", logits[:, [1, 0, 2]], two_way, readout)


def test_a_teacher_that_knows_nothing_is_not_refused() -> None:
    """Neither for answers drawn at random, nor for one answer where labels are unequal."""
    for seed in range(150):
        rng = torch.Generator().manual_seed(seed)
        for n_classes in (2, 3, 10):
            names = "abcdefghij"[:n_classes]
            share = torch.rand(n_classes, generator=rng) ** 3
            labels = torch.multinomial(share, 300, replacement=True, generator=rng)
            logits = torch.randn(300, n_classes, generator=rng) - 3 * share
            check_answers("t", logits, labels, read_labels(names, names))
    labels = (torch.arange(300) % 10 == 0).long()
    check_answers("t", torch.eye(2)[torch.ones(300).long()], labels, read_labels("ab", "ab"))


def test_answers_that_follow_colours_are_no_wrong_names() -> None:
    """An untrained network may give one answer to some colours, and colours go with labels."""
    labels = torch.arange(500) % 10
    given = torch.tensor([3, 3, 5, 5, 3, 9, 9, 9, 5, 3])[labels]
    names = "abcdefghij"
    check_answers("t", torch.eye(10)[given], labels, read_labels(names, names))


@pytest.mark.parametrize("online", [False, True])
def test_wrong_names_are_found_whenever_the_teacher_is_asked(tmp_path: Path, online: bool) -> None:
    good, exchanged = RECIPES.parent / "checkpoints" / "teacher", tmp_path / "exchanged"
    shutil.copytree(good, exchanged)
    rewrite_config(exchanged, id2label={"0": "entailment", "1": "non-entailment"})
    recipe = tiny("student", f"objective.online={str(online).lower()}", "data.n=120")
    loss_and_gradients(prepare(recipe, 0, {"teacher": good}), recipe)
    with pytest.raises(RecipeError, match=r"'teacher' is right on \d%.*Mend id2label"):
        loss_and_gradients(prepare(recipe, 0, {"teacher": exchanged}), recipe)


def test_a_vocabulary_that_is_another_one_is_refused(teacher: Path) -> None:
    opened = Teacher.open("t", teacher, ("non-entailment", "entailment"))
    with pytest.raises(RecipeError, match=r"100% of the words .* unknown to the tokenizer"):
        opened.encode([TextInput("bonjour monde", "salut monde")])


def test_a_tokenizer_larger_than_the_embedding_is_refused(teacher: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(teacher, mixed)
    word_tokenizer([f"w{i}" for i in range(99)], 32).save_pretrained(mixed)
    with pytest.raises(RecipeError, match="has 104 tokens, but its embedding 66 rows"):
        Teacher.open("t", mixed, ("non-entailment", "entailment"))


def test_tokens_with_other_numbers_are_the_same_and_other_tokens_are_refused(teacher: Path) -> None:
    model = load_classifier(teacher).model
    inputs = [TextInput("the kid slept", "the kid"), TextInput("the doctor", "the kid slept")]

    def asked(words: list[str]) -> Teacher:
        classifier = Classifier.of(model, word_tokenizer(words, 32))
        return replace(Teacher.open("t", teacher, classifier.classes), classifier=classifier)

    ours = word_tokenizer(["the", "kid", "slept", "doctor"], 32)
    turned = asked(["doctor", "slept", "kid", "the"])
    mine, other = encode(ours, inputs), turned.classifier.encode(inputs)
    assert not torch.equal(mine.columns["input_ids"], other.columns["input_ids"])
    require_same_tokens(turned, mine, other, ours)
    lacking = asked(["the", "kid"])
    with pytest.raises(RecipeError, match="into other tokens than the student"):
        require_same_tokens(lacking, mine, lacking.classifier.encode(inputs), ours)


def test_stored_logits_are_read_again_and_only_for_the_same_teacher_and_data(
    teacher: Path, tmp_path: Path
) -> None:
    asked: list[int] = []
    inputs = [TextInput("a b", "a"), TextInput("c d", "c")]
    cache = TeacherCache(tmp_path / "cache")

    def compute() -> Tensor:
        asked.append(1)
        return torch.full((2, 2), float(len(asked)))

    first = cache.logits(teacher, inputs, compute)
    assert torch.equal(cache.logits(teacher, inputs, compute), first) and len(asked) == 1
    cache.logits(teacher, inputs[::-1], compute)
    assert len(asked) == 2
    changed = tmp_path / "changed"
    shutil.copytree(teacher, changed)
    weights = load_file(changed / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + 1
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    cache.logits(changed, inputs, compute)
    assert len(asked) == 3
    rewrite_config(changed, id2label={"0": "entailment", "1": "non-entailment"})
    cache.logits(changed, inputs, compute)
    assert len(asked) == 4 and len(list((tmp_path / "cache").iterdir())) == 4


def test_a_digest_holds_slow_tokenizers_too_and_is_unchanged_without_them(tmp_path: Path) -> None:
    described = (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
    )
    by_hand = sha256()
    for name in ("model.safetensors", *described):
        (tmp_path / name).write_text(f"content of {name}")
        by_hand.update(f"{name}\0".encode() + sha256(f"content of {name}".encode()).digest())
    assert teacher_digest(tmp_path) == by_hand.hexdigest()
    settings = [settings_digest(tmp_path)]
    (tmp_path / "model.safetensors").write_text("other weights")
    assert settings_digest(tmp_path) == settings[0]
    for name in ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model"):
        before = teacher_digest(tmp_path)
        (tmp_path / name).write_text(name)
        settings.append(settings_digest(tmp_path))
        assert teacher_digest(tmp_path) != before
    assert len(set(settings)) == 6


def test_a_broken_or_foreign_cache_file_is_replaced(teacher: Path, tmp_path: Path) -> None:
    cache, inputs = TeacherCache(tmp_path), [TextInput("a b", "a")]
    cache.logits(teacher, inputs, lambda: torch.ones(1, 2))
    [path] = tmp_path.iterdir()
    path.write_bytes(b"half a fi")
    assert torch.equal(cache.logits(teacher, inputs, lambda: torch.zeros(1, 2)), torch.zeros(1, 2))
    digests = {"teacher": teacher_digest(teacher), "data": "another"}
    save_file({"keys": example_keys(inputs), "logits": torch.ones(1, 2)}, path, metadata=digests)
    assert torch.equal(cache.logits(teacher, inputs, lambda: torch.zeros(1, 2)), torch.zeros(1, 2))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_key_is_the_content_of_an_example() -> None:
    keys = example_keys([TextInput("a b", "c"), TextInput("a", "b c"), TextInput("a b", "c")])
    assert torch.equal(keys[0], keys[2]) and not torch.equal(keys[0], keys[1])


def test_students_of_one_teacher_share_its_logits_beside_the_runs(runs: Path) -> None:
    out = runs / "student" / "seed-0"
    assert logits_folder(out, "student", 0) == runs / ".logits"
    assert logits_folder(runs / "elsewhere", "student", 0) is None
    train(tiny("student"), 0, out)
    [stored] = (runs / ".logits").iterdir()
    saved = load_file(stored)["logits"]
    fresh = prepare(tiny("student"), 0, {"teacher": runs / "teacher" / "seed-0"})
    assert fresh.materials.signals.teacher is not None
    assert torch.equal(saved, fresh.materials.signals.teacher)


def test_a_convention_of_a_recipe_is_the_loss_of_its_name(teacher: Path) -> None:
    plain = LogitDistillation(alpha=0.25, temperature=3.0)
    hard = LogitDistillation(alpha=0.75, temperature=3.0, convention="torchdistill")
    logits, answers = torch.randn(4, 2), torch.randn(4, 2)
    signals = Signals(torch.tensor([0, 1, 0, 1]), answers)
    torch.testing.assert_close(plain.loss(logits, signals), hard.loss(logits, signals))
    assert plain.to_json() == {"alpha": 0.25, "temperature": 3.0}
    assert hard.to_json() == {"alpha": 0.75, "temperature": 3.0, "convention": "torchdistill"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.convention=fitnets", r"convention must be one of 'rep-distiller'"),
        ("objective.alpha=5", "alpha must be from 0 to 1, got 5.0"),
        ("objective.hard_weight=-1", "hard_weight must be at least 0"),
        ("objective.reduction=sum", r"reduction must be one of 'batchmean', 'mean'"),
        ("teacher=[]", "one recipe or several different ones"),
        ("teacher=[a, a]", "one recipe or several different ones"),
        ("objective.terms=[{weight: 1}]", r"objective.terms\[0\] needs a name"),
        (
            "objective.terms=[{name: magic, weight: 1}]",
            r"terms\[0\].name must be one of 'attention'",
        ),
        ("objective.terms=[{name: hidden}]", r"terms\[0\].weight is missing"),
        ("objective.terms=[{name: hidden, weight: -1}]", r"terms\[0\].weight must be at least 0"),
        ("objective.terms=[{name: circuit, weight: 1, every: 0}]", "every must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny("student", setting)


def test_alpha_may_be_above_one_where_it_takes_nothing_from_the_labels() -> None:
    recipe = tiny("student", "objective.alpha=5", "objective.convention=distilbert")
    assert isinstance(recipe.objective, LogitDistillation)
    loss = recipe.objective.distillation_loss
    assert (loss.hard_weight, loss.soft_weight, loss.temperature) == (2.0, 5.0, 2.0)


def test_a_folder_given_for_one_of_several_teachers_is_refused(
    teacher: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = [str(RECIPES / "student.yaml"), "--set", "teacher=[teacher, teacher-plain]"]
    assert main([*command, "--teacher", str(teacher), "--out", str(tmp_path / "s")]) == 2
    assert "has 2. Put their runs beside --out" in capsys.readouterr().err
