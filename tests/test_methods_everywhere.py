"""Every debiasing method takes steps in every family, and goes on as if it had not been stopped."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toymaking import loss_of

from distillation.data import draw_order
from distillation.objectives import OBJECTIVES, Criterion, Materials, SteppedObjective
from distillation.prepare import prepare
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
WORDS = ["data.n=120", "model.n_heads=2", "model.d_model=16", "model.n_layers=1"]
IMAGES = "data.options={rho: 0.8}"
NETWORKS = {
    "bert": ("teacher-plain", [*WORDS, "data.options={rho: 0.8}"]),
    "t5-words": ("t5-teacher-plain", [*WORDS, "data.options={rho: 0.8}"]),
    "t5-classifier": (
        "t5-teacher-plain",
        [*WORDS, "data.options={rho: 0.8}", "model.head=classifier"],
    ),
    "vit": ("vit-teacher-plain", [*WORDS, IMAGES]),
    "resnet": (
        "resnet-teacher-plain",
        ["data.n=120", "model.widths=[4, 4]", "model.depths=[1, 1]", "model.stem_width=4", IMAGES],
    ),
}
METHODS = sorted(
    name
    for name, kind in OBJECTIVES.items()
    if issubclass(kind, SteppedObjective) and name != "logit-distillation"
)
SETTINGS: dict[str, dict[str, object]] = {
    "selective-mixup": {"within_label": 1.0},
    "learned-mixin": {"entropy": 0.03},
    "group-dro": {"adjustment": 1.0},
}
Run = tuple[Materials, Criterion, torch.optim.Optimizer]


@pytest.fixture(scope="module", params=NETWORKS)
def materials(request: pytest.FixtureRequest) -> Materials:
    """A tiny fresh network with made-up answers of a bias model and a teacher."""
    name, settings = NETWORKS[request.param]
    found = prepare(load_recipe(RECIPES / f"{name}.yaml", settings), 0, {}).materials
    rng = torch.Generator().manual_seed(0)
    shape = len(found.examples), len(found.classifier.classes)
    bias, teacher = (torch.randn(shape, generator=rng) for _ in range(2))
    signals = replace(found.signals, bias=bias.log_softmax(-1), teacher=teacher)
    assert signals.groups is not None
    return replace(found, signals=signals)


def fresh(objective: SteppedObjective, materials: Materials) -> Run:
    """A copy of the network with a new criterion."""
    classifier = materials.classifier
    copied = replace(classifier, model=deepcopy(classifier.model).train())
    own = replace(materials, classifier=copied)
    torch.manual_seed(0)
    criterion = objective.criterion(own).train()
    weights = [*copied.model.parameters(), *criterion.parameters()]
    return own, criterion, torch.optim.AdamW(weights, lr=1e-3)


def step(run: Run, items: Tensor) -> Tensor:
    materials, criterion, optimizer = run
    loss = loss_of(criterion, materials, items)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def states(run: Run) -> list[dict[str, Tensor]]:
    materials, criterion, _ = run
    return [deepcopy(materials.classifier.model.state_dict()), deepcopy(criterion.state_dict())]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_steps_and_goes_on_from_its_state(name: str, materials: Materials) -> None:
    objective = OBJECTIVES[name](**SETTINGS.get(name, {}))
    assert isinstance(objective, SteppedObjective)
    weights = objective.sampling_weights(materials)
    assert weights is None or (weights.isfinite().all() and (weights >= 0).all())
    order = draw_order(120, 32, torch.Generator().manual_seed(0), weights).view(2, 16)

    whole = fresh(objective, materials)
    before = states(whole)
    assert step(whole, order[0]).isfinite()
    middle, memory = states(whole), deepcopy(whole[2].state_dict())
    assert step(whole, order[1]).isfinite()
    end = states(whole)
    assert any(not end[0][key].equal(before[0][key]) for key in end[0])

    resumed = fresh(objective, materials)
    resumed[0].classifier.model.load_state_dict(middle[0])
    resumed[1].load_state_dict(middle[1])
    resumed[2].load_state_dict(memory)
    step(resumed, order[1])
    torch.testing.assert_close(states(resumed), end, rtol=0, atol=0, equal_nan=True)
