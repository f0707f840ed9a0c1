"""Ablation: what each head does for the right answer, where there is nothing to patch from.

1. Labelled examples have no counterfactual twin, so a head's z is replaced by a value that says
   nothing of the input:

       mean       its mean over reference inputs; of quads, over the four cells of each
       zero       zero
       resample   that of another reference input of the same length, drawn at random

2. Each head is replaced in turn, at all positions, and what follows is run again (`suffix`).
3. effect = margin before - margin after, in logits, with

       margin = logit of the true label - logsumexp of the other labels' logits,

   the log-odds of the right answer; with two labels it is the usual logit difference.

A mean is taken position by position where all inputs have as many positions, and otherwise over
all positions that are no padding. Ablation does not tell through which cue a head helps: it shows
what the head does for the answer. Means rather than zeros because a head's mean is what later rows
are used to (Wang et al. 2022, https://arxiv.org/abs/2211.00593, section 2.2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import CELLS, Example, Quad
from behavior.inputs import Input
from behavior.readout import Collapse, Readout, read_labels
from behavior.resampling import Resamples
from patching.ablation_values import AblationKind, Replace, cell_means, replacement
from patching.interventions import Intervention, needed_sites, patched_logits, plan_nodes
from patching.models.cache import ActivationCache
from patching.models.encoders import EncodedInput
from patching.models.model import PatchableModel
from patching.models.nodes import Node
from patching.suffix import open_suffix
from patching.summary import EffectSummary, summarise

Progress = Callable[[int, int], None]
"""Called with the number of examples done, and of all examples."""


@dataclass(frozen=True, slots=True)
class AblationEffects:
    """Effect of ablating each head on each example; positive where the head helps the answer.

    Attributes:
        values: [example, node] fall of the margin, in logits.
        nodes: [node] names of heads, row by row.
        margins: [example] log-odds of the true label before, in logits.
        ids: [example] ids; a cell's is that of its quad and the cell.
        units: [example] unit of resampling: the example, or the quad.
        templates: [example] cluster of the unit; empty strings if none.
        kind: What z was replaced by.
        reference: The same in words.
        model: Name of the model.
        readout: How classes became labels; see `Readout.describe`.
        unit: Of values and margins.
    """

    values: Float[Tensor, "example node"]
    nodes: tuple[str, ...]
    margins: Float[Tensor, " example"]
    ids: tuple[str, ...]
    units: tuple[str, ...]
    templates: tuple[str, ...]
    kind: AblationKind
    reference: str
    model: str = ""
    readout: dict[str, object] = field(default_factory=dict[str, object])
    unit: str = "logits"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of heads."""
        return tuple(dict.fromkeys(Node.parse(name).row for name in self.nodes))

    @property
    def heads(self) -> Float[Tensor, "example row head"]:
        """Effects by row and head."""
        return rearrange(self.values, "n (row head) -> n row head", row=len(self.rows))

    def node(self, name: str) -> Float[Tensor, " example"]:
        """Effects of one head.

        Raises:
            DataError: If the model has no such head.
        """
        if name not in self.nodes:
            raise DataError(f"{name!r} was not ablated; there are: {', '.join(self.nodes)}.")
        return self.values[:, self.nodes.index(name)]

    def summary(
        self, resamples: Resamples | None = None, where: Sequence[int] | None = None
    ) -> EffectSummary:
        """Mean, interval, p and q of every head over units of resampling.

        Args:
            resamples: Shared with other statistics of a comparison; drawn here if missing.
            where: Positions of the examples that count; None means all.
        """
        chosen = range(len(self)) if where is None else where
        return summarise(
            self.values[list(chosen)],
            self.nodes,
            [self.units[i] for i in chosen],
            [self.templates[i] for i in chosen],
            resamples,
        )


def ablate_heads(
    model: PatchableModel,
    examples: Sequence[Example[Input]] | Sequence[Quad[Input]],
    kind: AblationKind = "mean",
    *,
    reference: Sequence[Example[Input]] | None = None,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    seed: int = 0,
    progress: Progress | None = None,
) -> AblationEffects:
    """Exact effect of ablating every attention head (its z, at all positions), in logits.

    Args:
        model: The model; plain hooks are used whatever its backend.
        examples: Labelled examples; or quads, whose four cells are ablated to their own mean.
        kind: What z is replaced by.
        reference: Inputs that means and resamples are taken from; the examples if None. Quads
            have no other than their cells.
        batch_size: Examples at once; None fits the processor's cache.
        readout: From classes to labels; by default all classes of the model, or the labels of the
            examples if these are other names.
        collapse: How several classes become one label, if there is no readout.
        seed: Of the resamples.
        progress: Called after each batch.

    Raises:
        DataError: If there are no examples, a label is not among the model's, the cells of a quad
            have different lengths, or an input has no partner of its length to be resampled from.
    """
    if kind not in get_args(AblationKind):
        raise DataError(f"Unknown ablation {kind!r}; expected 'mean', 'zero' or 'resample'.")
    if model.is_patched:
        raise DataError("Effects cannot be measured inside `with model.patch(...)`.")
    quads = [each for each in examples if isinstance(each, Quad)]
    if quads and reference is not None:
        raise DataError("Quads are ablated to their own cells. Leave reference out.")
    items = (
        [example for quad in quads for example in quad.examples()]
        if quads
        else cast("list[Example[Input]]", list(examples))
    )
    plan = plan_nodes(model, model.spec.heads)
    sites = [row.site("z") for row in model.modules.layers]
    rows = model.encode([item.input for item in items])
    if kind == "mean" and quads:
        replace, said = cell_means(sites), "mean of the four cells of each quad"
    else:
        replace, said = replacement(
            model, kind, rows, _encode(model, reference), sites, batch_size=batch_size, seed=seed
        )
    chosen = readout or _default_readout(model, items, collapse)
    ends = chosen.index([item.label for item in items])
    runs = _Runs(model, rows, ends, chosen, plan, len(CELLS) if quads else 1)
    values, margins = runs.measure(replace, batch_size, progress)
    return AblationEffects(
        values=values,
        nodes=model.spec.heads,
        margins=margins,
        ids=tuple(item.id for item in items),
        units=tuple(q.id for q in quads for _ in CELLS) or tuple(item.id for item in items),
        templates=tuple(item.template for item in items),
        kind=kind,
        reference=said,
        model=model.name,
        readout=chosen.describe(),
    )


def answer_margin(
    task_logits: Float[Tensor, "batch n_labels"], truth: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Log-odds of the true label against all others, in logits."""
    index = truth[:, None]
    others = task_logits.scatter(-1, index, -torch.inf).logsumexp(-1)
    return task_logits.gather(-1, index).squeeze(-1) - others


@dataclass(frozen=True, slots=True)
class _Runs:
    """The examples as they are run.

    Attributes:
        model: The model.
        rows: [example] encoded.
        truth: [example] position of the true label.
        readout: From classes to labels.
        plan: One intervention for each head.
        together: Consecutive examples that stay in one batch: the cells of a quad.
    """

    model: PatchableModel
    rows: Sequence[EncodedInput]
    truth: Int[Tensor, " example"]
    readout: Readout
    plan: Sequence[Intervention]
    together: int

    def measure(
        self, replace: Replace, batch_size: int | None, progress: Progress | None
    ) -> tuple[Float[Tensor, "example node"], Float[Tensor, " example"]]:
        """Effects and margins of all examples, in logits."""
        n, dtype = len(self.rows), self.model.dtype
        values, margins = torch.empty(n, len(self.plan), dtype=dtype), torch.empty(n, dtype=dtype)
        done = 0
        for chunk in self._chunks(batch_size):
            before, after = self._run(chunk, replace)
            margins[chunk], values[chunk] = before.cpu(), (before - after).T.cpu()
            done += len(chunk)
            if progress is not None:
                progress(done, n)
        return values, margins

    def _run(
        self, chunk: list[int], replace: Replace
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "node batch"]]:
        model = self.model
        batch = model.encoder.batch([self.rows[i] for i in chunk])
        with model.hooks.reading(needed_sites(model, self.plan), frames=True) as values:
            logits = model.forward(batch)
        recorded = ActivationCache(values, values.frames)
        source = replace(chunk, recorded)
        with open_suffix(model, batch, recorded) as suffix:
            patched = [patched_logits(suffix, source, one) for one in self.plan]
        return self._margins(logits, chunk), torch.stack(
            [self._margins(each, chunk) for each in patched]
        )

    def _margins(
        self, logits: Float[Tensor, "batch n_classes"], chunk: list[int]
    ) -> Float[Tensor, " batch"]:
        truth = self.truth[chunk].to(logits.device)
        return answer_margin(self.readout.task_logits(logits), truth)

    def _chunks(self, batch_size: int | None) -> list[list[int]]:
        """Batches of similar length; the cells of a quad follow one another.

        Raises:
            DataError: If the cells of a quad have different lengths.
        """
        size = self.together
        if size == 1:
            return self.model.chunks([len(row) for row in self.rows], batch_size)
        starts = range(0, len(self.rows), size)
        for start in starts:
            if len({len(row) for row in self.rows[start : start + size]}) > 1:
                raise DataError(
                    f"Quad {start // size} has cells of different lengths. Choose the aligned ones "
                    "with align_quads first."
                )
        fewer = None if batch_size is None else max(batch_size // size, 1)
        chunks = self.model.chunks([len(self.rows[start]) for start in starts], fewer)
        return [[size * quad + cell for quad in chunk for cell in range(size)] for chunk in chunks]


def _encode(
    model: PatchableModel, reference: Sequence[Example[Input]] | None
) -> Sequence[EncodedInput] | None:
    return None if reference is None else model.encode([each.input for each in reference])


def _default_readout(
    model: PatchableModel, examples: Sequence[Example[Input]], collapse: Collapse
) -> Readout:
    """All classes of the model; or, if the examples name others, these."""
    classes = model.spec.classes
    names = {example.label.casefold(): example.label for example in examples}
    if set(names) <= {name.casefold() for name in classes}:
        return read_labels(classes, classes, collapse)
    if len(names) < 2:
        raise DataError(
            f"All examples have the label {examples[0].label!r}, so there is nothing to tell it "
            "from. Give a readout, or examples of two labels."
        )
    return read_labels(classes, tuple(names.values()), collapse)
