"""Numbers of `result.json`, drawn at random, recomputed from `arrays.safetensors` alone.

Nothing of the packages is used for this but reading the two files: every formula stands once more
in `recomputing` and `recomputing_interventions`, in plain numpy. `result["task"]` and
`result["tests"]` say in which order the rows are.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from comparing import TWO_WAY, write_quads
from modelmaking import make_bert
from recomputing import Recomputed
from recomputing_interventions import Intervened, intervention_numbers

from circuits.compare import compare_models
from circuits.plants import changes
from patching import load_checkpoint

N_NUMBERS = 50
NOT_FROM_ARRAYS = re.compile(
    # Of models that were run again with something changed: see below.
    r"tests\.|alignment\.|diff\.|task\.|.*\.pearson|.*\.ece|config"
    r"\.|provenance\.|failures\.|verdict\.|limits\."
)


def stored_numbers(part: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from stored_numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from stored_numbers(value, f"{path}.{i}")
    elif isinstance(part, float) and path.endswith(".value") and not NOT_FROM_ARRAYS.match(path):
        yield path, part


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Recomputed:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    make_bert(home / "plain", n_layers=2, seed=3, classes=TWO_WAY)
    comparison = compare_models(
        home / "big",
        home / "small",
        teacher_plain=str(home / "plain"),
        examples=write_quads(home / "quads.jsonl", 64),
        n_pairs=48,
        n_resamples=50,
        discovery="eap",
        interventions=False,
    )
    comparison.save(home / "out", figures=False)
    return Recomputed(home / "out")


@pytest.mark.parametrize("seed", range(3))
def test_fifty_numbers_drawn_at_random_follow_from_the_arrays(found: Recomputed, seed: int) -> None:
    every = list(stored_numbers(found.result))
    chosen = np.random.default_rng(seed).choice(len(every), N_NUMBERS, replace=False)
    for path, value in (every[i] for i in chosen):
        assert found.number(path) == pytest.approx(value, rel=2e-4, abs=2e-5), path


def test_one_number_of_each_kind_follows_from_the_arrays(found: Recomputed) -> None:
    kinds: dict[str, tuple[str, float]] = {}
    for path, value in stored_numbers(found.result):
        kinds.setdefault(re.sub(r"\d+", "0", path), (path, value))
    covered = {path.split(".")[0] for path, _ in kinds.values()}
    assert covered >= {"models", "losses", "erosion", "agreement", "stages"}
    for path, value in kinds.values():
        assert found.number(path) == pytest.approx(value, rel=2e-4, abs=2e-5), path


def test_scores_of_drawn_edges_are_those_of_the_arrays(found: Recomputed) -> None:
    for role in ("teacher", "student"):
        model = found.result["models"][role]
        for contrast, circuit in model["circuits"].items():
            scores = found.arrays[f"{role}.edges.{contrast}"]
            for edge in circuit["circuit"]["edges"]:
                place = model["edges"].index(edge["edge"])
                assert scores[place] == pytest.approx(edge["score"], rel=1e-4, abs=1e-7)


@pytest.fixture(scope="module")
def intervened(tmp_path_factory: pytest.TempPathFactory) -> Intervened:
    """The teacher against itself with one idle head turned round and up until it disturbs."""
    home = tmp_path_factory.mktemp("interventions")
    student = changes.scale_head(load_checkpoint("teacher", check=False), "a2.h3", -12.0)
    student.hf.save_pretrained(home / "student")
    student.tokenizer.save_pretrained(home / "student")
    comparison = compare_models(
        "teacher",
        home / "student",
        task="nli-overlap",
        n_pairs=100,
        n_examples=20,
        n_probe_quads=0,
        n_resamples=50,
        discovery="none",
        check=False,
    )
    comparison.save(home / "out", figures=False)
    return Intervened(home / "out")


@pytest.mark.parametrize("seed", range(2))
def test_fifty_numbers_of_alignment_diff_and_tests_follow_from_the_arrays(
    intervened: Intervened, seed: int
) -> None:
    every = list(intervention_numbers(intervened.result))
    chosen = np.random.default_rng(seed).choice(len(every), N_NUMBERS, replace=False)
    for path, value in (every[i] for i in chosen):
        assert intervened.number(path) == pytest.approx(value, rel=2e-4, abs=5e-5), path


def test_one_number_of_each_kind_of_intervention_follows_from_the_arrays(
    intervened: Intervened,
) -> None:
    kinds: dict[str, tuple[str, float]] = {}
    for path, value in intervention_numbers(intervened.result):
        kinds.setdefault(re.sub(r"\d+", "0", path), (path, value))
    covered = {".".join(path.split(".")[:2]) for path in kinds}
    assert covered >= {
        *("tests.removal", "tests.necessity", "tests.transplant", "tests.threshold"),
        *("alignment.null", "alignment.links", "alignment.fates", "alignment.totals"),
        *("alignment.basis", "diff.nodes", "diff.distances"),
    }
    for path, value in kinds.values():
        assert intervened.number(path) == pytest.approx(value, rel=2e-4, abs=5e-5), path


def test_every_number_of_circuits_and_similarities_follows_from_the_arrays(
    found: Recomputed,
) -> None:
    every = [
        (path, value)
        for path, value in stored_numbers(found.result)
        if ".circuits." in path or path.startswith("similarity.")
    ]
    assert len(every) > 100
    for path, value in every:
        assert found.number(path) == pytest.approx(value, rel=2e-4, abs=2e-5), path
