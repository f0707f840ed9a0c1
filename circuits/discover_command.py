"""Runs one discovery for the command line: progress, exit codes, and nothing left behind."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavior.command_line import DONE, guarded, quieten
from behavior.errors import DataError
from behavior.progress import Progress, choose_progress
from circuits.discover_options import DiscoverOptions, read_discover_options

if TYPE_CHECKING:
    from behavior.examples import Pairs
    from circuits.circuit import Circuit
    from circuits.faithfulness_result import Faithfulness
    from patching.models.model import PatchableModel

PROGRAM = "circuits.discover"
CIRCUIT, SCORES, FAITHFULNESS = "circuit.json", "scores.safetensors", "faithfulness.json"

_FEWEST_UNITS = 4


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Read the options, discover, store, and say in a few lines what was found."""
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", PROGRAM, *given])
    return guarded(lambda: _run(read_discover_options(given), command))


def _run(options: DiscoverOptions, command: str) -> int:
    quieten()
    progress = choose_progress(options.quiet)
    # Not before the folder stands: torch takes seconds, a folder that cannot be is seen at once.
    from behavior.staging import staged_folder  # noqa: PLC0415

    try:
        with staged_folder(options.folder, options.overwrite, (CIRCUIT, "a circuit")) as stage:
            circuit, measured = _discover(options, stage, progress, command)
    finally:
        progress.close()
    _say(options, circuit, measured)
    return DONE


def _discover(
    options: DiscoverOptions, stage: Path, progress: Progress, command: str
) -> "tuple[Circuit, Faithfulness]":
    progress.stage("import libraries")
    from transformers.utils import logging  # noqa: PLC0415  (slow, as is all that follows)

    from circuits.discovery import method_of  # noqa: PLC0415
    from circuits.discovery.edge_runs import EdgeRunner  # noqa: PLC0415
    from circuits.discovery.search import Size, choose_circuit  # noqa: PLC0415
    from circuits.faithfulness import faithfulness  # noqa: PLC0415

    logging.disable_progress_bar()
    named = {"steps": options.steps, "attention": options.attention}
    extra: dict[str, Any] = {name: given for name, given in named.items() if given is not None}
    score = method_of(options.method, extra)
    progress.stage("open the model")
    model, pairs = _open(options)
    choosing, testing = _split(pairs, options.seed)
    progress.ready()
    progress.stage(f"score edges ({options.method})")
    shared: dict[str, Any] = {"batch_size": options.batch_size}
    scores = score(model, choosing, options.direction, progress=progress.step, **shared, **extra)
    progress.stage("choose edges")
    runner = EdgeRunner(model, choosing, options.direction, **shared)
    size = Size(options.size, options.percent)
    circuit = choose_circuit(scores, runner, size, options.select, options.by, command=command)
    progress.stage("measure faithfulness")
    measured = faithfulness(
        model,
        scores,
        testing,
        by=options.by,
        circuit=circuit,
        frozen=options.frozen,
        seed=options.seed,
        progress=progress.step,
        **shared,
    )
    progress.stage("store")
    circuit.save(stage / CIRCUIT)
    scores.save(stage / SCORES)
    measured.save(stage / FAITHFULNESS)
    return circuit, measured


def _open(options: DiscoverOptions) -> "tuple[PatchableModel, Pairs[Any]]":
    from behavior.tasks import load_task, open_examples  # noqa: PLC0415
    from patching import load_checkpoint  # noqa: PLC0415
    from patching.alignment import align_pairs  # noqa: PLC0415
    from patching.models.checkpoints import resolve_checkpoint  # noqa: PLC0415

    source = None if options.checkpoints is None else Path(options.checkpoints).expanduser()
    name = options.task or resolve_checkpoint(options.model, source).task
    if options.examples is not None:
        path = Path(options.examples).expanduser()
        task = load_task(options.task, path=path) if options.task else open_examples(path)
    elif name is None:
        raise DataError(
            f"The checkpoint {options.model!r} names no task, so it is not clear what to ask it. "
            "Give --task (such as nli-overlap) or --examples FILE."
        )
    else:
        task = load_task(name)
    there = task.n_pairs(options.contrast)
    if there == 0:
        raise DataError(
            f"{task.name!r} has no pairs of the {options.contrast} contrast. Give another "
            "--contrast, or quads, which have both."
        )
    n = options.n_pairs if there is None else min(options.n_pairs, there)
    model = load_checkpoint(
        options.model,
        checkpoints=source,
        device=options.device,
        dtype=options.dtype,
        check=options.check,
    )
    pairs, _ = align_pairs(model, task.pairs(options.contrast, n, options.seed))
    return model, pairs


def _split(pairs: "Pairs[Any]", seed: int) -> "tuple[Pairs[Any], Pairs[Any]]":
    from behavior.resampling import split_units  # noqa: PLC0415

    n = len(set(pairs.units))
    if n < _FEWEST_UNITS:
        raise DataError(
            f"There are {n} quads (or pairs) that the model can read; at least {_FEWEST_UNITS} are "
            "needed, half to choose edges and half to test them."
        )
    halves = (frozenset(half) for half in split_units(pairs.units, pairs.templates, seed))
    chosen, tested = (
        pairs.take(i for i, unit in enumerate(pairs.units) if unit in half) for half in halves
    )
    return chosen, tested


def _say(options: DiscoverOptions, circuit: "Circuit", measured: "Faithfulness") -> None:
    if options.json:
        said = {
            "folder": str(options.folder),
            "edges": len(circuit),
            "of": circuit.n_edges,
            "faithfulness": None if measured.circuit is None else measured.circuit.to_json(),
            "cmd": measured.cmd.to_json(),
            "random_cmd": measured.random_cmd.to_json(),
        }
        sys.stdout.write(json.dumps(said, allow_nan=False) + "\n")
    elif not options.quiet:
        sys.stdout.write("\n".join(_lines(options, circuit, measured)) + "\n")


def _lines(
    options: DiscoverOptions, circuit: "Circuit", measured: "Faithfulness"
) -> tuple[str, ...]:
    from circuits.faithfulness_result import said  # noqa: PLC0415

    point = measured.circuit
    assert point is not None, "the command measures its circuit"
    return (
        f"{options.contrast} circuit of {circuit.model}: {len(circuit)} of {circuit.n_edges} edges",
        f"Faithfulness {said(point.faithfulness)}, all other edges {said(point.complement)}, as "
        f"many random edges {said(point.random)}",
        f"CMD {said(measured.cmd)}, of random edges {said(measured.random_cmd)}",
        *_frozen_lines(measured),
        f"Measured on {len(measured.tested_units)} units that did not choose it.",
        f"Written to {options.folder}",
    )


def _frozen_lines(measured: "Faithfulness") -> tuple[str, ...]:
    from circuits.faithfulness_result import said  # noqa: PLC0415

    point = measured.circuit
    if point is None or point.frozen is None:
        return ()
    curve = ", ".join(
        f"{each.percent:.3g}% {said(each.frozen)}" for each in measured.points if each.frozen
    )
    return (
        f"With gates frozen, a diagnostic and not a result: {said(point.frozen)}; of the strongest "
        f"{curve}",
    )
