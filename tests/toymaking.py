"""A toy with a strong shortcut, trained through the same criteria as the real networks.

Items have two numbers: the core (+-.3, a little noise, always right) and the shortcut (+-1, right
in 97 %). A network of one hidden layer finds the shortcut first, and mostly stays with it.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from behavior.examples import Example, TextInput
from behavior.tasks import load_task
from distillation.classifier import Classifier
from distillation.data import EncodedInputs, draw_order
from distillation.groups import number_groups
from distillation.models import word_tokenizer
from distillation.objectives import (
    ClosedForm,
    Criterion,
    Materials,
    Objective,
    Signals,
    SteppedObjective,
)

CLASSES = ("non-entailment", "entailment")
RHO = 0.97
CORE = 0.3
N_ITEMS = 2000
STEPS = 200
BATCH = 64


class ToyNetwork(PreTrainedModel):
    """Two numbers, one hidden layer, two logits."""

    config_class = PreTrainedConfig

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.hidden = nn.Linear(2, 16)
        self.classifier = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.classifier(self.hidden(x).tanh()))


def make_network(seed: int = 0) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        names = dict(enumerate(CLASSES))
        return Classifier(ToyNetwork(PreTrainedConfig(id2label=names)), word_tokenizer(["a"], 8))


def make_materials(
    classifier: Classifier | None = None, seed: int = 0, trust: float = RHO
) -> Materials:
    """Items, labels, groups, and a bias model that trusts the shortcut as far as it is right."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (N_ITEMS,), generator=rng)
    aligned = torch.rand(N_ITEMS, generator=rng) < RHO
    shortcut = torch.where(aligned, labels, 1 - labels)
    noise = 0.05 * torch.randn(N_ITEMS, generator=rng)
    x = torch.stack([CORE * (2 * labels - 1) + noise, 2.0 * shortcut - 1], dim=-1)
    cells = {(1, True): "A", (1, False): "N", (0, False): "C", (0, True): "L"}
    examples = tuple(
        Example(str(i), TextInput("a"), CLASSES[label], fits, cells[label, fits])
        for i, (label, fits) in enumerate(zip(labels.tolist(), aligned.tolist(), strict=True))
    )
    bias = torch.full((N_ITEMS, 2), 1 - trust)
    bias[torch.arange(N_ITEMS), shortcut] = trust
    return Materials(
        classifier=classifier or make_network(seed),
        inputs=EncodedInputs({"x": x}),
        signals=Signals(labels, None, bias.log(), number_groups(examples)),
        examples=examples,
        task=load_task("nli-overlap"),
        parents={},
        seed=seed,
    )


def run(
    objective: Objective, materials: Materials, steps: int = STEPS, learning_rate: float = 0.01
) -> Criterion | None:
    """Train the toy's network in place."""
    if isinstance(objective, ClosedForm):
        objective.fit(materials)
        return None
    assert isinstance(objective, SteppedObjective)
    criterion = objective.criterion(materials)
    model = materials.classifier.model.train()
    optimizer = torch.optim.Adam([*model.parameters(), *criterion.parameters()], learning_rate)
    for items in make_order(objective, materials, steps):
        optimizer.zero_grad()
        loss_of(criterion, materials, items).backward()
        optimizer.step()
    model.eval()
    return criterion


def make_order(objective: Objective, materials: Materials, steps: int) -> Tensor:
    """[step, place] items of each batch."""
    generator = torch.Generator().manual_seed(materials.seed)
    weights = objective.sampling_weights(materials)
    return draw_order(N_ITEMS, steps * BATCH, generator, weights).view(steps, BATCH)


def loss_of(criterion: Criterion, materials: Materials, items: Tensor) -> Tensor:
    model = materials.classifier.model
    return criterion(model, materials.inputs.take(items), materials.signals.take(items))


@torch.no_grad()
def spurious_share(classifier: Classifier) -> float:
    """s / R of the probabilities, over the four cells without noise."""
    cells = {"A": (CORE, 1.0), "N": (CORE, -1.0), "C": (-CORE, 1.0), "L": (-CORE, -1.0)}
    x = torch.tensor(list(cells.values()))
    values = classifier.logits({"x": x}).softmax(-1)[:, 1].tolist()
    p: Mapping[str, float] = dict(zip(cells, values, strict=True))
    return ((p["A"] - p["N"] + p["C"] - p["L"]) / 2) / (p["A"] - p["L"])
