"""LoRA adapters with random weights, for tests."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from modelmaking import make_bert
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


def adapt(
    hf: PreTrainedModel,
    folder: Path,
    base: str,
    *,
    seed: int = 0,
    kind: type[peft.PeftConfig] = peft.LoraConfig,
    **options: Any,
) -> peft.PeftModel:
    """An adapter with random weights, saved; and the model that peft makes of it."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(hf, kind(**{"r": 2, **options}))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and "base_layer" not in name:
                weight.add_(0.5 * torch.randn_like(weight))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    change_adapter(folder, base_model_name_or_path=base)
    return model.eval()


def change_adapter(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def open_hf(name: str, folder: Path, **options: Any) -> PreTrainedModel:
    return getattr(transformers, name).from_pretrained(folder, **options).double()


def reweigh_adapter(
    folder: Path,
    new: Callable[[str, torch.Tensor], torch.Tensor | None],
    rename: Callable[[str], str] = str,
) -> None:
    file = folder / "adapter_model.safetensors"
    weights = {name: new(name, weight) for name, weight in load_file(file).items()}
    kept = {rename(name): weight for name, weight in weights.items() if weight is not None}
    save_file(kept, file, metadata={"format": "pt"})


def make_adapter(home: Path) -> Path:
    """An adapter beside its base, a small BERT, which it names relative to itself."""
    base, folder = make_bert(home / "base", n_layers=2), home / "adapter"
    hf = open_hf("BertForSequenceClassification", base)
    adapt(hf, folder, "../base", target_modules=["query", "value"], task_type="SEQ_CLS")
    return folder


def copy_adapter(adapter: Path, home: Path) -> Path:
    """Base and adapter of one's own, to be spoiled."""
    shutil.copytree(adapter.parent / "base", home / "base")
    return shutil.copytree(adapter, home / "adapter")
