"""What several comparisons have in common is run once.

The runs differ in the student alone, so the teacher's and the companions' answers, effects and
circuits depend on the same weights, inputs and settings, where every student reads the same quads.
A step whose fingerprints are those of a step of an earlier run takes its result from memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from circuits.compare.running.fingerprints import Fingerprints
from circuits.compare.running.steps import Steps

ResultT = TypeVar("ResultT")

Memory = dict[tuple[str, frozenset[tuple[str, str]]], object]
"""Results of steps, by the step's name and the fingerprints of all it depends on."""


@dataclass(frozen=True, slots=True)
class SharedSteps(Steps):
    """Steps of one run of several.

    Attributes:
        student: Folder of the run; files of stored steps begin with it.
        memory: Results of the runs before, and of this one.
    """

    student: str = ""
    memory: Memory = field(default_factory=lambda: Memory())

    def run(
        self, name: str, depends: Mapping[str, object], compute: Callable[[], ResultT]
    ) -> ResultT:
        """The result of a step, of an earlier run if it depends on the same things."""
        own = f"{self.student}: {name}"
        try:
            key = name, frozenset(self.fingerprints.of_all(depends).items())
        except TypeError:
            return Steps.run(self, own, depends, compute)
        if key not in self.memory:
            self.memory[key] = Steps.run(self, own, depends, compute)
        return cast(ResultT, self.memory[key])


def shared_steps(steps: Steps, student: str, memory: Memory) -> SharedSteps:
    """Steps for one student; digests of models are taken anew, so that no model is held."""
    return SharedSteps(
        folder=steps.folder,
        resume=steps.resume,
        say=steps.say,
        fingerprints=Fingerprints(),
        student=student,
        memory=memory,
    )
