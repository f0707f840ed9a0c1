"""LoRA adapters are merged on load into the base that they name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from imagemaking import make_image_model, make_images
from loramaking import adapt, change_adapter, copy_adapter, make_adapter, open_hf, reweigh_adapter
from modelmaking import CLASSES, make_bert, make_pairs, make_tokenizer
from textmaking import make_gpt2, make_t5
from transformers import BertConfig, BertForMaskedLM

from behavior.inputs import Input
from patching.models.loading import load_checkpoint

TEXTS = make_pairs(3).clean


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tmp_path_factory.mktemp("lora"))


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    return copy_adapter(adapter, tmp_path)


FAMILIES: list[tuple[str, Callable[[Path], Path], dict[str, Any], Sequence[Input]]] = [
    (
        "BertForSequenceClassification",
        lambda folder: make_bert(folder, n_layers=2),
        {"target_modules": ["query", "value", "dense"], "task_type": "SEQ_CLS"},
        TEXTS,
    ),
    (
        "BertForSequenceClassification",
        lambda folder: make_bert(folder, n_layers=2),
        {"target_modules": ["query"], "bias": "all", "use_dora": True, "use_rslora": True},
        TEXTS,
    ),
    (
        "GPT2ForSequenceClassification",
        lambda folder: make_gpt2(folder, n_positions=128),
        {"target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "SEQ_CLS"},
        TEXTS,
    ),
    (
        "T5ForSequenceClassification",
        make_t5,
        {
            "target_modules": ["q", "v"],
            "task_type": "SEQ_CLS",
            "modules_to_save": ["classification_head"],
        },
        TEXTS,
    ),
    (
        "ViTForImageClassification",
        make_image_model,
        {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["classifier"]},
        make_images(2),
    ),
    (
        "ResNetForImageClassification",
        lambda folder: make_image_model(folder, "resnet"),
        {"target_modules": ["convolution"], "modules_to_save": ["classifier"]},
        make_images(2),
    ),
]


@pytest.mark.parametrize(("name", "make", "options", "inputs"), FAMILIES)
def test_merged_logits_are_those_of_pefts_own_model(
    tmp_path: Path,
    name: str,
    make: Callable[[Path], Path],
    options: dict[str, Any],
    inputs: Sequence[Input],
) -> None:
    made = make(tmp_path / "base")
    plain = load_checkpoint(made, dtype="float64")
    adapted = adapt(open_hf(name, made), tmp_path / "adapter", str(made), **options)
    model = load_checkpoint(tmp_path / "adapter", dtype="float64")
    batch = plain.encoder.batch(plain.encode(inputs))
    with torch.no_grad():
        expected = adapted(**batch).logits
    torch.testing.assert_close(model.forward(batch), expected, atol=1e-9, rtol=1e-9)
    assert (expected - plain.forward(batch)).abs().max() > 0.01
    assert type(model.hf).__name__ == name and model.spec.classes == plain.spec.classes
    assert not any("lora" in weight for weight in model.hf.state_dict())


def test_a_base_without_a_classifier_gets_that_of_the_adapter(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"vocab_size": 26, "intermediate_size": 32, "max_position_embeddings": 64}
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    hf = open_hf("BertForSequenceClassification", tmp_path / "base", num_labels=5)
    # Without a pooler in the base, the adapter has to hold one.
    options = {"target_modules": ["query"], "modules_to_save": ["pooler", "classifier"]}
    adapted = adapt(hf, tmp_path / "adapter", "../base", task_type="SEQ_CLS", **options)
    model = load_checkpoint(tmp_path / "adapter", dtype="float64")
    assert model.spec.classes == tuple(f"LABEL_{i}" for i in range(5))
    batch = model.encoder.batch(model.encode(TEXTS))
    torch.testing.assert_close(model.forward(batch), adapted(**batch).logits.detach())
    hf.config.id2label = dict(enumerate("abcde"))
    hf.config.save_pretrained(tmp_path / "adapter")
    assert load_checkpoint(tmp_path / "adapter").spec.classes == tuple("abcde")


def test_the_kind_of_head_is_the_adapters_and_not_the_bases(tmp_path: Path) -> None:
    made = make_t5(tmp_path / "base", label_words=True)
    hf = open_hf("T5ForSequenceClassification", made)
    options = {"target_modules": ["q"], "modules_to_save": ["classification_head"]}
    adapted = adapt(hf, tmp_path / "sequence", "../base", task_type="SEQ_CLS", **options)
    model = load_checkpoint(tmp_path / "sequence", dtype="float64")
    batch = model.encoder.batch(model.encode(TEXTS))
    torch.testing.assert_close(model.forward(batch), adapted(**batch).logits.detach())
    hf = open_hf("T5ForConditionalGeneration", made)
    adapted = adapt(hf, tmp_path / "words", "../base", task_type="SEQ_2_SEQ_LM", r=4)
    words = {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}
    model = load_checkpoint(tmp_path / "words", dtype="float64", label_words=words)
    start = torch.zeros(len(TEXTS), 1, dtype=torch.int64)
    ids = [model.tokenizer(word)["input_ids"][0] for word in words.values()]
    expected = adapted(**batch, decoder_input_ids=start).logits[:, 0, ids].detach()
    torch.testing.assert_close(model.forward(batch), expected)
    assert model.spec.classes == CLASSES


def test_the_base_is_looked_for_beside_the_adapter_first(
    copied: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    expected = load_checkpoint(adapter, check=False).logits(TEXTS)
    change_adapter(copied, base_model_name_or_path="base")
    assert torch.equal(load_checkpoint(copied, check=False).logits(TEXTS), expected)
    make_bert(copied / "base", n_layers=2, seed=1)
    assert not torch.equal(load_checkpoint(copied, check=False).logits(TEXTS), expected)


def test_a_base_can_be_a_hub_id_at_a_revision(
    copied: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def snapshot(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert Path("adapter_model.safetensors").match(allow_patterns[-1])
        return str(copied.parent / "base")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    change_adapter(copied, base_model_name_or_path="org/name", revision="v2")
    expected = load_checkpoint(adapter, check=False).logits(TEXTS)
    assert torch.equal(load_checkpoint(copied, check=False).logits(TEXTS), expected)
    assert asked == [("org/name", "v2")]


def test_a_tokenizer_beside_the_adapter_comes_before_the_bases(copied: Path) -> None:
    assert load_checkpoint(copied, check=False).tokens(TEXTS[:1])[0][0] == 2
    swapped = make_tokenizer(special=("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"))
    swapped.save_pretrained(copied)
    assert load_checkpoint(copied, check=False).tokens(TEXTS[:1])[0][0] == 0


def digest(folder: Path) -> str:
    return load_checkpoint(folder, check=False).digest


def test_the_digest_is_that_of_the_adapter_and_of_its_base(copied: Path, adapter: Path) -> None:
    digests = [digest(adapter), digest(copied.parent / "base")]
    assert digest(copied) == digests[0]
    change_adapter(copied, lora_alpha=16)
    digests.append(digest(copied))
    reweigh_adapter(copied, lambda name, weight: weight + 1)
    digests.append(digest(copied))
    make_bert(copied.parent / "base", n_layers=2, seed=1)
    digests.append(digest(copied))
    assert len(set(digests)) == len(digests)


def test_a_merged_model_is_saved_as_a_plain_folder(adapter: Path, tmp_path: Path) -> None:
    merged = load_checkpoint(adapter)
    merged.hf.save_pretrained(tmp_path / "merged")
    merged.tokenizer.save_pretrained(tmp_path / "merged")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert torch.equal(load_checkpoint(tmp_path / "merged").logits(TEXTS), merged.logits(TEXTS))


def test_classes_of_the_base_keep_their_names(adapter: Path) -> None:
    assert load_checkpoint(adapter).spec.classes == CLASSES
