"""What intervening on two models showed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from circuits.compare.alignment.result import Alignment
from circuits.compare.causal.basis import StreamBasis
from circuits.compare.causal.necessity import Necessity
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
        distances: By node of the student, how differently it answers to its counterpart's inputs.
        removal: Of a set of the student's heads.
        necessity: Of the teacher's core heads.
        transplants: Of the teacher's nodes into the student.
        no_loss: Why there was nothing to restore; empty if there was a loss.
        chosen_on: Ids of the quads that chose.
        tested_on: Ids of the quads that tested.
    """

    reason: str = ""
    alignment: Alignment | None = None
    basis: StreamBasis | None = None
    changes: tuple[NodeChange, ...] = ()
    distances: Mapping[str, float] = field(default_factory=dict[str, float])
    removal: Removal | None = None
    necessity: Necessity | None = None
    transplants: tuple[NodeTransplant, ...] = ()
    no_loss: str = ""
    chosen_on: tuple[str, ...] = ()
    tested_on: tuple[str, ...] = ()
