"""What patching should give: by plain Hugging Face, and by one full forward for each node."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    T5ForConditionalGeneration,
    ViTImageProcessorPil,
)

from behavior.examples import ImageInput, Input, Pairs
from behavior.readout import margin, read_labels
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.models.nodes import Site

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")


def plain_logits(folder: Path, inputs: Sequence[Input]) -> Tensor:
    """Hugging Face alone, one input at a time; of a generator, of the words for the classes."""
    hf = plain_model(folder)
    with torch.no_grad():
        rows = [plain_arguments(folder, one) for one in inputs]
        if not isinstance(hf, T5ForConditionalGeneration):
            return torch.cat([hf(**row).logits for row in rows])
        start = torch.tensor([[hf.config.decoder_start_token_id]])
        steps = [hf(**row, decoder_input_ids=start).logits[:, 0] for row in rows]
    return torch.cat(steps)[:, class_words(folder, hf)]


def plain_model(folder: Path) -> Any:
    config: Any = AutoConfig.from_pretrained(folder)
    model_class: Any = getattr(transformers, config.architectures[0])
    return model_class.from_pretrained(folder, dtype=torch.float64).eval()


def plain_arguments(folder: Path, given: Input) -> dict[str, Tensor]:
    if isinstance(given, ImageInput):
        processor = ViTImageProcessorPil.from_pretrained(folder)
        values = processor(images=given.pixels(), return_tensors="pt")["pixel_values"]
        return {"pixel_values": values.double()}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return dict(tokenizer(given.text, given.hypothesis, return_tensors="pt"))


def class_words(folder: Path, hf: Any) -> list[int]:
    """Token of the name of each class."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = [hf.config.id2label[i] for i in range(len(hf.config.id2label))]
    return tokenizer.convert_tokens_to_ids(names)


def margins(model: PatchableModel, pairs: Pairs[Any], side: str) -> Tensor:
    readout = read_labels(model.spec.classes, ("entailment", "non-entailment"))
    logits = readout.task_logits(model.logits(getattr(pairs, side)))
    return margin(logits, readout.index(pairs.labels), readout.index(pairs.foils))


def naive_effects(
    model: PatchableModel,
    pairs: Pairs[Any],
    moved: Iterable[str | Sequence[str | Site]],
    direction: Direction,
) -> list[Tensor]:
    """Effects of nodes, or of several sites at once, through the public context manager."""
    into, source = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    groups = [[one] if isinstance(one, str) else list(one) for one in moved]
    sites = [site for group in groups for site in group]
    _, cache = model.run_with_cache(getattr(pairs, source), sites)
    before = margins(model, pairs, into)
    effects: list[Tensor] = []
    for group in groups:
        with model.patch({site: cache[site] for site in group}):
            after = margins(model, pairs, into)
        effects.append(before - after if direction == "noise" else after - before)
    return effects
