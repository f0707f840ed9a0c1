"""Models whose top was trained on fully biased data over a trunk that still holds the core.

1. The trunk: a debiased image model goes on training to answer by the digit in all four cells, and
   in addition to say the colour from its first token after the second of three layers. Debiased
   models of this size throw the colour away, and over such a trunk no top can become biased.
2. The top: last layer, final norm and classifier get new weights and are trained on data in which
   the colour always goes with the digit (rho = 1); the trunk stays as it is.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from behavior.examples import CELLS
from behavior.inputs import ImageInput
from behavior.tasks import load_task
from circuits.compare.untrained import untrained_like
from patching import PatchableModel

TRUNK_STEPS, TOP_STEPS = 200, 100
TRUNK_RATE, TOP_RATE = 1e-3, 2e-3
N_QUADS, N_EXAMPLES = 600, 4000
BATCH, WARM_UP = 64, 20
TRUNK_LAYERS = 2


def plant_late(teacher: PatchableModel, seed: int = 0) -> PatchableModel:
    """A model that answers by the colour where it can, and still holds the digit."""
    return biased_top(trunk_of_both(teacher, seed), seed)


def trunk_of_both(teacher: PatchableModel, seed: int) -> PatchableModel:
    """The teacher, taught to hold digit and colour in its lower layers."""
    hf = deepcopy(teacher.hf)
    quads = load_task("digits").quads(N_QUADS, 9000 + seed)
    places = {name: i for i, name in enumerate(teacher.spec.classes)}
    images = pixels(teacher, [quad.cell(cell) for quad in quads for cell in CELLS])
    digit = torch.tensor([places[quad.truth(cell)] for quad in quads for cell in CELLS])
    colour = torch.tensor(
        [places[quad.label if cell in "AC" else quad.foil] for quad in quads for cell in CELLS]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = nn.Linear(teacher.spec.d_model, len(places))

    def loss(rows: Int[Tensor, " batch"]) -> Tensor:
        found = hf(pixel_values=images[rows], output_hidden_states=True)
        seen = reader(found.hidden_states[TRUNK_LAYERS][:, 0])
        return cross_entropy(found.logits, digit[rows]) + cross_entropy(seen, colour[rows])

    fit([*hf.parameters(), *reader.parameters()], loss, len(images), TRUNK_STEPS, TRUNK_RATE, seed)
    return PatchableModel(hf, teacher.processor, teacher.architecture, "trunk")


def biased_top(trunk: PatchableModel, seed: int) -> PatchableModel:
    """The same with a new top that has seen nothing but fully biased data."""
    hf = deepcopy(trunk.hf)
    fresh = untrained_like(trunk, seed).hf.state_dict()
    top: list[nn.Parameter] = []
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if is_top(name):
                parameter.copy_(fresh[name])
                top.append(parameter)
    examples = list(load_task("digits", rho=1.0).examples("train", N_EXAMPLES, seed))
    images = pixels(trunk, [example.input for example in examples])
    label = torch.tensor([trunk.spec.classes.index(example.label) for example in examples])

    def loss(rows: Int[Tensor, " batch"]) -> Tensor:
        return cross_entropy(hf(pixel_values=images[rows]).logits, label[rows])

    fit(top, loss, len(images), TOP_STEPS, TOP_RATE, seed)
    return PatchableModel(hf, trunk.processor, trunk.architecture, "late plant")


def is_top(name: str) -> bool:
    """Whether a parameter belongs to the last layer, the final norm or the classifier."""
    return f".{TRUNK_LAYERS}." in name or name.startswith(("vit.layernorm", "classifier"))


def pixels(model: PatchableModel, images: list[ImageInput]) -> Float[Tensor, "image c h w"]:
    given = [image.pixels() for image in images]
    processor = model.processor
    return processor(given, input_data_format="channels_last", return_tensors="pt")["pixel_values"]


def fit(
    parameters: list[nn.Parameter],
    loss: Callable[[Int[Tensor, " batch"]], Tensor],
    n: int,
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """AdamW with a short warm-up and a linear fall."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        value = loss(torch.randint(n, (BATCH,), generator=generator))
        gradients = torch.autograd.grad(value, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
