"""Debiasing methods on cases small enough to be worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toymaking import loss_of, make_materials, make_network, run

from behavior.errors import DataError, RecipeError
from behavior.examples import Example, TextInput
from distillation.features import last_layer, logits_and_features, predict_features
from distillation.groups import number_groups
from distillation.objectives import OBJECTIVES, LogitObjective, Materials, Signals
from distillation.objectives.balanced_sampling import BalancedSampling
from distillation.objectives.confidence_regularisation import ConfidenceRegularisation
from distillation.objectives.debiased_focal import DebiasedFocalLoss
from distillation.objectives.dfr import DFR, balanced_subsample
from distillation.objectives.generalised_cross_entropy import GeneralisedCrossEntropy
from distillation.objectives.group_dro import GroupDRO
from distillation.objectives.jtt import JTT
from distillation.objectives.kernel_whitening import (
    KernelWhitening,
    correlation,
    decorrelating_weights,
    kernel_coordinates,
)
from distillation.objectives.learned_mixin import LearnedMixin, LearnedMixinCriterion, entropy
from distillation.objectives.lff import LfF, LfFCriterion
from distillation.objectives.pgd import PGD, gradient_norms
from distillation.objectives.refitted_head import RefittedHead
from distillation.objectives.reweighting import Reweighting
from distillation.objectives.selective_mixup import SelectiveMixup, partners_of_groups
from distillation.objectives.self_debiasing import SelfDebiasing, SelfDebiasingCriterion
from distillation.prepare import prepare
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
LABELS = torch.tensor([0, 1])
LOGITS = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
"""Probabilities 1/2, 1/2 and 1/4, 3/4: cross-entropies log 2 and log 4/3."""
BIAS = torch.tensor([[0.9, 0.1], [0.8, 0.2]]).log()
"""Sure and right about the first item, sure and wrong about the second."""


@pytest.fixture
def materials() -> Materials:
    return make_materials()


def loss(objective: LogitObjective, **signals: Tensor) -> float:
    return objective.loss(LOGITS, Signals(LABELS, **signals)).item()


def at(materials: Materials, items: list[int]) -> tuple[Tensor, Tensor]:
    """Cross-entropies of items, through which gradients flow, and which items."""
    chosen = torch.tensor(items)
    logits = materials.classifier.logits(materials.inputs.take(chosen))
    labels = materials.signals.labels[chosen]
    return F.cross_entropy(logits, labels, reduction="none"), chosen


def test_reweighting_is_the_weighted_mean_over_the_weights_of_the_batch() -> None:
    expected = (0.1 * math.log(2) + 0.8 * math.log(4 / 3)) / (0.1 + 0.8)
    assert loss(Reweighting(), bias=BIAS) == pytest.approx(expected)


@pytest.mark.parametrize(("normalise", "is_unbiased"), [("dataset", True), ("batch", False)])
def test_weights_of_the_data_set_leave_the_mean_over_batches_what_it_is_over_all_items(
    materials: Materials, normalise: str, is_unbiased: bool
) -> None:
    objective = Reweighting(normalise=normalise)  # pyright: ignore[reportArgumentType]
    criterion = objective.criterion(materials)
    batches = torch.arange(len(materials.examples)).unflatten(0, (-1, 20))
    found = sum(loss_of(criterion, materials, batch).item() for batch in batches) / len(batches)
    losses, items = at(materials, list(range(len(materials.examples))))
    signals = materials.signals.take(items)
    assert signals.bias is not None
    weights = 1 - signals.bias.gather(-1, signals.labels[:, None]).squeeze(-1).exp()
    expected = ((weights * losses).sum() / weights.sum()).item()
    assert (found == pytest.approx(expected, rel=1e-4)) is is_unbiased
    assert objective.to_json() == ({"normalise": "dataset"} if is_unbiased else {})


def test_a_batch_that_the_bias_model_knows_entirely_has_no_weight_and_no_loss() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).log()
    assert loss(Reweighting(), bias=sure) == 0


def test_debiased_focal_loss_is_a_power_of_what_the_bias_model_leaves_open() -> None:
    expected = (0.1**2 * math.log(2) + 0.8**2 * math.log(4 / 3)) / 2
    assert loss(DebiasedFocalLoss(), bias=BIAS) == pytest.approx(expected)
    assert loss(DebiasedFocalLoss(gamma=0.0), bias=BIAS) == pytest.approx(
        F.cross_entropy(LOGITS, LABELS).item()
    )


def test_confidence_is_lowered_by_what_the_bias_model_knows() -> None:
    teacher = torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    flat = teacher ** torch.tensor([[0.1], [0.8]])
    flat = flat / flat.sum(-1, keepdim=True)
    expected = -(flat * LOGITS.log_softmax(-1)).sum(-1).mean().item()
    found = loss(ConfidenceRegularisation(), bias=BIAS, teacher=teacher.log() + 5)
    assert found == pytest.approx(expected)


def test_confidence_regularisation_with_an_ignorant_bias_model_is_distillation() -> None:
    teacher = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    ignorant = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).log()
    found = loss(ConfidenceRegularisation(), bias=ignorant, teacher=teacher)
    assert found == pytest.approx(F.cross_entropy(LOGITS, teacher.softmax(-1)).item())


def test_generalised_cross_entropy_has_p_to_the_q_of_the_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    GeneralisedCrossEntropy(q=0.7).loss(logits, Signals(LABELS)).backward()
    assert logits.grad is not None
    plain = (LOGITS.softmax(-1) - F.one_hot(LABELS)) / 2
    scale = torch.tensor([[0.5], [0.75]]) ** 0.7
    torch.testing.assert_close(logits.grad, scale * plain)


def test_group_dro_moves_its_weights_by_the_exponential_of_the_losses(
    materials: Materials,
) -> None:
    groups = materials.signals.groups
    assert groups is not None
    objective = GroupDRO(eta=0.5, adjustment=2.0)
    criterion = objective.criterion(materials)
    batch = torch.cat([(groups == g).nonzero()[:n, 0] for g, n in ((0, 3), (1, 2), (3, 1))])
    losses, _ = at(materials, batch.tolist())
    each = losses.detach()
    means = torch.stack([each[:3].mean(), each[3:5].mean(), torch.tensor(0.0), each[5]])
    raised = (0.5 * (means + 2 / groups.bincount().sqrt())).exp() / 4
    q = raised / raised.sum()
    found = loss_of(criterion, materials, batch)
    torch.testing.assert_close(criterion.state_dict()["q"], q)
    assert found.item() == pytest.approx((q * means).sum().item())


def test_groups_are_drawn_equally_often(materials: Materials) -> None:
    groups = materials.signals.groups
    assert groups is not None
    for objective in (BalancedSampling(), GroupDRO()):
        weights = objective.sampling_weights(materials)
        assert weights is not None
        mass = torch.zeros(4).index_add(0, groups, weights)
        torch.testing.assert_close(mass, torch.ones(4))
    assert GroupDRO(balanced=False).sampling_weights(materials) is None


def test_a_group_is_a_class_and_whether_the_shortcut_points_to_it() -> None:
    rows = [("3", True, "A"), ("3", False, "C"), ("3", True, "L"), ("5", True, "A")]
    cells = [Example("", TextInput("a"), label, fits, cell) for label, fits, cell in rows]
    groups = number_groups(cells)
    assert groups is not None and groups.tolist() == [0, 1, 0, 2]
    named = [replace(example, group="fiction") for example in cells]
    groups = number_groups(named)
    assert groups is not None and groups.tolist() == [0, 0, 0, 1]
    assert number_groups([replace(cells[0], group="")]) is None


def test_the_learned_mixin_trusts_the_bias_model_as_it_is_at_first(materials: Materials) -> None:
    criterion = LearnedMixin().criterion(materials)
    batch = torch.arange(8)
    logits = materials.classifier.logits(materials.inputs.take(batch))
    signals = materials.signals.take(batch)
    assert signals.bias is not None
    expected = F.cross_entropy(logits.log_softmax(-1) + signals.bias, signals.labels)
    assert loss_of(criterion, materials, batch).item() == pytest.approx(expected.item())


def test_the_entropy_of_the_trusted_bias_model_is_added(materials: Materials) -> None:
    batch = torch.arange(8)
    losses: list[float] = []
    for weight in (0.0, 0.5):
        criterion = LearnedMixin(entropy=weight).criterion(materials)
        assert isinstance(criterion, LearnedMixinCriterion)
        torch.nn.init.constant_(criterion.trust.bias, math.log(math.e**2 - 1))
        losses.append(loss_of(criterion, materials, batch).item())
    bias = materials.signals.take(batch).bias
    assert bias is not None
    assert losses[1] - losses[0] == pytest.approx(0.5 * entropy(2 * bias).item(), rel=1e-4)
    assert entropy(torch.zeros(3, 4)).item() == pytest.approx(math.log(4))


def test_self_debiasing_trusts_the_bias_model_less_from_step_to_step(
    materials: Materials,
) -> None:
    criterion = SelfDebiasing(last=0.5, anneal_steps=4).criterion(materials)
    assert isinstance(criterion, SelfDebiasingCriterion)
    thetas: list[float] = []
    for _ in range(6):
        thetas.append(criterion.theta)
        loss_of(criterion, materials, torch.arange(4))
    assert thetas == pytest.approx([1, 0.875, 0.75, 0.625, 0.5, 0.5])


def test_annealing_lasts_as_long_as_the_training_unless_it_is_said(materials: Materials) -> None:
    for objective, lasting in ((SelfDebiasing(), 3000), (SelfDebiasing(anneal_steps=4), 4)):
        criterion = objective.criterion(replace(materials, n_steps=3000))
        assert isinstance(criterion, SelfDebiasingCriterion)
        criterion.steps += lasting
        assert criterion.theta == pytest.approx(0.8)
        criterion.steps -= 1
        assert criterion.theta > 0.8
    recipe = load_recipe(RECIPES / "student-plain.yaml", ["data.n=50", "optimization.steps=7"])
    assert prepare(recipe, 0, {}).materials.n_steps == 7


@pytest.mark.parametrize("kind", ["reweighting", "product-of-experts"])
def test_annealing_takes_the_power_of_weights_or_of_probabilities(
    materials: Materials, kind: str
) -> None:
    objective = OBJECTIVES["self-debiasing"](loss=kind, last=0.0, anneal_steps=2)  # pyright: ignore[reportCallIssue]
    assert isinstance(objective, SelfDebiasing)
    criterion, batch = objective.criterion(materials), torch.arange(6)
    loss_of(criterion, materials, batch)
    losses, _ = at(materials, list(range(6)))
    signals = materials.signals.take(batch)
    assert signals.bias is not None
    p = signals.bias.exp()
    if kind == "reweighting":
        weights = (1 - p[batch, signals.labels]).sqrt()
        expected = (weights * losses).sum() / weights.sum()
    else:
        logits = materials.classifier.logits(materials.inputs.take(batch))
        expected = F.cross_entropy(logits.log_softmax(-1) + p.sqrt().log(), signals.labels)
    assert loss_of(criterion, materials, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_jtt_draws_the_errors_of_the_first_model_more_often(materials: Materials) -> None:
    one_wrong = replace(materials, signals=Signals(LABELS, bias=BIAS))
    assert JTT(upweight=5.0).sampling_weights(one_wrong).tolist() == [1.0, 5.0]
    all_right = replace(materials, signals=Signals(torch.tensor([0, 0]), bias=BIAS))
    with pytest.raises(RecipeError, match=r"right on all 2 training items.*fewer steps"):
        JTT().sampling_weights(all_right)


def test_lff_weighs_items_by_averaged_losses_over_the_largest_of_their_class(
    materials: Materials,
) -> None:
    criterion = LfF(decay=0.7).criterion(materials)
    assert isinstance(criterion, LfFCriterion)
    labels = materials.signals.labels
    first = [int((labels == c).nonzero()[i]) for c in (0, 1) for i in (0, 1)]
    with torch.no_grad():
        criterion.biased.get_submodule("classifier").bias.add_(torch.tensor([0.5, 0.0]))  # pyright: ignore
    criterion.averages[:, first] = torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, 2.0, 1.0, 1.0]])
    ours, _ = at(materials, first)
    theirs = F.cross_entropy(
        criterion.biased_logits(materials.inputs.take(torch.tensor(first))),
        labels[first],
        reduction="none",
    )
    averages = 0.7 * criterion.averages[:, first] + 0.3 * torch.stack([theirs, ours]).detach()
    largest = averages.view(2, 2, 2).amax(-1).repeat_interleave(2, dim=1)
    biased, own = averages / largest
    expected = (biased / (biased + own) * ours).mean() + (1 - (-theirs).exp() ** 0.7).mean() / 0.7
    found = loss_of(criterion, materials, torch.tensor(first))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(criterion.averages[:, first], averages)
    assert criterion.averages.isnan().sum() == 2 * (len(labels) - 4)


def test_lff_takes_the_first_loss_of_an_item_whole(materials: Materials) -> None:
    criterion = LfF().criterion(materials)
    assert isinstance(criterion, LfFCriterion)
    losses, items = at(materials, [3, 5])
    loss_of(criterion, materials, items)
    torch.testing.assert_close(criterion.averages[1, items], losses.detach())


def test_the_norm_of_a_gradient_takes_one_forward_pass(materials: Materials) -> None:
    weights = PGD().sampling_weights(materials)
    head = last_layer(materials.classifier).linear
    for item in (0, 7):
        losses, _ = at(materials, [item])
        (gradient,) = torch.autograd.grad(losses.sum(), head.weight)
        assert weights[item].item() == pytest.approx(gradient.norm().item(), rel=1e-4)
    one = gradient_norms(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
    assert one.item() == pytest.approx(5 * math.sqrt(0.5))


def test_kernel_coordinates_have_the_cosines_as_inner_products() -> None:
    features = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    coordinates = kernel_coordinates(features)
    cosines = F.cosine_similarity(features[:, None], features[None], dim=-1)
    torch.testing.assert_close(coordinates @ coordinates.T, cosines, atol=1e-5, rtol=0)


def test_whitening_weights_make_dependent_features_independent() -> None:
    """Two features agree in four items of six; twice the weight for the others unties them."""
    x = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    uniform = torch.full((6,), 1 / 6)
    balanced = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 2.0]) / 8
    assert correlation(x, uniform).item() == pytest.approx(2 * (1 / 3) ** 2)
    assert correlation(x, balanced).item() == pytest.approx(0, abs=1e-9)
    settings = KernelWhitening(strength=0.3, inner_steps=50, learning_rate=0.1)
    of_no_weight = torch.tensor([-20.0])
    weights = decorrelating_weights(x, x[:1], of_no_weight, settings).softmax(0)
    assert weights[4:].min() > weights[:4].max()
    before, after = (correlation(kernel_coordinates(x), w) for w in (uniform, weights))
    assert after < 0.8 * before


def test_no_inner_step_is_plain_training(materials: Materials) -> None:
    criterion = KernelWhitening(inner_steps=0).criterion(materials)
    losses, items = at(materials, [0, 1, 2, 3])
    assert loss_of(criterion, materials, items).item() == pytest.approx(losses.mean().item())


def test_partners_share_the_label_or_the_shortcut_and_never_both() -> None:
    cells = {"A": "yes", "N": "yes", "C": "no", "L": "no"}
    examples = [
        Example(cell, TextInput("a"), label, cell in "AL", cell) for cell, label in cells.items()
    ]
    groups = number_groups(examples)
    assert groups is not None
    by_label, by_shortcut = partners_of_groups(examples, groups)
    order = dict(zip("ANCL", groups.tolist(), strict=True))

    def partners(table: Tensor, cell: str) -> set[str]:
        return {other for other in "ANCL" if table[order[cell], order[other]]}

    assert [partners(by_label, cell) for cell in "ANCL"] == [{"N"}, {"A"}, {"L"}, {"C"}]
    assert [partners(by_shortcut, cell) for cell in "ANCL"] == [{"C"}, {"L"}, {"A"}, {"N"}]


def test_where_a_shortcut_may_point_to_many_classes_only_labels_can_be_shared() -> None:
    rows = [(label, fits, "A" if fits else "C") for label in "012" for fits in (True, False)]
    examples = tuple(Example("", TextInput("a"), label, fits, cell) for label, fits, cell in rows)
    groups = number_groups(examples)
    assert groups is not None
    by_label, by_shortcut = partners_of_groups(examples, groups)
    assert by_label.sum() == 6 and not by_shortcut.any()
    toy = make_materials()
    thrice = replace(toy, examples=examples, signals=Signals(torch.arange(6) // 2, groups=groups))
    with pytest.raises(RecipeError, match=r"share a shortcut. Set objective.within_label to 1"):
        SelectiveMixup().criterion(thrice)
    SelectiveMixup(within_label=1.0).criterion(thrice)


def test_mixing_within_labels_leaves_the_labels_and_moves_the_shortcut() -> None:
    toy = make_materials()
    batch = torch.arange(16)
    criterion = SelectiveMixup(within_label=1.0).criterion(toy)
    rng = np.random.default_rng([toy.seed, 0])
    rng.random()
    share = rng.beta(2.0, 2.0)
    seen: list[Tensor] = []
    hidden = toy.classifier.model.get_submodule("hidden")
    hook = hidden.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    loss_of(criterion, toy, batch)
    hook.remove()
    x = toy.inputs.take(batch)["x"]
    torch.testing.assert_close(seen[0][:, 1], (2 * share - 1) * x[:, 1], rtol=1e-5, atol=1e-6)
    assert (seen[0][:, 0].sign() == x[:, 0].sign()).all()


def test_dfr_changes_the_last_layer_and_nothing_else() -> None:
    toy = make_materials()
    before = {name: w.clone() for name, w in toy.classifier.model.state_dict().items()}
    run(DFR(held_out="train", n_subsamples=2), toy)
    changed = {
        name for name, w in toy.classifier.model.state_dict().items() if not w.equal(before[name])
    }
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_refitted_head_takes_as_many_items_as_dfr_and_keeps_their_imbalance() -> None:
    groups = np.repeat([0, 1, 2, 3], [900, 20, 10, 70])
    balanced = DFR().subsample(groups, np.random.default_rng(0))
    as_they_come = RefittedHead().subsample(groups, np.random.default_rng(0))
    assert len(set(as_they_come)) == len(balanced) == 40
    assert (np.bincount(groups[balanced]) == 10).all()
    assert np.bincount(groups[as_they_come])[0] >= 30
    right = np.array([True, True, True, False])
    assert RefittedHead().quality(right, np.array([0, 0, 0, 1])) == 0.75
    assert DFR().quality(right, np.array([0, 0, 0, 1])) == 0.0


def test_a_refitted_head_that_lacks_a_class_is_refused() -> None:
    labels = np.repeat([0, 1, 2], [400, 400, 8])
    x = np.random.default_rng(0).standard_normal((808, 2))
    objective = RefittedHead(n_subsamples=5, strengths=(1.0,))
    with pytest.raises(DataError, match="lack a class"):
        objective.fit_head(x, labels, labels, True, seed=0)


def test_dfr_folds_the_standardisation_into_the_weights() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    x = np.stack([labels + 0.3 * rng.standard_normal(400), rng.standard_normal(400)], axis=1)
    objective = DFR(held_out="train", n_subsamples=3, strengths=(1.0,))
    head = objective.fit_head(x, labels, labels, True, seed=0)
    moved = objective.fit_head(x * 100 - 7, labels, labels, True, seed=0)
    np.testing.assert_allclose(moved.weight * 100, head.weight, rtol=1e-4, atol=1e-6)
    assert (head.predict(x) == moved.predict(x * 100 - 7)).all()
    assert (head.predict(x) == labels).mean() > 0.9
    assert abs(head.weight[1, 1]) < abs(head.weight[1, 0]) / 20


def test_a_balanced_subsample_has_as_many_of_each_group_as_the_smallest() -> None:
    groups = np.array([0] * 50 + [1] * 3 + [2] * 9)
    chosen = balanced_subsample(groups, np.random.default_rng(0))
    assert np.bincount(groups[chosen]).tolist() == [3, 3, 3]
    assert len(set(chosen.tolist())) == 9
    with pytest.raises(DataError, match=r"has 1 item\.$"):
        balanced_subsample(np.array([0, 0, 1]), np.random.default_rng(0))


@pytest.mark.parametrize("kind", [DFR, RefittedHead])
def test_where_more_held_out_items_come_from_depends_on_which_they_are(kind: type[DFR]) -> None:
    sources: tuple[tuple[Literal["validation", "train"], str], ...] = (
        ("validation", r"has 1 item\. Raise objective\.n_held_out\.$"),
        ("train", r"has 1 item\. Take more items \(data\.n\), or set .*held_out to validation\.$"),
    )
    x = np.random.default_rng(0).standard_normal((41, 2))
    labels = np.array([0] * 40 + [1])
    for held_out, advice in sources:
        with pytest.raises(DataError, match=advice):
            kind(held_out=held_out).fit_head(x, labels, labels, True, seed=0)


def test_features_are_what_the_last_layer_turns_into_logits(materials: Materials) -> None:
    classifier = make_network()
    layer = last_layer(classifier)
    logits, features = predict_features(classifier, materials.inputs)
    torch.testing.assert_close(layer.linear(features), logits)
    live, _ = logits_and_features(classifier, materials.inputs.take(torch.arange(3)))
    torch.testing.assert_close(live, logits[:3])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("group-dro", {"eta": 0.0}),
        ("group-dro", {"adjustment": -1.0}),
        ("dfr", {"strengths": ()}),
        ("learned-mixin", {"entropy": -0.1}),
        ("debiased-focal", {"gamma": -1.0}),
        ("self-debiasing", {"last": 1.5}),
        ("generalised-cross-entropy", {"q": 0.0}),
        ("jtt", {"upweight": 0.5}),
        ("lff", {"decay": 1.0}),
        ("kernel-whitening", {"strength": 0.0}),
        ("selective-mixup", {"alpha": 0.0}),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=f"{next(iter(settings))} must be"):
        OBJECTIVES[name](**settings)
