"""A classifier whose activations can be read while it runs, and how its rows meet another's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import RecipeError
from distillation.classifier import Classifier
from distillation.data import Batch
from patching.models.binding import bind
from patching.models.families import find_architecture
from patching.models.hooks import SiteHooks
from patching.models.nodes import Site, own_stack
from patching.models.rows import LayerModules

Rows = tuple[LayerModules, ...]
RowPairs = tuple[tuple[LayerModules, LayerModules], ...]
"""A row of the student with the row of the teacher that it is compared with."""


@dataclass(frozen=True, eq=False)
class OpenClassifier:
    """A classifier whose activations can be read while it runs.

    Attributes:
        classifier: The network.
        rows: Its rows of heads, in the order in which they run.
        hooks: Read its sites.
        is_convolutional: Whether its rows are the blocks of a ResNet.
    """

    classifier: Classifier
    rows: Rows
    hooks: SiteHooks
    is_convolutional: bool

    @classmethod
    def of(cls, classifier: Classifier) -> "OpenClassifier":
        """Open a network of a family that `patching` knows.

        Raises:
            UnsupportedModelError: If the family is unknown.
        """
        model = classifier.model
        architecture = find_architecture(model.config.model_type, [type(model).__name__])
        modules = bind(architecture, model)
        post_norm = architecture.layout == "post-norm"
        hooks = SiteHooks(model, modules, architecture.family, post_norm=post_norm)
        return cls(classifier, modules.layers, hooks, architecture.layout == "convolution")

    @property
    def layers(self) -> Rows:
        """The last row of each layer, where the stream leaves it."""
        last = {(own_stack(row.stack), row.index): row for row in self.rows}
        return tuple(last.values())

    @property
    def mlp_rows(self) -> Rows:
        """The rows that an MLP follows."""
        return tuple(row for row in self.rows if row.mlp is not None)

    def run(
        self, batch: Batch, sites: Iterable[Site], model: nn.Module | None = None
    ) -> tuple[Float[Tensor, "batch n_classes"], Mapping[Site, Tensor]]:
        """Logits and whole sites of one batch; `model` is the network wrapped for training."""
        with self.hooks.reading(sites) as values:
            logits = self.classifier.logits(batch, model)
        return logits, values


def pair_rows(
    student: OpenClassifier,
    teacher: OpenClassifier,
    ours: Rows,
    theirs: Rows,
    layers: Sequence[int] | None,
) -> RowPairs:
    """Each row of the student with one of the teacher.

    Without `layers`, layer i of n is compared with the teacher's layer (i + 1) N / n - 1, rounded:
    last with last, and where N is a multiple of n that is TinyBERT's map
    (https://arxiv.org/abs/1909.10351). Stacks and stages are mapped each for itself. `layers`
    names the teacher's layer for each of ours, in every stack; the layers of a ResNet are its
    blocks, counted through all stages.

    Raises:
        RecipeError: If a layer is not there, or the networks have other stacks.
    """
    if student.is_convolutional and layers is not None:
        return _pairs(ours, theirs, layers)
    stacks = dict.fromkeys(row.stack for row in ours)
    found: list[tuple[LayerModules, LayerModules]] = []
    for stack in stacks:
        mine = tuple(row for row in ours if row.stack == stack)
        other = tuple(row for row in theirs if row.stack == stack)
        if not other:
            had = ", ".join(dict.fromkeys(row.name for row in theirs))
            raise RecipeError(
                f"The student has {mine[0].name}, but the teacher has only {had}. Terms compare "
                "networks of one kind; leave them out, or choose another teacher."
            )
        found += _pairs(mine, other, layers or even_layers(len(mine), len(other)))
    return tuple(found)


def even_layers(n_ours: int, n_theirs: int) -> tuple[int, ...]:
    """A layer of theirs for each of ours, evenly and last on last."""
    return tuple(max(round((i + 1) * n_theirs / n_ours) - 1, 0) for i in range(n_ours))


def _pairs(ours: Rows, theirs: Rows, layers: Sequence[int]) -> RowPairs:
    absent = [layer for layer in layers if not 0 <= layer < len(theirs)]
    if absent or len(layers) != len(ours):
        raise RecipeError(
            f"A term compares with the teacher's layers {list(layers)}, but the student has "
            f"{len(ours)} layers and the teacher {len(theirs)}. Name one existing layer of the "
            "teacher for each of the student's in the term's layers."
        )
    return tuple((mine, theirs[layer]) for mine, layer in zip(ours, layers, strict=True))
