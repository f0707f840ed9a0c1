"""What intervening on two models showed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from circuits.compare.alignment.result import Alignment
from circuits.compare.causal.basis import StreamBasis
from circuits.compare.causal.necessity import Necessity
from circuits.compare.causal.origin import Deviations
from circuits.compare.causal.removal import Removal
from circuits.compare.causal.transplant import NodeTransplant
from circuits.compare.changes import NodeChange


@dataclass(frozen=True, eq=False)
class Interventions:
    """What intervening on the two models showed; None where it was not tried.

    Attributes:
        reason: Why nothing was tried; empty if something was.
        alignment: Which heads belong together, if that can be said.
        basis: Whether activations can be exchanged.
        changes: What became of matched nodes.
        diff_twins: By name of each twin, why it sets no margins in the diff; empty if it does.
        deviations: How differently each node of the student answers to its counterpart's inputs;
            None without a shared basis.
        removal: Of a set of the student's heads.
        necessity: Of the teacher's core heads.
        transplants: Of the teacher's nodes into the student.
        no_loss: Why there was nothing to restore; empty if there was a loss.
        chosen_on: Ids of the quads that chose.
        tested_on: Ids of the quads that tested.
        run_on: Ids of those of them on which a model was run again, in this order.
    """

    reason: str = ""
    alignment: Alignment | None = None
    basis: StreamBasis | None = None
    changes: tuple[NodeChange, ...] = ()
    diff_twins: Mapping[str, str] = field(default_factory=dict[str, str])
    deviations: Deviations | None = None
    removal: Removal | None = None
    necessity: Necessity | None = None
    transplants: tuple[NodeTransplant, ...] = ()
    no_loss: str = ""
    chosen_on: tuple[str, ...] = ()
    tested_on: tuple[str, ...] = ()
    run_on: tuple[str, ...] = ()

    @property
    def distances(self) -> dict[str, float]:
        """By node of the student, how differently it answers to its counterpart's inputs."""
        return {} if self.deviations is None else self.deviations.distances()
