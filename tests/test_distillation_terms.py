"""Terms: zero between copies, gradients to the student alone, other widths and numbers of heads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from behavior.errors import RecipeError
from behavior.examples import Example, Quad
from behavior.grammar import VOCABULARY
from behavior.readout import margin
from behavior.tasks import load_task
from distillation.classifier import Classifier
from distillation.families import BertRecipe, ModelRecipe, ResNetRecipe, T5Recipe, ViTRecipe
from distillation.models import build_classifier, load_classifier, make_preprocessor
from distillation.objectives import Signals
from distillation.objectives.logit_distillation import LogitDistillation
from distillation.objectives.objective import Materials
from distillation.objectives.terms import TERMS, Step, Term
from distillation.objectives.terms.attention import AttentionTerm
from distillation.objectives.terms.attention_transfer import AttentionTransferTerm, attention_map
from distillation.objectives.terms.circuit import CircuitLoss, CircuitTerm
from distillation.objectives.terms.contrast_effects import (
    ContrastEffects,
    contrast_effects,
    encode_quads,
)
from distillation.objectives.terms.hidden import HiddenTerm
from distillation.objectives.terms.opened import OpenClassifier, even_layers
from distillation.objectives.terms.relations import RelationsTerm, log_relation
from distillation.prepare import prepare
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe
from distillation.training import train
from patching.models.nodes import Activation, Site

RECIPES = Path(__file__).parents[1] / "recipes"
CHECKPOINTS = RECIPES.parent / "checkpoints"
NLI = ("non-entailment", "entailment")
BERT = BertRecipe(NLI, n_layers=2, d_model=16, n_heads=2)
DIGITS = tuple("0123456789")
FAMILIES: dict[str, ModelRecipe] = {
    "bert": BERT,
    "t5": T5Recipe("t5", NLI, n_layers=2, d_model=16, n_heads=2),
    "label-words": T5Recipe("t5", NLI, n_layers=2, d_model=16, n_heads=2, head="label-words"),
    "vit": ViTRecipe("vit", DIGITS, n_layers=2, d_model=16, n_heads=2, image_size=8, patch_size=4),
    "resnet": ResNetRecipe("resnet", DIGITS, (4, 8), (1, 1), stem_width=4, image_size=16),
}
SAME = [
    HiddenTerm(1.0, projection="none"),
    AttentionTerm(1.0),
    AttentionTerm(1.0, distance="kl"),
    RelationsTerm(1.0, relation_heads=4),
    AttentionTransferTerm(1.0),
    AttentionTransferTerm(1.0, mode="paper"),
    CircuitTerm(1.0, shortcut=0.0, quads=2),
]


def classifier(recipe: ModelRecipe, seed: int) -> Classifier:
    return build_classifier(recipe, make_preprocessor(recipe, VOCABULARY), seed)


def examples_of(recipe: ModelRecipe, n: int = 6) -> list[Example]:
    task = load_task("nli-overlap" if recipe.reads == "text" else "digits")
    return list(task.examples("train", n))


def materials_of(student: Classifier, recipe: ModelRecipe, seed: int = 0) -> Materials:
    examples = examples_of(recipe)
    inputs = student.encode([example.input for example in examples])
    task = load_task("nli-overlap" if recipe.reads == "text" else "digits")
    labels = torch.zeros(len(examples), dtype=torch.long)
    return Materials(student, inputs, Signals(labels), tuple(examples), task, {}, seed)


def evaluate(
    term: Term, student: Classifier, teacher: Classifier, recipe: ModelRecipe
) -> tuple[Tensor, nn.Module]:
    """The term on six training items, and its loss module."""
    ours, theirs = OpenClassifier.of(student), OpenClassifier.of(teacher)
    materials = materials_of(student, recipe)
    loss = term.bind(ours, theirs, materials)
    batch = materials.inputs.columns
    _, values = ours.run(batch, loss.student_sites)
    with torch.no_grad():
        _, seen = theirs.run(batch, loss.teacher_sites)
    return loss(Step(values, seen, batch.get("attention_mask"))), loss


def fits(term: Term, family: str) -> bool:
    return family != "resnet" or not isinstance(term, AttentionTerm | RelationsTerm)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_term_is_zero_between_a_model_and_itself_and_positive_otherwise(family: str) -> None:
    recipe = FAMILIES[family]
    student, other = classifier(recipe, 0), classifier(recipe, 1)
    for net in (student, other):
        net.model.eval()
    for term in (term for term in SAME if fits(term, family)):
        zero, _ = evaluate(term, student, student, recipe)
        assert zero.item() == pytest.approx(0.0, abs=1e-6), term
        apart, _ = evaluate(term, student, other, recipe)
        assert apart.item() > 0, term


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_the_student_and_never_the_teacher(family: str) -> None:
    recipe = FAMILIES[family]
    for term in (term for term in SAME if fits(term, family)):
        student, teacher = classifier(recipe, 0), classifier(recipe, 1)
        teacher.model.eval()
        evaluate(term, student, teacher, recipe)[0].backward()
        assert any(
            w.grad is not None and w.grad.abs().sum() > 0 for w in student.model.parameters()
        )
        assert all(weight.grad is None for weight in teacher.model.parameters()), term


WIDE = [
    HiddenTerm(1.0),
    AttentionTerm(1.0),
    RelationsTerm(1.0, relation_heads=4),
    AttentionTransferTerm(1.0),
    CircuitTerm(1.0, quads=2, match="layers"),
]


@pytest.mark.parametrize("term", WIDE)
def test_widths_depths_and_heads_may_differ(term: Term) -> None:
    student = classifier(BERT, 0)
    teacher = classifier(replace(BERT, n_layers=4, d_model=24, n_heads=3), 1)
    value, loss = evaluate(term, student, teacher, BERT)
    assert torch.isfinite(value) and value.item() > 0
    value.backward()
    assert all(weight.grad is not None for weight in loss.parameters())


def test_hidden_states_are_compared_as_written_out() -> None:
    student, teacher = classifier(BERT, 0), classifier(replace(BERT, d_model=24, n_layers=4), 1)
    value, loss = evaluate(HiddenTerm(1.0), student, teacher, BERT)
    batch = materials_of(student, BERT).inputs.columns
    ours, theirs = (
        net.model(**batch, output_hidden_states=True).hidden_states for net in (student, teacher)
    )
    [(weight, bias)] = [(x.weight, x.bias) for x in loss.modules() if isinstance(x, nn.Linear)]
    pairs = [(ours[0], theirs[0]), (ours[1], theirs[2]), (ours[2], theirs[4])]
    expected = torch.stack([F.mse_loss(F.linear(a, weight, bias), b) for a, b in pairs]).mean()
    torch.testing.assert_close(value, expected)


def test_attention_is_compared_as_written_out() -> None:
    student, teacher = classifier(BERT, 0), classifier(BERT, 1)
    batch = materials_of(student, BERT).inputs.columns
    patterns: list[Sequence[Tensor]] = []
    for net in (student, teacher):
        net.model.set_attn_implementation("eager")
        patterns.append(net.model(**batch, output_attentions=True).attentions)
        net.model.set_attn_implementation("sdpa")
    pairs = list(zip(*patterns, strict=True))
    mse = torch.stack([(a - b).square().sum(-1).mean() for a, b in pairs]).mean()
    kl = torch.stack([(b * (b.log() - a.log())).sum(-1).mean() for a, b in pairs]).mean()
    torch.testing.assert_close(evaluate(AttentionTerm(1.0), student, teacher, BERT)[0], mse)
    torch.testing.assert_close(
        evaluate(AttentionTerm(1.0, distance="kl"), student, teacher, BERT)[0], kl
    )


def test_relations_do_not_change_when_queries_are_turned_within_a_relation_head() -> None:
    projected = torch.randn(2, 5, 2, 8)
    turn = torch.linalg.qr(torch.randn(8, 8))[0]
    torch.testing.assert_close(log_relation(projected, 2), log_relation(projected @ turn, 2))
    assert log_relation(projected, 4).shape == (2, 4, 5, 5)
    by_hand = (projected[:, :, 0] @ projected[:, :, 0].mT / 8**0.5).log_softmax(-1)
    torch.testing.assert_close(log_relation(projected, 2)[:, 0], by_hand)


def test_an_attention_map_has_norm_one_and_ignores_the_scale_of_its_stream() -> None:
    stream = torch.randn(3, 5, 4)
    found = attention_map(stream)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found, attention_map(7 * stream))
    torch.testing.assert_close(found, F.normalize(stream.square().mean(-1)))


def test_padding_counts_for_nothing() -> None:
    site = Site(0, "resid_post")
    mask = torch.tensor([[1, 1, 0]])
    stream = torch.randn(1, 3, 4)
    beside = stream.clone()
    beside[:, 2] += 9
    loss = HiddenTerm(1.0, projection="none", embeddings=False).bind(
        OpenClassifier.of(classifier(replace(BERT, n_layers=1), 0)),
        OpenClassifier.of(classifier(replace(BERT, n_layers=1), 0)),
        materials_of(classifier(BERT, 0), BERT),
    )
    assert loss(Step({site: stream}, {site: beside}, mask)).item() == 0
    assert loss(Step({site: stream}, {site: beside}, None)).item() > 0


def test_layers_are_spread_evenly_with_the_last_on_the_last() -> None:
    assert even_layers(2, 4) == (1, 3) and even_layers(3, 12) == (3, 7, 11)
    assert even_layers(2, 2) == (0, 1) and even_layers(2, 3)[-1] == 2


@pytest.mark.parametrize(
    ("term", "teacher", "message"),
    [
        (
            HiddenTerm(1.0, projection="none"),
            replace(BERT, d_model=24),
            "is 16 wide, the teacher 24",
        ),
        (HiddenTerm(1.0, layers=(0,)), BERT, "layers .0., but the student has 2 layers"),
        (HiddenTerm(1.0, layers=(0, 2)), BERT, "the teacher 2. Name one existing layer"),
        (HiddenTerm(1.0, layers=(0, -1)), BERT, "the teacher's layers .0, -1., but"),
        (AttentionTerm(1.0, heads="each"), replace(BERT, n_heads=4), "has 2 heads, the teacher 4"),
        (RelationsTerm(1.0, relation_heads=3), BERT, "which relation_heads = 3 does not divide"),
        (RelationsTerm(1.0, relation_heads=2, layer=5), BERT, "layer is 5, but the teacher has 2"),
        (CircuitTerm(1.0), replace(BERT, n_heads=4), "Set the term's match to layers"),
        (HiddenTerm(1.0), FAMILIES["t5"], "The student has a0, but the teacher has only enc.a0"),
    ],
)
def test_networks_that_a_term_cannot_compare_are_refused(
    term: Term, teacher: ModelRecipe, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        evaluate(term, classifier(BERT, 0), classifier(teacher, 1), BERT)


def test_a_resnet_has_no_attention_to_compare() -> None:
    recipe = FAMILIES["resnet"]
    for term in (AttentionTerm(1.0), RelationsTerm(1.0, relation_heads=2)):
        with pytest.raises(RecipeError, match="Use attention-transfer instead"):
            evaluate(term, classifier(recipe, 0), classifier(recipe, 1), recipe)


def opened_with_quads(seed: int) -> tuple[OpenClassifier, tuple[str, ...], list[Quad]]:
    opened = OpenClassifier.of(classifier(BERT, seed))
    opened.classifier.model.eval()
    task = load_task("nli-overlap")
    return opened, task.labels, [task.training_quad(i) for i in range(4)]


@pytest.mark.parametrize(("activation", "place"), [("z", 1), ("mlp_out", 3)])
def test_effects_of_nodes_are_those_of_a_small_patch_between_the_cells(
    activation: Activation, place: int
) -> None:
    """By hand at a1.h0 and m1, half-way between A and C, and N and L, in place of its gradient."""
    opened, labels, quads = opened_with_quads(3)
    encoded = encode_quads(opened, quads, labels)
    found = contrast_effects(opened, encoded, labels, steps=1, mlps=True)
    entry, site = Site(0, "resid_pre"), Site(1, activation)
    _, values = opened.run(encoded.batch, [entry, site])
    cells, z = (values[each].detach().unflatten(0, (4, 4)) for each in (entry, site))
    pairs = ((0, 2), (1, 3))
    half = torch.cat([(cells[:, a] + cells[:, b]) / 2 for a, b in pairs])
    change = torch.cat([z[:, a] - z[:, b] for a, b in pairs])
    if activation == "z":
        change[:, :, 1:] = 0
    rows = torch.cat([4 * torch.arange(4) + a for a, _ in pairs])
    batch = {name: column[rows] for name, column in encoded.batch.items()}

    def margins(size: float) -> Tensor:
        def shift(z: Tensor) -> Tensor:
            return z + size * change

        with torch.no_grad(), opened.hooks.editing({entry: lambda _: half, site: shift}):
            logits = opened.classifier.logits(batch)
        return margin(logits.flip(-1), encoded.labels[rows], encoded.foils[rows])

    moved = (margins(1e-2) - margins(-1e-2)) / 2e-2
    expected = moved.mean() / found.total_range.clamp(min=1.0)
    assert found.core[place][0].item() == pytest.approx(expected.item(), rel=2e-2, abs=1e-5)
    assert abs(expected.item()) > 1e-4


def test_heads_of_the_bundled_teacher_answer_to_the_core_and_its_students_to_both() -> None:
    """Both are saturated: gradients at the cells themselves would show no effects at all."""
    task = load_task("nli-overlap")
    quads = [task.training_quad(i) for i in range(16)]
    largest: dict[str, tuple[float, ...]] = {}
    for name in ("teacher", "student"):
        opened = OpenClassifier.of(load_classifier(CHECKPOINTS / name))
        effects = contrast_effects(opened, encode_quads(opened, quads, task.labels), task.labels)
        largest[name] = tuple(
            max(row.abs().max().item() for row in rows) for rows in (effects.core, effects.shortcut)
        )
    assert largest["teacher"][0] > 0.1 > 0.01 > largest["teacher"][1]
    assert largest["student"][0] > 0.03 and largest["student"][1] > 0.03


def test_effects_stay_as_they_are_when_label_and_foil_change_places() -> None:
    opened, labels, quads = opened_with_quads(3)
    swapped = [
        replace(quad, A=quad.L, L=quad.A, N=quad.C, C=quad.N, label=quad.foil, foil=quad.label)
        for quad in quads
    ]
    one, other = (
        contrast_effects(opened, encode_quads(opened, each, labels), labels)
        for each in (quads, swapped)
    )
    torch.testing.assert_close(one.total_range, other.total_range)
    for mine, turned in zip(
        (*one.core, *one.shortcut), (*other.core, *other.shortcut), strict=True
    ):
        torch.testing.assert_close(mine, turned, rtol=1e-4, atol=1e-6)


def test_a_silenced_head_has_no_effect_and_the_circuit_term_says_so() -> None:
    teacher, student = classifier(BERT, 3), classifier(BERT, 3)
    with torch.no_grad():
        projection = student.model.get_submodule("bert.encoder.layer.1.attention.output.dense")
        projection.weight[:, :8] = 0  # pyright: ignore[reportIndexIssue, reportArgumentType]
    opened, task = OpenClassifier.of(student), load_task("nli-overlap")
    labels = task.labels
    quads = [task.training_quad(i) for i in range(4)]
    silenced = contrast_effects(opened, encode_quads(opened, quads, labels), labels)
    assert silenced.core[1][0].item() == pytest.approx(0.0, abs=1e-9)
    whole = OpenClassifier.of(teacher)
    before = contrast_effects(whole, encode_quads(whole, quads, labels), labels)
    assert before.core[1][0].abs() > 1e-6
    term = CircuitTerm(1.0, shortcut=0.0, quads=4)
    assert evaluate(term, student, teacher, BERT)[0].item() > 0


def effects_of(core: Sequence[list[float]], shortcut: Sequence[list[float]]) -> ContrastEffects:
    sides = (tuple(torch.tensor(row) for row in side) for side in (core, shortcut))
    return ContrastEffects(*sides, total_range=torch.ones(()))


def test_effects_on_the_shortcut_do_not_cancel_and_mlps_are_compared_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two layers of two heads and an MLP each; the term worked out by hand."""
    student, teacher = (OpenClassifier.of(classifier(BERT, seed)) for seed in (0, 1))
    none = [[0.0, 0.0], [0.0, 0.0], [0.0], [0.0]]
    found = {
        student: effects_of(
            [[0.2, 0.1], [0.0, 0.0], [0.5], [0.0]], [[0.2, -0.2], [0.0, 0.0], [0.1], [0.0]]
        ),
        teacher: effects_of([[0.0, 0.3], [0.0, 0.0], [0.1], [0.0]], none),
    }
    monkeypatch.setattr(CircuitLoss, "_effects", lambda _, opened, *args, **kwargs: found[opened])
    materials = materials_of(student.classifier, BERT)

    def value(term: CircuitTerm) -> float:
        return term.bind(student, teacher, materials)(Step({}, {}, None)).item()

    shortcut = 3.0 * (0.2**2 + 0.2**2 + 0.1**2)
    by_head = CircuitTerm(1.0, shortcut=3.0, every=1)
    by_layer = CircuitTerm(1.0, shortcut=3.0, every=1, match="layers")
    assert value(by_head) == pytest.approx(0.2**2 + 0.2**2 + 0.4**2 + shortcut)
    assert value(by_layer) == pytest.approx(0.4**2 + shortcut)


def test_training_on_the_circuit_term_alone_brings_the_effects_nearer() -> None:
    student, teacher = classifier(BERT, 0), classifier(BERT, 1)
    loss = CircuitTerm(1.0, quads=4, every=1).bind(
        OpenClassifier.of(student), OpenClassifier.of(teacher), materials_of(student, BERT)
    )
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=3e-3)
    values: list[float] = []
    for _ in range(12):
        # The same quads each time, so that the values can be compared.
        loss.get_buffer("calls").zero_()
        optimizer.zero_grad()
        value = loss(Step({}, {}, None))
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2


def test_the_circuit_term_is_taken_at_every_kth_step_on_new_quads_and_goes_on_when_resumed() -> (
    None
):
    student, teacher = classifier(BERT, 0), classifier(BERT, 1)
    term = CircuitTerm(1.0, quads=2, every=2)

    def bound() -> CircuitLoss:
        made = term.bind(
            OpenClassifier.of(student), OpenClassifier.of(teacher), materials_of(student, BERT)
        )
        assert isinstance(made, CircuitLoss)
        return made

    step, loss = Step({}, {}, None), bound()
    values = [loss(step).item() for _ in range(4)]
    assert values[1] == values[3] == 0 and 0 < values[0] != values[2] > 0
    resumed = bound()
    state = {name: value.clone() for name, value in bound().state_dict().items()}
    state["calls"] += 2
    resumed.load_state_dict(state)
    assert resumed(step).item() == pytest.approx(values[2], rel=1e-5)


def test_the_circuit_term_leaves_dropout_and_batch_norms_as_they_were() -> None:
    recipe = FAMILIES["resnet"]
    student, teacher = classifier(recipe, 0), classifier(recipe, 1)
    student.model.train()
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    term = CircuitTerm(1.0, quads=2)
    loss = term.bind(
        OpenClassifier.of(student), OpenClassifier.of(teacher), materials_of(student, recipe)
    )
    assert loss(Step({}, {}, None)).item() > 0
    after = student.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(module.training for module in student.model.modules())


TINY = [
    "data.n=40",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=4",
    "optimization.batch_size=8",
]
ALL_TERMS = (
    "objective.terms=[{name: hidden, weight: 0.5}, {name: attention, weight: 1, distance: kl}, "
    "{name: relations, weight: 1, relation_heads: 4}, {name: attention-transfer, weight: 2}, "
    "{name: circuit, weight: 0.1, quads: 2, every: 2, match: layers}]"
)


def with_terms() -> Recipe:
    return load_recipe(RECIPES / "student.yaml", [*TINY, ALL_TERMS])


def test_every_term_can_be_named_in_a_recipe_and_is_written_out_in_its_record() -> None:
    objective = with_terms().objective
    assert isinstance(objective, LogitDistillation)
    assert {type(term) for term in objective.terms} == set(TERMS.values())
    written = objective.to_json()["terms"]
    assert isinstance(written, list) and [each["name"] for each in written] == [
        "hidden",
        "attention",
        "relations",
        "attention-transfer",
        "circuit",
    ]


def test_a_student_is_trained_with_all_terms_and_its_projection(tmp_path: Path) -> None:
    teacher = load_recipe(RECIPES / "teacher.yaml", [*TINY, "model.d_model=24", "model.n_heads=3"])
    parents = {"teacher": train(teacher, 0, tmp_path / "teacher")}
    recipe = with_terms()
    out = train(recipe, 0, tmp_path / "student", parents=parents)
    assert (out / "model.safetensors").is_file()
    assert isinstance(recipe.objective, LogitDistillation)
    criterion = recipe.objective.criterion(prepare(recipe, 0, parents).materials)
    shapes = sorted(tuple(weight.shape) for weight in criterion.parameters())
    assert shapes == [(24,), (24, 16)]
    assert list(criterion.state_dict()) == [
        "terms.0.maps.stream.weight",
        "terms.0.maps.stream.bias",
        "terms.4.calls",
    ]


def test_terms_have_one_teacher() -> None:
    materials = replace(materials_of(classifier(BERT, 0), BERT), teachers=("one", "other"))
    with pytest.raises(RecipeError, match="with one teacher, but there are 2"):
        LogitDistillation(terms=(HiddenTerm(1.0),)).criterion(materials)
