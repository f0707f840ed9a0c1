"""Three kinds of evidence about each head, from the same inputs in every model.

effects     The effect of patching the head on each pair (core and shortcut), without the mean of
            its template and cells and without what goes along with the pair's range.
attention   Its attention from word to word, without special tokens and self-attention, less the
            mean of the group of inputs; at most `MOST_ENTRIES` pairs of words of an input.
outputs     What it writes, at the mean of all positions and at the one that the classifier reads:
            for each two inputs of a group, their entry of the unbiased, centred Gram matrix. The
            cosine of two such lists is unbiased linear CKA within groups (Kornblith et al. 2019,
            https://arxiv.org/abs/1905.00414; Song et al. 2012, Nguyen et al. 2021,
            https://arxiv.org/abs/2010.15327).

Each kind is a list of numbers for each head, and the similarity of two heads is the cosine of
their lists. Only heads of one kind of row are compared: encoder, decoder, cross-attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int

from behavior.examples import Contrast
from circuits.compare.alignment.inputs import EvidenceInputs, Word, pool_groups
from circuits.compare.alignment.patterns import PatternReader
from patching.effects import Effects
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from probes.similarity import u_centre

Kind = Literal["effects", "attention", "outputs"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_LEAST_GROUP = 4


@dataclass(frozen=True, eq=False)
class Features:
    """One list of numbers for each head.

    Attributes:
        values: [entry, head].
        blocks: [entry, 2] blocks of the quads that an entry comes from; the first is not larger.
    """

    values: Float[np.ndarray, "entry head"]
    blocks: Int[np.ndarray, "entry 2"]


@dataclass(frozen=True, eq=False)
class StackEvidence:
    """Evidence about the heads of one kind of row.

    Attributes:
        heads: Their names.
        features: By kind; several lists of one kind count together as much as one.
    """

    heads: tuple[str, ...]
    features: Mapping[Kind, tuple[Features, ...]]


Evidence = dict[str, StackEvidence]
"""By kind of row: empty for a single stack, else `enc`, `dec`, `dec.x`."""


def collect_evidence(
    model: PatchableModel,
    given: EvidenceInputs,
    words: Sequence[Sequence[Word]],
    effects: Mapping[Contrast, Effects],
) -> Evidence:
    """Evidence about every head of a model with attention.

    Args:
        model: The model.
        given: The inputs.
        words: [input][word] tokens of the words that are compared.
        effects: Of every head on the pairs of these inputs.
    """
    stacks: dict[str, list[LayerModules]] = {}
    for row in model.modules.layers:
        stacks.setdefault(row.stack, []).append(row)
    patterns = {stack: PatternReader(stack, words, given.group) for stack in stacks}
    written = _run(model, given, stacks, patterns)
    found: Evidence = {}
    for stack, rows in stacks.items():
        heads = tuple(str(head) for row in rows for head in row.heads)
        found[stack] = StackEvidence(
            heads,
            {
                "effects": (effect_features(heads, given, effects),),
                "attention": (_attention_features(patterns[stack], given),),
                "outputs": tuple(gram_features(w, given) for w in written[stack]),
            },
        )
    return found


def effect_features(
    heads: Sequence[str], given: EvidenceInputs, effects: Mapping[Contrast, Effects]
) -> Features:
    """Effects less their mean over template and cells, and less what follows the pair's range."""
    values: list[np.ndarray] = []
    blocks: list[np.ndarray] = []
    for one in effects.values():
        position = {unit: i for i, unit in enumerate(given.units)}
        rows = [i for i, unit in enumerate(one.units) if unit in position]
        columns = [one.nodes.index(head) for head in heads]
        effect = one.values.numpy()[np.ix_(rows, columns)].astype(np.float64)
        span = (one.clean - one.corrupted).numpy()[rows].astype(np.float64)
        keys = [f"{one.templates[i]} {one.steps[i]}" for i in rows]
        group = pool_groups(np.unique(keys, return_inverse=True)[1])
        effect, span = center(effect, group), center(span[:, None], group)
        size = float((span**2).sum())
        values.append(effect - span * (span.T @ effect) / size if size > 0 else effect)
        blocks.append(given.blocks_of([one.units[i] for i in rows]))
    block = np.concatenate(blocks)
    return Features(np.concatenate(values), np.stack([block, block], axis=1))


def gram_features(
    written: Float[np.ndarray, "input head feature"], given: EvidenceInputs
) -> Features:
    """U-centred Gram matrices of what each head writes, one for each group, above the diagonal."""
    values: list[np.ndarray] = []
    blocks: list[np.ndarray] = []
    for group in range(int(given.group.max()) + 1):
        members = np.flatnonzero(given.group == group)
        n = len(members)
        if n < _LEAST_GROUP:
            continue
        x = written[members].transpose(1, 0, 2).astype(np.float64)
        x = x - x.mean(axis=1, keepdims=True)
        gram = u_centre(x @ x.transpose(0, 2, 1))
        first, second = np.triu_indices(n, k=1)
        values.append(gram[:, first, second].T.astype(np.float32))
        block = given.blocks[given.unit[members]]
        blocks.append(np.sort(np.stack([block[first], block[second]], axis=1), axis=1))
    return Features(np.concatenate(values), np.concatenate(blocks))


def center(
    values: Float[np.ndarray, "row column"], group: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "row column"]:
    """Values less the mean of their group."""
    sums = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return values - (sums / np.bincount(group)[:, None])[group]


def _attention_features(reader: PatternReader, given: EvidenceInputs) -> Features:
    values, inputs = reader.features()
    block = given.blocks[given.unit[inputs]]
    return Features(values, np.stack([block, block], axis=1))


def _run(
    model: PatchableModel,
    given: EvidenceInputs,
    stacks: Mapping[str, Sequence[LayerModules]],
    patterns: Mapping[str, PatternReader],
) -> dict[str, list[Float[np.ndarray, "input head feature"]]]:
    """Fill the readers of patterns; by stack, what heads write at the mean and where it is read."""
    lengths = [len(row) for row in model.encode(given.inputs)]
    factors = {row.name: _factor(row) for row in model.modules.layers}
    sites = [row.site(name) for row in model.modules.layers for name in ("z", "pattern")]
    parts: dict[str, list[tuple[list[int], np.ndarray]]] = {stack: [] for stack in stacks}
    for chunk in model.chunks(lengths):
        _, cache = model.run_with_cache([given.inputs[i] for i in chunk], sites=sites)
        sizes = torch.tensor([lengths[i] for i in chunk], device=model.device)
        for stack, rows in stacks.items():
            both: list[torch.Tensor] = []
            for row in rows:
                z = cache[row.site("z")]
                short = torch.stack([_mean(z, sizes), _read(model, z, sizes)])
                both.append(torch.einsum("sbhd,hed->sbhe", short, factors[row.name]))
            parts[stack].append((chunk, torch.cat(both, dim=2).cpu().numpy()))
            pattern = torch.cat([cache[row.site("pattern")] for row in rows], dim=1)
            patterns[stack].add(chunk, pattern)
    return {stack: _in_order(found, len(given.inputs)) for stack, found in parts.items()}


def _in_order(parts: Sequence[tuple[list[int], np.ndarray]], n: int) -> list[np.ndarray]:
    order = np.empty(n, dtype=np.int64)
    order[[i for chunk, _ in parts for i in chunk]] = np.arange(n)
    both = np.concatenate([part for _, part in parts], axis=1)[:, order]
    return [both[0], both[1]]


def _mean(z: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Mean of z over the positions that are no padding."""
    n = z.shape[1]
    inside = (torch.arange(n, device=z.device) < sizes.clamp(max=n)[:, None]).to(z)
    return torch.einsum("bphd,bp->bhd", z, inside / inside.sum(dim=1, keepdim=True))


def _read(model: PatchableModel, z: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Z where the classifier reads: at the first position, or at the last of the input."""
    if model.architecture.reads == "first token":
        return z[:, 0]
    last = sizes.clamp(max=z.shape[1]) - 1
    return z[torch.arange(len(z), device=z.device), last]


def _factor(row: LayerModules) -> Float[torch.Tensor, "head d_head d_head"]:
    """R of W_O = QR for each head: z R^T has the Gram matrix of what the head writes."""
    matrix = row.output_matrix.detach()
    parts = [matrix[:, row.columns(head)] for head in range(row.n_heads)]
    return torch.stack([torch.linalg.qr(part, mode="r")[1] for part in parts])
