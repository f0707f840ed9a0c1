"""Plants: real models whose circuit is known, because they were written (or trained) that way.

    plant = make_plant("cancelling", "gpt2", seed=3)
    plant.model                            a PatchableModel, with a tokenizer or image processor
    plant.pairs("core", n=64)              pairs for the core or the shortcut contrast
    plant.circuits["core"].edges           names as in `circuits.graph`

Every writer writes into a part of the stream of its own, and every reader sees the parts of its
chosen writers. There is a circuit for a core feature and one for a shortcut, with shared heads, and
decoys that write as loudly. `circuits.plants.changes` makes students that differ from a plant in
one known way. Kinds:

    wired        that, and nothing else: a test of plumbing, every method should be perfect
    even         with MLPs that answer to both classes alike but have a steep slope, which misleads
                 gradients
    cancelling   with pairs of heads that do nothing together and much alone, which misleads every
                 method that looks at one edge at a time; the truth is the smallest faithful circuit
    hard         cancelling, saturated, with real norms, and each reader sees everything a little
    trained      a small model that was trained through a mask, while all other edges carried
                 another example's values; no part of the stream belongs to anyone
"""

from circuits.plants.plant import Plant as Plant
from circuits.plants.plant import PlantedCircuit as PlantedCircuit
from circuits.plants.plant import make_plant as make_plant
from circuits.plants.recipe import FAMILIES as FAMILIES
from circuits.plants.recipe import KINDS as KINDS
from circuits.plants.recipe import Recipe as Recipe
from circuits.plants.trained import TRAINED_FAMILIES as TRAINED_FAMILIES
from circuits.plants.trained import TrainedPlant as TrainedPlant


def plantable(kind: str) -> tuple[str, ...]:
    """Families in which there are plants of a kind."""
    if kind == "trained":
        return TRAINED_FAMILIES
    return tuple(family for family in FAMILIES if (kind, family) != ("hard", "resnet"))
