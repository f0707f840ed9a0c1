"""The comparison of `python -m probes.compare` from Python: nothing is written."""

from pathlib import Path

from behavior.progress import Silent
from probes.compare.measuring import Findings, Progress, measure
from probes.compare.opening import make_ready
from probes.compare.options import Options


def compare_representations(
    teacher: str | Path,
    student: str | Path,
    *,
    twin: str | Path | None = None,
    task: str | None = None,
    examples: str | Path | None = None,
    checkpoints: str | Path | None = None,
    n_quads: int = 600,
    seed: int = 0,
    device: str = "cpu",
    batch_size: int | None = None,
    check: bool = True,
    progress: Progress | None = None,
) -> Findings:
    """What is represented, used, similar and attended to in two models; see `docs/probes.md`.

    `probes.figures` draws what comes back.

    Args:
        teacher: Name in checkpoints.yaml, local folder or hub id.
        student: The same.
        twin: The student trained again with another seed, the floor of similarities.
        task: Name for `behavior.load_task`; by default the one that the teacher names.
        examples: File of quads to read instead.
        checkpoints: Path of a checkpoints.yaml; by default it is looked for in the usual places.
        n_quads: At most so many.
        seed: Of the quads, folds, halves, random maps and resamples.
        device: Such as `cpu`, `cuda`.
        batch_size: Inputs in one forward; None lets the engine choose.
        check: Whether models prove on load that their architecture is declared rightly.
        progress: Told about parts and steps.

    Raises:
        CircuitsError: If a model cannot be opened, or there are no quads that both see aligned.
    """
    options = Options(
        str(teacher),
        str(student),
        twin=_text(twin),
        task=task,
        examples=_text(examples),
        checkpoints=_text(checkpoints),
        n_quads=n_quads,
        seed=seed,
        device=device,
        batch_size=batch_size,
        check=check,
    )
    return measure(make_ready(options), progress or Silent(), seed, batch_size)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
