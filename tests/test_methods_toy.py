"""Every debiasing method lowers the spurious share on a toy on which plain training fails."""

from dataclasses import replace

import pytest
import torch
from toymaking import loss_of, make_materials, make_network, make_order, run, spurious_share

from distillation.classifier import Classifier
from distillation.objectives import OBJECTIVES, Materials, Objective, SteppedObjective

LEARNING_RATE = 0.003
SHORT = 60
"""Steps after which plain training has found the shortcut and nothing else."""


def train(objective: Objective, materials: Materials, steps: int = 200) -> float:
    """The spurious share that comes out."""
    run(objective, materials, steps, LEARNING_RATE)
    return spurious_share(materials.classifier)


def make(name: str, **settings: object) -> Objective:
    return OBJECTIVES[name](**settings)


def copied(classifier: Classifier) -> Classifier:
    copy = make_network()
    copy.model.load_state_dict(classifier.model.state_dict())
    return copy


@pytest.fixture(scope="module")
def plain() -> Classifier:
    materials = make_materials()
    run(make("plain"), materials, 200, LEARNING_RATE)
    return materials.classifier


@pytest.fixture(scope="module")
def shallow() -> torch.Tensor:
    """Log-probabilities of a plain network that was stopped early."""
    materials = make_materials()
    run(make("plain"), materials, 100, LEARNING_RATE)
    return materials.classifier.predict(materials.inputs).log_softmax(-1)


def test_plain_training_fails_on_the_toy(plain: Classifier) -> None:
    assert spurious_share(plain) > 0.85


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resampling", {}),
        ("reweighting", {}),
        ("reweighting", {"normalise": "dataset"}),
        ("group-dro", {}),
        ("balanced-sampling", {}),
        ("learned-mixin", {}),
        ("learned-mixin", {"entropy": 0.03}),
        ("self-debiasing", {"anneal_steps": 200}),
        ("self-debiasing", {"anneal_steps": 200, "loss": "product-of-experts"}),
        ("selective-mixup", {}),
        ("selective-mixup", {"within_label": 1.0}),
    ],
)
def test_the_spurious_share_falls(name: str, settings: dict[str, object]) -> None:
    assert abs(train(make(name, **settings), make_materials())) < 0.4


def test_debiased_focal_loss_lowers_the_share_where_the_bias_model_is_not_too_sure() -> None:
    assert abs(train(make("debiased-focal"), make_materials(trust=0.8))) < 0.4


def test_a_product_of_experts_takes_a_plain_network_on(plain: Classifier) -> None:
    materials = make_materials(copied(plain))
    assert abs(train(make("product-of-experts"), materials)) < 0.4


def test_a_shallow_or_weak_network_serves_as_bias_model(shallow: torch.Tensor) -> None:
    for name, settings in (
        ("self-debiasing", {"anneal_steps": 200}),
        ("product-of-experts", {}),
        ("jtt", {"upweight": 20.0}),
    ):
        materials = make_materials()
        signals = replace(materials.signals, bias=shallow)
        share = train(make(name, **settings), replace(materials, signals=signals))
        assert abs(share) < 0.4, name


def test_confidence_regularisation_takes_a_teacher_that_knows_more_than_the_shortcut() -> None:
    """The same steps as the plain network's, taught by one that was trained for twice as many."""
    teacher = make_materials(make_network(7))
    run(make("plain"), teacher, 400, 0.005)
    materials = make_materials(trust=0.8)
    logits = teacher.classifier.predict(teacher.inputs)
    signals = replace(materials.signals, teacher=logits)
    share = train(make("confidence-regularisation"), replace(materials, signals=signals))
    assert 0 < share < 0.6


def test_a_new_last_layer_is_enough_for_features_that_hold_the_core(plain: Classifier) -> None:
    """Here the items need not even be balanced: a regression to its end takes what tells most."""
    for name in ("dfr", "refitted-head"):
        objective = make(name, held_out="train", n_subsamples=5, strengths=(1.0, 0.1))
        assert abs(train(objective, make_materials(copied(plain)))) < 0.2, name


def test_lff_lowers_the_share_a_little() -> None:
    shares = {}
    for name in ("plain", "lff"):
        materials = make_materials()
        run(make(name), materials, 200, 0.006)
        shares[name] = spurious_share(materials.classifier)
    assert shares["plain"] > 0.3 and shares["lff"] < shares["plain"] - 0.04, shares


def test_pgd_takes_a_biased_network_on() -> None:
    biased = make_materials()
    assert train(make("generalised-cross-entropy"), biased) > 0.9
    assert abs(train(make("pgd"), make_materials(biased.classifier))) < 0.4


def test_kernel_whitening_lowers_the_share_if_it_is_let() -> None:
    """At the default strength the weights hardly leave 1, and nothing happens."""
    shares = [
        train(make("kernel-whitening", strength=strength), make_materials(), SHORT)
        for strength in (70.0, 0.01)
    ]
    assert shares[0] > 0.9 and shares[1] < 0.8, shares


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("group-dro", {"eta": 0.1}),
        ("learned-mixin", {}),
        ("self-debiasing", {"anneal_steps": 10}),
        ("lff", {}),
        ("kernel-whitening", {}),
        ("selective-mixup", {}),
    ],
)
def test_an_interrupted_criterion_goes_on_as_if_it_had_not_been(
    name: str, settings: dict[str, object]
) -> None:
    """Weights, criterion and optimizer are what a checkpoint holds; all else is made anew."""
    objective = make(name, **settings)
    assert isinstance(objective, SteppedObjective)
    whole = make_materials()
    order = make_order(objective, whole, 8)
    criterion, optimizer = begin(objective, whole)
    advance(criterion, optimizer, whole, order[:4])
    stored = (
        {key: value.clone() for key, value in whole.classifier.model.state_dict().items()},
        {key: value.clone() for key, value in criterion.state_dict().items()},
        optimizer.state_dict(),
    )
    again = make_materials()
    criterion_again, optimizer_again = begin(objective, again)
    again.classifier.model.load_state_dict(stored[0])
    criterion_again.load_state_dict(stored[1])
    optimizer_again.load_state_dict(stored[2])
    for each in ((criterion, optimizer, whole), (criterion_again, optimizer_again, again)):
        advance(*each, order[4:])
    for one, other in zip(
        whole.classifier.model.parameters(), again.classifier.model.parameters(), strict=True
    ):
        assert one.equal(other)


def begin(
    objective: SteppedObjective, materials: Materials
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    criterion = objective.criterion(materials)
    parameters = [*materials.classifier.model.parameters(), *criterion.parameters()]
    return criterion, torch.optim.SGD(parameters, 0.1)


def advance(
    criterion: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    materials: Materials,
    order: torch.Tensor,
) -> None:
    for items in order:
        optimizer.zero_grad()
        loss_of(criterion, materials, items).backward()  # pyright: ignore[reportArgumentType]
        optimizer.step()
