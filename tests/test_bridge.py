"""TransformerLens' bridge on our classifiers: Hugging Face's logits, TransformerLens' own names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import TEXT_FAMILIES, make_family, make_inputs
from torch import Tensor

from patching.models.backends.adapters import ADAPTED
from patching.models.backends.transformer_lens import bridge_of, hook_name
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

FAMILIES = (*TEXT_FAMILIES, "vit", "deit")
HOOKS = {
    "t5": ("encoder_blocks.0.attn", "decoder_blocks.1.self_attn", "decoder_blocks.0.cross_attn"),
}


class Opened:
    """A model with its bridge, and a batch."""

    def __init__(self, folder: Path, family: str) -> None:
        self.model: PatchableModel = load_checkpoint(make_family(folder / family, family))
        self.bridge: Any = bridge_of(self.model)
        self.inputs = make_inputs(family, 4)
        self.batch = self.model.encoder.batch(self.model.encode(self.inputs))
        self.rest = dict(self.batch)
        self.first = self.rest.pop(
            "pixel_values" if "vit" in family or "deit" in family else "input_ids"
        )
        if family == "t5-words":
            start = self.model.hf.config.decoder_start_token_id
            self.rest["decoder_input_ids"] = torch.full((4, 1), start)

    def classes(self, logits: Tensor) -> Tensor:
        words = self.model.word_ids
        return logits if words is None else logits[:, 0, list(words)]

    @property
    def attentions(self) -> tuple[str, ...]:
        return HOOKS.get(self.model.spec.family, ("blocks.0.attn", "blocks.2.attn"))


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("bridges"), request.param)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_logits_are_those_of_hugging_face(opened: Opened) -> None:
    expected = opened.model.forward(opened.batch)
    with torch.no_grad():
        found = opened.classes(opened.bridge(opened.first, **opened.rest))
    assert_close(found, expected)


def test_values_under_transformer_lens_names_are_ours(opened: Opened) -> None:
    with torch.no_grad():
        _, found = opened.bridge.run_with_cache(opened.first, **opened.rest)
    names = [f"{name}.hook_{what}" for name in opened.attentions for what in ("q", "k", "v", "z")]
    _, ours = opened.model.run_with_cache(opened.inputs, sites=names)
    for name in names:
        assert_close(found[name], ours[name])


def test_a_head_set_to_zero_by_run_with_hooks_is_our_patch(opened: Opened) -> None:
    def silence(z: Tensor, hook: Any) -> Tensor:
        z[:, :, 1] = 0
        return z

    for name in (f"{attention}.hook_z" for attention in opened.attentions):
        site = opened.model.site(name)
        with opened.model.patch({str(site).replace(".z", ".h1.z"): 0.0}):
            expected = opened.model.logits(opened.inputs)
        with torch.no_grad():
            found = opened.bridge.run_with_hooks(
                opened.first, fwd_hooks=[(name, silence)], **opened.rest
            )
        assert_close(opened.classes(found), expected)


def test_weights_by_head_are_those_of_the_model(opened: Opened) -> None:
    """W_O as [head, d_head, d_model], and the weights of the classifier."""
    for row in opened.model.modules.layers:
        attention = opened.bridge.get_submodule(hook_name(row, "z").removesuffix(".hook_z"))
        weight: Any = row.o.weight
        columns = weight if type(row.o).__name__ == "Conv1D" else weight.T
        assert torch.equal(attention.W_O, columns.unflatten(0, (row.n_heads, row.d_head)))
    weights = list(opened.model.hf.parameters())
    if opened.model.architecture.label_words:
        return  # The logits of words come from the whole vocabulary.
    classifier = next(one for one in reversed(weights) if one.dim() == 2)
    assert torch.equal(opened.bridge.unembed.weight, classifier)


def test_texts_and_tokens_are_read_with_the_own_tokenizer(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "bert")
    with torch.no_grad():
        found = opened.bridge("the doctor saw the nurse")
    texts = [type(opened.inputs[0])("the doctor saw the nurse")]
    assert_close(found, opened.model.logits(texts))
    assert opened.bridge.tokenizer is not opened.model.tokenizer
    assert opened.model.tokenizer.bos_token is None, "TransformerLens sets one on its own copy"


def test_boot_transformers_knows_the_classifiers_afterwards(tmp_path: Path) -> None:
    """Its registry of adapters and its table of architectures are two things."""
    opened = Opened(tmp_path, "distilbert")
    lens: Any = pytest.importorskip("transformer_lens.model_bridge")
    bridge = lens.TransformerBridge.boot_transformers(
        str(tmp_path / "distilbert"), model_class=type(opened.model.hf), device="cpu"
    ).eval()
    with torch.no_grad():
        found = bridge(opened.first, **opened.rest)
    assert_close(found, opened.model.forward(opened.batch))
    assert set(ADAPTED) <= set(_supported())


def _supported() -> dict[str, Any]:
    factory: Any = pytest.importorskip("transformer_lens.factories.architecture_adapter_factory")
    return factory.SUPPORTED_ARCHITECTURES
