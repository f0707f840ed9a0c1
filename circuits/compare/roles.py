"""Which model plays which role, and opening each of them once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from behavior.errors import CheckpointError, DataError
from behavior.progress import Progress
from behavior.readout import Readout, read_labels
from circuits.compare.config import COMPANIONS, PAIR, ROLES, ComparisonConfig, Role
from patching import PatchableModel, load_checkpoint
from patching.models.checkpoints import Checkpoint, resolve_checkpoint

Models = dict[Role, PatchableModel]
Opened = dict[tuple[str, str], PatchableModel]
"""Models by where they lie, or by their weights, and by what they are asked with."""


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """A checkpoint in its role.

    Attributes:
        reference: As it was given, or as another entry names it.
        checkpoint: What that stands for.
    """

    reference: str
    checkpoint: Checkpoint


def resolve_roles(config: ComparisonConfig) -> dict[Role, RoleEntry]:
    """Teacher, student and the companions that were given or that their entries name.

    Raises:
        CheckpointError: If a reference stands for no model.
    """
    source = checkpoint_file(config)
    found = {role: _resolve(str(config.checkpoint(role)), source) for role in PAIR}
    named: dict[Role, str] = {
        **(found["teacher"].checkpoint.companions or {}),
        **(found["student"].checkpoint.companions or {}),
    }
    for role in COMPANIONS:
        reference = config.checkpoint(role) or named.get(role)
        if reference is not None:
            found[role] = _resolve(reference, source)
    return {role: found[role] for role in ROLES if role in found}


def load_roles(
    roles: Mapping[Role, RoleEntry],
    config: ComparisonConfig,
    progress: Progress,
    opened: Opened | None = None,
) -> Models:
    """Open every model; models with the same weights are one object, whatever their names.

    So that no difference between equal models can come from anywhere. Models that read another
    prompt, or answer with other words, are not equal.

    Args:
        roles: By `resolve_roles`.
        config: Of the comparison.
        progress: Told about each model.
        opened: Models that are open already; those opened now are added.

    Raises:
        CheckpointError: If a model cannot be opened.
    """
    known: Opened = {} if opened is None else opened
    models: Models = {}
    for number, (role, entry) in enumerate(roles.items()):
        progress.step(number, len(roles))
        models[role] = open_entry(entry, config, known)
    return models


def open_entry(entry: RoleEntry, config: ComparisonConfig, opened: Opened) -> PatchableModel:
    """Open one model, or take it from those that are open.

    Raises:
        CheckpointError: If it cannot be opened.
    """
    asked = _asking(entry.checkpoint)
    key = entry.checkpoint.location, asked
    if key not in opened:
        model = load_checkpoint(
            entry.reference,
            checkpoints=checkpoint_file(config),
            device=config.device,
            dtype=config.dtype,
            backend=config.backend,
            check=config.check,
        )
        opened[key] = opened.setdefault((model.digest, asked), model)
    return opened[key]


def resolve_reference(reference: str, config: ComparisonConfig) -> RoleEntry:
    """What a reference stands for.

    Raises:
        CheckpointError: If it stands for no model.
    """
    return _resolve(reference, checkpoint_file(config))


def read_role_labels(
    models: Mapping[Role, PatchableModel], labels: tuple[str, ...]
) -> dict[Role, Readout]:
    """The task's labels among the classes of every model.

    Raises:
        DataError: If a model lacks a label; the message names the model and its role.
    """
    readouts: dict[Role, Readout] = {}
    for role, model in models.items():
        try:
            readouts[role] = read_labels(model.spec.classes, labels)
        except DataError as error:
            raise DataError(f"{role.replace('_', ' ')} {model.name!r}: {error}") from None
    return readouts


def require_finite(model: PatchableModel, logits: torch.Tensor) -> torch.Tensor:
    """The logits, if all are numbers.

    Raises:
        CheckpointError: If one is NaN or infinite.
    """
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            f"The model {model.name!r} answers with NaN or infinite logits. Its weights are "
            "broken: use another checkpoint."
        )
    return logits


def checkpoint_file(config: ComparisonConfig) -> Path | None:
    """The checkpoints.yaml that was asked for."""
    return None if config.checkpoints is None else Path(config.checkpoints).expanduser()


def _asking(checkpoint: Checkpoint) -> str:
    """What a checkpoint is asked with, beside its weights."""
    return repr((checkpoint.prompt, checkpoint.label_words))


def _resolve(reference: str, source: Path | None) -> RoleEntry:
    return RoleEntry(reference, resolve_checkpoint(reference, source))
