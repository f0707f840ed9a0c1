"""Transplant: does a node of the teacher, put into the student, bring the debiasing back?

Only where the two share the basis of their streams (`basis`). What a head or an MLP of the student
writes is replaced, at all positions, by what a donor's node at that place writes on the same input,
and what that restores (`restoring`) is compared with donors that should bring nothing of the
teacher's mechanism:

    other example     the teacher's output on another example with the same answer, of the same
                      cell where there is one: it carries the label and nothing of this input
    class direction   the student's own output, moved along the teacher's difference of class means
                      until its component is the teacher's: a label as a number
    plain teacher     the same node of the teacher without debiasing, where given
    untrained         of a net with new weights, where given

What the student itself has restores nothing by definition. A node has *credit* only for what it
restores beyond the best control, by an interval above zero. Nodes whose output tells the label
along the class direction alone (AUC of at least .9 on the quads that test) are flagged. Whole
streams are not transplanted: at all positions, another example's brings as much by construction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from behavior.answers import QuadAnswers
from behavior.auc import auc
from behavior.estimates import Estimate
from behavior.examples import CELLS, LABEL_CELLS, Quad
from behavior.inputs import Input
from behavior.readout import Readout
from circuits.compare.causal.outputs import node_output, record_nodes
from circuits.compare.causal.partners import other_examples
from circuits.compare.causal.restoring import Restored, credit_beyond, share_restored
from patching.models.hooks import Edit
from patching.models.model import PatchableModel
from patching.models.nodes import Site

DECODABLE = 0.9
_IS_LABEL = np.array([cell in LABEL_CELLS for cell in CELLS])

Progress = Callable[[int, int], None]
Outputs = Float[Tensor, "row pos d_model"]


@dataclass(frozen=True, slots=True)
class NodeTransplant:
    """One node of the student with the output of its counterpart, and with every control.

    Attributes:
        student: Node of the student.
        teacher: Its counterpart.
        found: What the teacher's output restores.
        controls: Share that each control restores.
        credit: Share beyond the best control; null if there is no loss.
        label_auc: Of the label along the class direction of the teacher's output.
        margins: [donor, quad, cell] label minus foil, in logits, with the output of the teacher
            (first) and of each control, in the order of `controls`.
        along: [quad, cell] the teacher's output along the class direction.
    """

    student: str
    teacher: str
    found: Restored
    controls: Mapping[str, float]
    credit: Estimate
    label_auc: float
    margins: Float[np.ndarray, "donor quad cell"] | None = field(default=None, compare=False)
    along: Float[np.ndarray, "quad cell"] | None = field(default=None, compare=False)

    @property
    def has_credit(self) -> bool:
        """Whether the teacher's output brings more than every control."""
        return self.credit.low is not None and self.credit.low > 0

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {
            "student": self.student,
            "teacher": self.teacher,
            **self.found.to_json(),
            "controls": dict(self.controls),
            "credit": self.credit.to_json(),
            "label_auc": self.label_auc,
            "label_decodable": self.label_auc >= DECODABLE,
        }


@dataclass(frozen=True, slots=True)
class Transplanter:
    """Runs the student with outputs of others' nodes.

    Attributes:
        student: The model that receives.
        readout: From its classes to labels.
        donors: The teacher first; then plain teacher and untrained net, where there are such.
        choosing: Quads that the class direction is taken from.
        testing: Quads that everything is measured on.
    """

    student: PatchableModel
    readout: Readout
    donors: Mapping[str, PatchableModel]
    choosing: Sequence[Quad[Input]]
    testing: Sequence[Quad[Input]]

    def run(
        self,
        counterparts: Mapping[str, str],
        teacher: QuadAnswers,
        *,
        n_resamples: int = 2000,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[NodeTransplant]:
        """Every node in turn.

        Args:
            counterparts: Node of the teacher, by node of the student.
            teacher: The teacher's answers to the quads that test.
            n_resamples: Bootstrap resamples.
            seed: Of them, and of the other examples.
            progress: Called after each node.
        """
        whole = self._answers({})
        found: list[NodeTransplant] = []
        for done, (node, other) in enumerate(counterparts.items(), start=1):
            own = _outputs(self.student, node, self.testing)
            given = self._donated(own, other, seed)
            answers = {
                name: self._answers({self._site(node): _adding(output - own)})
                for name, output in given.items()
            }
            first, *controls = answers
            shares = {
                name: share_restored(teacher, whole, answers[name], n_resamples, seed).restored
                for name in controls
            }
            known = {name: each.value for name, each in shares.items() if each.value is not None}
            best = answers[max(known, key=lambda name: known[name])] if known else whole
            along = self._along(other)
            found.append(
                NodeTransplant(
                    student=node,
                    teacher=other,
                    found=share_restored(teacher, whole, answers[first], n_resamples, seed),
                    controls=known,
                    credit=credit_beyond(teacher, whole, answers[first], best, n_resamples, seed),
                    label_auc=auc(along[:, _IS_LABEL].ravel(), along[:, ~_IS_LABEL].ravel()),
                    margins=np.stack([answers[name].margins for name in (first, *known)]),
                    along=along,
                )
            )
            if progress is not None:
                progress(done, len(counterparts))
        return found

    def donor_outputs(self, name: str, node: str, quads: Sequence[Quad[Input]]) -> Outputs:
        """What a donor's node writes, cell by cell of each quad."""
        return _outputs(self.donors[name], node, quads)

    def _site(self, node: str) -> Site:
        site = self.student.site(node)
        return site if site.head is None else self.student.row(site).site("attn_out")

    def _donated(self, own: Outputs, node: str, seed: int) -> dict[str, Outputs]:
        first, *others = self.donors
        given = self.donor_outputs(first, node, self.testing)
        lengths = [len(row) for row in self.student.encode(_inputs(self.testing))]
        along = self._direction(node).to(own)
        return {
            first: given,
            "other example": given[other_examples(self.testing, lengths, seed)],
            "class direction": own + ((given - own) @ along)[..., None] * along,
            **{name: self.donor_outputs(name, node, self.testing) for name in others},
        }

    def _direction(self, node: str) -> Float[Tensor, " d_model"]:
        """Unit vector from foil to label, of the teacher's means over cells and positions."""
        outputs = self.donor_outputs(next(iter(self.donors)), node, self.choosing)
        mean = outputs.double().mean(dim=1)
        is_label = torch.tensor(_IS_LABEL).repeat(len(self.choosing))
        difference = mean[is_label].mean(dim=0) - mean[~is_label].mean(dim=0)
        return difference / difference.norm().clamp_min(torch.finfo(difference.dtype).tiny)

    def _along(self, node: str) -> Float[np.ndarray, "quad cell"]:
        outputs = self.donor_outputs(next(iter(self.donors)), node, self.testing)
        along = outputs.double().mean(dim=1) @ self._direction(node)
        return along.cpu().numpy().reshape(len(self.testing), len(CELLS))

    def _answers(self, edits: Mapping[Site, Edit]) -> QuadAnswers:
        batch = self.student.encoder.batch(self.student.encode(_inputs(self.testing)))
        with self.student.hooks.editing(edits):
            logits = self.student.forward(batch).cpu()
        cells = rearrange(
            self.readout.task_logits(logits), "(q c) label -> c q label", c=len(CELLS)
        )
        return QuadAnswers(
            dict(zip(CELLS, cells, strict=True)),
            self.readout.index([quad.label for quad in self.testing]),
            self.readout.index([quad.foil for quad in self.testing]),
            tuple(quad.id for quad in self.testing),
            tuple(quad.template for quad in self.testing),
        )


def _adding(change: Outputs) -> Edit:
    return lambda current: current + change


def _inputs(quads: Sequence[Quad[Input]]) -> list[Input]:
    return [quad.cell(cell) for quad in quads for cell in CELLS]


@torch.no_grad()
def _outputs(model: PatchableModel, node: str, quads: Sequence[Quad[Input]]) -> Outputs:
    batch = model.encoder.batch(model.encode(_inputs(quads)))
    return node_output(model, record_nodes(model, batch), node)
