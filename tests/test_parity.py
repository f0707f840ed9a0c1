"""Our numbers are those of the functions that other libraries publish, on models both can open.

Direction: TransformerLens patches clean values into the corrupted run (our `denoise`), and its
result is the patched metric; ours is what the patch changed of it. Handing it the two runs in each
other's place gives our `noise`, with the sign turned.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation, LayerIntegratedGradients
from modelmaking import IMAGE_FAMILIES, NOUNS, VERBS, make_family, make_pairs_for
from torch import Tensor

from behavior.examples import Pairs, TextInput
from behavior.readout import margin, read_labels
from patching.activation import patch_heads
from patching.attribution import attribute_heads, attribute_mlps, attribute_nodes
from patching.effects import Direction
from patching.models.backends.transformer_lens import bridge_of
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")
N_PAIRS = 5


class Peers:
    """A model, its bridge, and aligned pairs of equal length, which need no mask."""

    def __init__(self, folder: Path, family: str) -> None:
        self.model: PatchableModel = load_checkpoint(make_family(folder / family, family))
        self.bridge: Any = bridge_of(self.model)
        self.pairs = _single_texts(make_pairs_for(family, N_PAIRS), family)
        self.clean, self.corrupted = map(self._tensor, (self.pairs.clean, self.pairs.corrupted))

    def margins(self, logits: Tensor) -> Tensor:
        """Of one pair or of all, once or several times; all have the same label and foil."""
        readout = read_labels(self.model.spec.classes, ("entailment", "non-entailment"))
        label, foil = (
            readout.index((next(iter(names)),)).expand(len(logits))
            for names in (set(self.pairs.labels), set(self.pairs.foils))
        )
        return margin(readout.task_logits(logits), label, foil)

    def captum_target(self, inputs: Tensor) -> Tensor:
        name = "pixel_values" if self.model.spec.modality == "image" else "input_ids"
        return self.margins(self.model.call({name: inputs}))

    def _tensor(self, inputs: tuple[Any, ...]) -> Tensor:
        batch = self.model.encoder.batch(self.model.encode(inputs))
        assert batch.get("attention_mask", torch.ones(1)).all(), "a peer would read the padding"
        return next(batch[name] for name in ("input_ids", "pixel_values") if name in batch)


def _single_texts(pairs: Pairs[Any], family: str) -> Pairs[Any]:
    """Without token types, which TransformerLens' functions do not hand on."""
    if family in IMAGE_FAMILIES:
        return pairs
    words = [(NOUNS[i], VERBS[i], NOUNS[-1 - i]) for i in range(N_PAIRS)]
    clean = tuple(TextInput(f"the {a} {verb} the {b} .") for a, verb, b in words)
    corrupted = tuple(TextInput(f"the {b} {verb} the {a} .") for a, verb, b in words)
    return replace(pairs, clean=clean, corrupted=corrupted)


@pytest.fixture(scope="module", params=["bert", "distilbert", "gpt2", "vit"])
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Peers:
    return Peers(tmp_path_factory.mktemp("peers"), request.param)


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.abs().max() > 1e-3, "there should be effects"
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_head_patching_is_that_of_transformer_lens(peers: Peers, direction: Direction) -> None:
    ours = patch_heads(peers.model, peers.pairs, direction)
    into, source = peers.corrupted, peers.clean
    if direction == "noise":
        into, source = source, into
    patch: Callable[..., Any] = import_module(
        "transformer_lens.patching"
    ).get_act_patch_attn_head_out_all_pos
    with torch.no_grad():
        _, cache = peers.bridge.run_with_cache(source)
        result = patch(peers.bridge, into, cache, peers.margins, reduce="none", baseline=True)
    change = (result.values - result.baseline).permute(2, 0, 1)
    assert_close(ours.heads, -change if direction == "noise" else change)
    before = ours.clean if direction == "noise" else ours.corrupted
    assert_close(before, result.baseline)


def test_attribution_is_that_of_transformer_lens(peers: Peers) -> None:
    """It takes token ids alone, sums nothing over positions, and averages over pairs."""
    attribution: Any = import_module("transformer_lens.tools.analysis.attribution_patching")
    if peers.model.spec.modality == "image":
        with pytest.raises(ValueError, match="2D"):
            attribution.attribution_patch(peers.bridge, peers.clean, peers.corrupted, sum)
        return
    result = attribution.attribution_patch(
        peers.bridge, peers.clean, peers.corrupted, lambda logits: peers.margins(logits)[0]
    )
    spec = peers.model.spec
    heads, mlps = torch.zeros(spec.n_layers, spec.n_heads), torch.zeros(spec.n_layers)
    for node, score in result.node_scores.items():
        if node.kind == "attn_head_out":
            heads[node.layer, node.head] += score
        elif node.kind == "mlp_out":
            mlps[node.layer] += score
    assert_close(attribute_heads(peers.model, peers.pairs, "denoise").heads.mean(dim=0), heads)
    assert_close(attribute_mlps(peers.model, peers.pairs, "denoise").values.mean(dim=0), mlps)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_attribution_of_heads_is_the_gradient_of_captum_times_the_change(
    peers: Peers, direction: Direction
) -> None:
    ours = attribute_heads(peers.model, peers.pairs, direction)
    start, end, sign = _path(peers, direction)
    for row, effects in zip(peers.model.modules.layers, ours.heads.unbind(dim=1), strict=True):
        slopes = LayerGradientXActivation(peers.captum_target, row.o, multiply_by_inputs=False)
        values = LayerActivation(peers.captum_target, row.o)
        slope, after, before = (
            _only(method.attribute(at, attribute_to_layer_input=True)).detach()
            for method, at in ((slopes, start), (values, end), (values, start))
        )
        found = sign * slope * (after - before)
        assert_close(effects, found.unflatten(-1, (row.n_heads, -1)).sum(dim=(1, 3)))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_integrated_gradients_of_the_input_are_those_of_captum(
    peers: Peers, direction: Direction
) -> None:
    """Both put the embeddings at the midpoints of equal steps between the two runs."""
    ours = attribute_nodes(peers.model, peers.pairs, ["input"], direction, steps=6)
    start, end, sign = _path(peers, direction)
    (embedding,) = peers.model.modules.embeddings.values()
    captum = LayerIntegratedGradients(peers.captum_target, embedding)
    found = captum.attribute(end, start, n_steps=6, method="riemann_middle")
    assert_close(ours.node("input"), sign * _only(found).detach().flatten(start_dim=1).sum(dim=1))


def _path(peers: Peers, direction: Direction) -> tuple[Tensor, Tensor, int]:
    """The run that is patched into, the other one, and the sign of an effect."""
    if direction == "noise":
        return peers.clean, peers.corrupted, -1
    return peers.corrupted, peers.clean, 1


def _only(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    return found[0] if isinstance(found, tuple) else found
