"""Edge scores of the public EAP-IG on a tiny seeded GPT-2, as a table that our tests compare with.

    git clone https://github.com/hannamw/EAP-IG
    python -m venv eap-ig
    eap-ig/bin/pip install torch==2.13.0 transformer-lens==2.16.1 "datasets<4" pyarrow==20.0.0 \
        numpy==1.26.4 matplotlib
    eap-ig/bin/python benchmarks/eap_ig_parity.py EAP-IG/src

It needs that environment, not ours: their code runs on the HookedTransformer, which TransformerLens
has removed. Written are `tests/data/eap_ig_reference.json` (scores of every edge for each pair, the
sizes and the seed of the model, a hash of its weights, versions) and `tests/data/eap_ig_graph.json`
(a circuit in their own format). The model is in float64; their graph keeps scores in float32.

Their code wants a GPU and a tokenizer. Here it gets neither: `device="cuda"` means the processor,
and token ids stand for texts. Nothing else of it is changed. The metric is minus the margin of each
pair, so that their corrupted - clean times its gradient has the sign of our scores; pairs are run
one by one, so that a score is that of one pair.
"""

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIZES = {"n_layer": 2, "n_head": 3, "n_embd": 24, "n_positions": 16, "vocab_size": 40}
N_CLASSES, N_PAIRS, LENGTH = 3, 4, 7
FIRST_ID = 5  # Those below are special tokens.
SEED, STEPS, TOP = 11, 5, 40
METHODS = {
    "eap": "EAP",
    "eap_ig_inputs": "EAP-IG-inputs",
    "clean_corrupted": "clean-corrupted",
    "eap_ig_activations": "EAP-IG-activations",
    "exact_edges": "exact",
}
PACKAGES = ("torch", "transformer-lens", "transformers", "datasets", "pyarrow", "numpy")
DATA = Path(__file__).parent.parent / "tests" / "data"


def make_weights() -> dict[str, Tensor]:
    """Weights of a GPT2ForSequenceClassification by name, from the seed; float64."""
    generator = torch.Generator().manual_seed(SEED)
    width = SIZES["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (SIZES["vocab_size"], width),
        "transformer.wpe.weight": (SIZES["n_positions"], width),
    }
    for i in range(SIZES["n_layer"]):
        for name, n_in, n_out in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ):
            shapes[f"transformer.h.{i}.{name}.weight"] = (n_in, n_out)
            shapes[f"transformer.h.{i}.{name}.bias"] = (n_out,)
        for norm in ("ln_1", "ln_2"):
            shapes[f"transformer.h.{i}.{norm}.weight"] = (width,)
            shapes[f"transformer.h.{i}.{norm}.bias"] = (width,)
    shapes |= {f"transformer.ln_f.{kind}": (width,) for kind in ("weight", "bias")}
    shapes["score.weight"] = (N_CLASSES, width)
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        is_gain = ".ln_" in name and name.endswith("weight")
        found[name] = 1 + 0.2 * drawn if is_gain else 0.25 * drawn
    return found


def hash_of(weights: dict[str, Tensor]) -> str:
    """SHA-256 of all weights in order, rounded, so that no machine's last bits count."""
    found = hashlib.sha256()
    for name, value in weights.items():
        found.update(name.encode())
        found.update((value * 2**40).round().to(torch.int64).numpy().tobytes())
    return found.hexdigest()


def make_tokens() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids of the clean and of the corrupted inputs, labels and foils."""
    generator = torch.Generator().manual_seed(SEED + 1)
    clean = torch.randint(FIRST_ID, SIZES["vocab_size"], (N_PAIRS, LENGTH), generator=generator)
    corrupted = clean.clone()
    other = torch.randint(FIRST_ID, SIZES["vocab_size"] - 1, (N_PAIRS, 2), generator=generator)
    corrupted[:, 2:4] = torch.where(other == clean[:, 2:4], SIZES["vocab_size"] - 1, other)
    labels = torch.arange(N_PAIRS) % N_CLASSES
    return clean, corrupted, labels, (labels + 1) % N_CLASSES


def main() -> None:
    """Run their code and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the folder src of a clone of EAP-IG")
    source: Path = parser.parse_args().source
    sys.path.insert(0, str(source))
    theirs = _Theirs(make_weights())
    clean, corrupted, labels, foils = make_tokens()
    found = {ours: theirs.scores(name) for ours, name in METHODS.items()}
    DATA.mkdir(exist_ok=True)
    written = theirs.graph_file(DATA / "eap_ig_graph.json", found["eap_ig_inputs"])
    edges = list(theirs.graph().edges)
    stored: dict[str, object] = {
        "schema_version": 1,
        "what": "edge scores of the public EAP-IG (https://github.com/hannamw/EAP-IG)",
        "made_by": "benchmarks/eap_ig_parity.py, whose first lines say how",
        "revision": _revision(source),
        "packages": {name: version(name) for name in PACKAGES},
        "sizes": SIZES,
        "seed": SEED,
        "steps": STEPS,
        "weights_sha256": hash_of(make_weights()),
        "clean": clean.tolist(),
        "corrupted": corrupted.tolist(),
        "labels": labels.tolist(),
        "foils": foils.tolist(),
        "margins": theirs.margins(),
        "edges": edges,
        "scores": found,
        "graph": {"file": "eap_ig_graph.json", "method": "eap_ig_inputs", "in_graph": written},
    }
    path = DATA / "eap_ig_reference.json"
    path.write_text(json.dumps(stored) + "\n", encoding="utf-8")
    print(f"{len(METHODS)} methods, {N_PAIRS} pairs, {len(edges)} edges in {path}")


class _Theirs:
    """The same model in their hands."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        # By name: these classes are in that environment's TransformerLens, and not in ours.
        lens: Any = importlib.import_module("transformer_lens")
        self.attribute: Any = importlib.import_module("eap.attribute")
        self.evaluate: Any = importlib.import_module("eap.evaluate")
        self.graphs: Any = importlib.import_module("eap.graph")
        width, n_heads = SIZES["n_embd"], SIZES["n_head"]
        config = lens.HookedTransformerConfig(
            n_layers=SIZES["n_layer"],
            n_heads=n_heads,
            d_model=width,
            d_head=width // n_heads,
            d_mlp=4 * width,
            n_ctx=SIZES["n_positions"],
            d_vocab=SIZES["vocab_size"],
            d_vocab_out=N_CLASSES,
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
            dtype=torch.float64,
            use_attn_result=True,
            use_split_qkv_input=True,
            use_hook_mlp_in=True,
        )
        self.model: Any = lens.HookedTransformer(config)
        missing, unknown = self.model.load_state_dict(_renamed(weights), strict=False)
        left = [name for name in missing if not name.endswith((".mask", ".IGNORE"))]
        assert not left and not unknown, f"not all weights are in place: {left}, {unknown}"
        self._stand_in()

    def scores(self, method: str) -> list[list[float]]:
        """Of every edge, pair by pair."""
        found: list[list[float]] = []
        for i in range(N_PAIRS):
            graph = self.graph()
            self.attribute.attribute(
                self.model,
                graph,
                [self._pair(i)],
                self._metric,
                method,
                ig_steps=STEPS,
                quiet=True,
            )
            found.append([edge.score.item() for edge in graph.edges.values()])
        return found

    def margins(self) -> dict[str, list[float]]:
        """Of both runs, pair by pair."""
        clean, corrupted, labels, foils = make_tokens()
        found: dict[str, list[float]] = {}
        for name, ids in (("clean", clean), ("corrupted", corrupted)):
            logits = self.model(ids)[:, -1]
            rows = torch.arange(N_PAIRS)
            found[name] = (logits[rows, labels] - logits[rows, foils]).tolist()
        return found

    def graph(self) -> Any:
        """Theirs, with no scores yet."""
        return self.graphs.Graph.from_model(self.model)

    def graph_file(self, path: Path, scores: list[list[float]]) -> int:
        """Write a circuit of the strongest edges as they do; how many of them are left."""
        graph = self.graph()
        for edge, score in zip(graph.edges.values(), torch.tensor(scores).mean(0), strict=True):
            edge.score = score
        graph.apply_topn(TOP, absolute=True, prune=True)
        graph.to_json(str(path))
        return sum(bool(edge.in_graph) for edge in graph.edges.values())

    def _pair(self, i: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        clean, corrupted, labels, foils = make_tokens()
        return [clean[i]], [corrupted[i]], torch.stack([labels[i], foils[i]])[None]

    @staticmethod
    def _metric(logits: Tensor, _clean: Tensor, lengths: Tensor, label: Tensor) -> Tensor:
        last = logits[torch.arange(len(logits)), lengths - 1]
        chosen = last.gather(-1, label)
        return (chosen[:, 1] - chosen[:, 0]).sum()

    def _stand_in(self) -> None:
        """The processor for the GPU, and ids for texts."""
        zeros = torch.zeros

        def on_the_processor(*shape: Any, **options: Any) -> Tensor:
            if options.get("device") == "cuda":
                options["device"] = "cpu"
            return zeros(*shape, **options)

        def as_given(_model: Any, inputs: list[Tensor], *_: Any) -> Any:
            ids = torch.stack(inputs)
            lengths = torch.full((len(ids),), ids.shape[1])
            return ids, torch.ones_like(ids), lengths, ids.shape[1]

        torch.zeros = on_the_processor
        self.attribute.tokenize_plus = as_given
        self.evaluate.tokenize_plus = as_given


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names and in the shapes of a HookedTransformer."""
    n_heads, width = SIZES["n_head"], SIZES["n_embd"]
    found = {
        "embed.W_E": weights["transformer.wte.weight"],
        "pos_embed.W_pos": weights["transformer.wpe.weight"],
        "ln_final.w": weights["transformer.ln_f.weight"],
        "ln_final.b": weights["transformer.ln_f.bias"],
        "unembed.W_U": weights["score.weight"].T.contiguous(),
        "unembed.b_U": torch.zeros(N_CLASSES, dtype=torch.float64),
    }
    for i in range(SIZES["n_layer"]):
        here, there = f"transformer.h.{i}", f"blocks.{i}"
        qkv = weights[f"{here}.attn.c_attn.weight"].chunk(3, dim=1)
        biases = weights[f"{here}.attn.c_attn.bias"].chunk(3)
        for name, matrix, bias in zip("QKV", qkv, biases, strict=True):
            by_head = matrix.reshape(width, n_heads, -1).transpose(0, 1)
            found[f"{there}.attn.W_{name}"] = by_head.contiguous()
            found[f"{there}.attn.b_{name}"] = bias.reshape(n_heads, -1)
        out = weights[f"{here}.attn.c_proj.weight"]
        found[f"{there}.attn.W_O"] = out.reshape(n_heads, -1, width)
        found[f"{there}.attn.b_O"] = weights[f"{here}.attn.c_proj.bias"]
        for theirs, ours in (("in", "c_fc"), ("out", "c_proj")):
            found[f"{there}.mlp.W_{theirs}"] = weights[f"{here}.mlp.{ours}.weight"]
            found[f"{there}.mlp.b_{theirs}"] = weights[f"{here}.mlp.{ours}.bias"]
        for theirs, ours in (("ln1", "ln_1"), ("ln2", "ln_2")):
            found[f"{there}.{theirs}.w"] = weights[f"{here}.{ours}.weight"]
            found[f"{there}.{theirs}.b"] = weights[f"{here}.{ours}.bias"]
    return found


def _revision(source: Path) -> str:
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
