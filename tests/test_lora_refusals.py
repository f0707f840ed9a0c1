"""LoRA adapters that cannot be merged say why, in one line."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loramaking import adapt, change_adapter, copy_adapter, make_adapter, open_hf, reweigh_adapter
from modelmaking import make_bert
from transformers import BertModel

from behavior.errors import CheckpointError, CircuitsError, UnsupportedModelError
from patching.models.loading import load_checkpoint


def said(folder: Path, kind: type[CircuitsError] = CheckpointError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        load_checkpoint(folder, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("lora"))


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    return copy_adapter(adapter, tmp_path)


def _without_lora_b(folder: Path) -> None:
    reweigh_adapter(folder, lambda name, weight: None if "layer.1" in name else weight)


def _too_many(folder: Path) -> None:
    reweigh_adapter(
        folder, lambda name, weight: weight, lambda name: name.replace("layer.1", "layer.7")
    )


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _truncated(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def _nested(folder: Path) -> None:
    shutil.rmtree(folder.parent / "base")
    shutil.copytree(folder, folder.parent / "base")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (
            lambda folder: change_adapter(folder, base_model_name_or_path=None),
            "does not name its base",
        ),
        (
            lambda folder: change_adapter(folder, base_model_name_or_path="../gone"),
            "is not found (base_model_name_or_path in adapter_config.json): '../gone' is neither",
        ),
        (
            lambda folder: shutil.copy(folder.parent / "base" / "model.safetensors", folder),
            "holds a whole model and an adapter (adapter_config.json)",
        ),
        (
            lambda folder: change_adapter(folder, target_modules=["nothing"]),
            "does not fit its base '../base': No modules were targeted",
        ),
        (lambda folder: change_adapter(folder, r=3), "does not fit its base '../base': Error"),
        (_without_lora_b, "lacks 'base_model.model.bert.encoder.layer.1.attention.self.query."),
        (_too_many, "lacks 'base_model.model.bert.encoder.layer.1.attention.self.query."),
        (
            lambda folder: change_adapter(folder, target_modules=["query"]),
            "holds 'base_model.model.bert.encoder.layer.0.attention.self.value.lora_A.weight', for",
        ),
        (_pickled, "without adapter_model.safetensors; pickled weights are never opened"),
        (_truncated, "adapter_model.safetensors cannot be read"),
        (_nested, "is an adapter itself"),
        (
            lambda folder: reweigh_adapter(folder, lambda name, weight: weight * torch.nan),
            "hold NaN or infinity",
        ),
        (
            lambda folder: (folder.parent / "base" / "model.safetensors").unlink(),
            "base holds no weights",
        ),
        (lambda folder: (folder.parent / "base" / "config.json").unlink(), "no config.json"),
    ],
)
def test_an_adapter_that_cannot_be_merged_says_why(
    copied: Path, break_it: Callable[[Path], object], words: str
) -> None:
    break_it(copied)
    assert words in said(copied)


def test_without_a_classifier_anywhere_what_is_missing_is_named(tmp_path: Path) -> None:
    made = make_bert(tmp_path / "base", n_layers=2)
    hf = open_hf("BertForSequenceClassification", made)
    adapt(hf, tmp_path / "adapter", "../base", target_modules=["query"])
    change_adapter(tmp_path / "adapter", task_type="SEQ_CLS")
    BertModel.from_pretrained(made).save_pretrained(made)
    message = said(tmp_path / "adapter")
    assert "lack 'classifier.bias' (2 missing in all)" in message


def test_adapters_of_other_kinds_are_told(copied: Path) -> None:
    change_adapter(copied, peft_type="IA3")
    message = said(copied, UnsupportedModelError)
    assert "an adapter of the type IA3; only LORA can be merged into its base" in message


def test_without_peft_the_line_to_install_it_is_given(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    message = said(adapter)
    assert (
        "is a LoRA adapter, which needs peft to be merged. Install it with: pip install" in message
    )
