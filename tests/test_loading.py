"""Folders become models, or one line that says what is wrong with them."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import huggingface_hub
import pytest
import torch
from modelmaking import make_bert
from safetensors.torch import load_file, save_file, save_model
from transformers import BertForSequenceClassification

from behavior.errors import CheckpointError, CircuitsError, UnsupportedModelError
from patching.models.architecture import register_family
from patching.models.families.bert import BERT
from patching.models.loading import load_checkpoint

EVIL = {"AutoModel": "evil.Model"}


def said(action: Callable[[], object], kind: type[CircuitsError] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("made") / "bert", n_layers=2)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "copy")


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _nan(folder: Path) -> None:
    _reweigh(
        folder, lambda weights: {**weights, "classifier.weight": torch.full((3, 16), torch.nan)}
    )


def _infinite(folder: Path) -> None:
    _reweigh(folder, lambda weights: {**weights, "classifier.bias": torch.full((3,), torch.inf)})


def _headless(folder: Path) -> None:
    _reweigh(folder, lambda weights: {name: weights[name] for name in weights if "bert." in name})


def _reweigh(
    folder: Path, change: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


def _shards_gone(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"classifier.bias": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _larger_vocabulary(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"] |= {f"word{i}": 26 + i for i in range(9)}
    file.write_text(json.dumps(content))


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def _config(**changes: object) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **changes)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (_without("config.json"), "holds no config.json. Expected a Hugging Face folder"),
        (_with("config.json", "{"), "config.json cannot be read as JSON"),
        (_with("config.json", "[]"), "config.json holds no JSON object"),
        (_without("model.safetensors"), "holds no weights. Expected model.safetensors"),
        (_without("tokenizer.json"), "holds no tokenizer. Expected tokenizer.json or vocab.txt"),
        (_with("tokenizer.json", "{}"), "cannot be loaded"),
        (_pickled, "holds pickled weights only, which are never opened. If you trust them"),
        (_truncated, "cannot be loaded (SafetensorError)"),
        (_shards_gone, "cannot be loaded"),
        (_nan, "hold NaN or infinity in 'classifier.weight'"),
        (_infinite, "hold NaN or infinity in 'classifier.bias'"),
        (_headless, "lack 'classifier.bias' (2 missing in all)"),
        (_larger_vocabulary, "knows 35 tokens, the model 26"),
        (_config(num_hidden_layers=3), "lack 'bert.encoder.layer.2."),
        (_config(num_hidden_layers=1), "hold 'bert.encoder.layer.1."),
        (_config(hidden_size=32), "'bert.embeddings.LayerNorm.bias' is [16], but should be [32]"),
        (_config(hidden_size="wide"), "Field 'hidden_size' expected int"),
        (_config(hidden_act="nonsense"), "cannot be loaded (KeyError): 'nonsense'"),
        (_config(num_attention_heads=3), "not a multiple of the number of attention heads (3)"),
        (_config(architectures="Bert"), "has 'Bert' as architectures; expected a list"),
    ],
)
def test_a_folder_that_cannot_be_opened_says_why(
    folder: Path, break_it: Callable[[Path], object], words: str
) -> None:
    break_it(folder)
    message = said(lambda: load_checkpoint(folder))
    assert words in message and str(folder) in message


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (_config(model_type="mamba"), "'mamba' are not supported. Supported: BertForSequence"),
        (
            _config(architectures=["BertForMaskedLM"]),
            "config.json says BertForMaskedLM). Supported",
        ),
        (_config(architectures=None), "config.json says no architectures entry). Supported"),
        (_config(auto_map=EVIL), "run code of its own (auto_map in config.json), which is never"),
        (
            _with("tokenizer_config.json", json.dumps({"auto_map": EVIL})),
            "(auto_map in tokenizer_config.json)",
        ),
        (
            _with("preprocessor_config.json", json.dumps({"auto_map": EVIL})),
            "(auto_map in preprocessor_config.json)",
        ),
        (_config(is_decoder=True), "set up as a decoder (is_decoder in config.json)"),
        (_config(add_cross_attention=True), "(add_cross_attention in config.json)"),
        (
            _config(quantization_config={"quant_method": "gptq", "bits": 4}),
            "is quantised (gptq); expected weights in floating point",
        ),
        (
            _config(pruned_heads={"1": [0]}),
            "has pruned heads (pruned_heads in config.json: {'1': [0]}); expected all heads",
        ),
        *(
            (
                _config(model_type=kind, architectures=[head]),
                f"This {kind} checkpoint has no classifier that can be opened (config.json says "
                f"{head}). Supported: {known}. Fine-tune it as one of these first.",
            )
            for kind, head, known in (
                ("bert", "BertForMaskedLM", "BertForSequenceClassification"),
                ("gpt2", "GPT2LMHeadModel", "GPT2ForSequenceClassification"),
                ("vit", "ViTModel", "ViTForImageClassification"),
                ("resnet", "ResNetModel", "ResNetForImageClassification"),
                (
                    "t5",
                    "T5ForQuestionAnswering",
                    "T5ForConditionalGeneration, T5ForSequenceClassification",
                ),
            )
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(
    folder: Path, break_it: Callable[[Path], object], words: str
) -> None:
    break_it(folder)
    assert words in said(lambda: load_checkpoint(folder), UnsupportedModelError)


def test_pruned_heads_that_are_none_do_not_matter(folder: Path) -> None:
    change_config(folder, pruned_heads={})
    assert load_checkpoint(folder, check=False).spec.n_layers == 2


def test_layers_that_share_their_weights_are_told(folder: Path) -> None:
    hf = BertForSequenceClassification.from_pretrained(folder)
    hf.bert.encoder.layer[1] = hf.bert.encoder.layer[0]
    save_model(hf, str(folder / "model.safetensors"), metadata={"format": "pt"})
    message = said(lambda: load_checkpoint(folder), UnsupportedModelError)
    assert " tie 'bert.encoder.layer." in message and " to 'bert.encoder.layer." in message


def test_a_model_with_one_output_is_refused(tmp_path: Path) -> None:
    single = make_bert(tmp_path / "one", n_layers=1, classes=("score",))
    assert "one output" in said(lambda: load_checkpoint(single), UnsupportedModelError)


def test_a_registered_family_is_listed_among_the_supported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patching.models.architecture._FAMILIES", {})
    change_config(folder, model_type="mamba")
    assert "Supported: ." in said(lambda: load_checkpoint(folder), UnsupportedModelError)
    register_family(BERT)
    assert f"Supported: {BERT.model_class}." in said(lambda: load_checkpoint(folder))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "abacus"}, "No device 'abacus' here; this machine has: cpu"),
        ({"device": "cuda:99"}, "No device 'cuda:99' here"),
    ],
)
def test_a_device_that_is_not_there(made: Path, options: dict[str, str], words: str) -> None:
    assert words in said(lambda: load_checkpoint(made, device=options["device"]))


def test_a_hub_id_that_cannot_be_fetched_is_one_line() -> None:
    message = said(lambda: load_checkpoint("nobody/nothing-of-this-name"))
    assert "'nobody/nothing-of-this-name' is no folder here, and could not be fetched" in message
    assert "Check the spelling and the network" in message


def test_a_hub_id_is_fetched_at_its_revision_and_without_pickles(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def snapshot(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert not any(Path("pytorch_model.bin").match(pattern) for pattern in allow_patterns)
        assert all(
            any(file.relative_to(made).match(pattern) for pattern in allow_patterns)
            for file in made.iterdir()
        )
        return str(made)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load_checkpoint("org/name@v2").name == "org/name@v2"
    assert load_checkpoint("org/name").name == "org/name"
    assert asked == [("org/name", "v2"), ("org/name", None)]


def test_a_name_in_the_file_is_the_name_of_the_model(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"version: 1\ncheckpoints:\n  my model: {{path: {made}}}\n")
    assert load_checkpoint("my model", checkpoints=path).name == "my model"
    assert load_checkpoint(made).name == "bert"


def test_the_digest_is_that_of_the_weights_and_the_config(made: Path, folder: Path) -> None:
    digest = load_checkpoint(made).digest
    assert len(digest) == 64
    assert load_checkpoint(folder, dtype="float64").digest == digest
    change_config(folder, layer_norm_eps=1e-6)
    changed = load_checkpoint(folder).digest
    assert changed != digest
    _reweigh(folder, lambda weights: {**weights, "classifier.bias": torch.zeros(3)})
    assert load_checkpoint(folder).digest not in (digest, changed)
