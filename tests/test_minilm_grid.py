"""The grid of real words, from an empty folder, with a tiny network and files of a few lines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from modelmaking import make_bert

from distillation.evidence.__main__ import main as evidence
from distillation.families import PretrainedRecipe
from distillation.grid import GridRun, Schedule, load_grid
from distillation.grid.local import InProcess
from distillation.recipe import Recipe

GRID = Path(__file__).parents[1] / "recipes" / "grids" / "minilm.yaml"
NOUNS = ("doctor", "judge", "senator", "author", "lawyer", "actor")
SOURCE = Path("a-pretrained-bert")


def write_files(folder: Path) -> None:
    """Rows in the layouts of MNLI, SNLI and HANS."""
    folder.mkdir()
    labels = ("entailment", "neutral", "contradiction")
    lines = [f"the {a} saw the {b} .\tthe {b} ran .\t" for a in NOUNS for b in NOUNS]
    pairs = [f"{line}{labels[i % 3]}" for i, line in enumerate(lines)]
    for name in ("mnli", "snli"):
        (folder / f"{name}_train.tsv").write_text("premise\thypothesis\tlabel\n" + "\n".join(pairs))
    rows = ["gold_label\tsentence1\tsentence2\tpairID\theuristic\tsubcase\ttemplate"]
    for a in NOUNS:
        for b in NOUNS:
            said = f"The {a} was seen by the {b} ."
            for label, subcase, hypothesis in (
                ("entailment", "le_passive", f"The {b} saw the {a} ."),
                ("non-entailment", "ln_passive", f"The {a} saw the {b} ."),
            ):
                if a != b:
                    number = f"ex{len(rows)}"
                    cells = (label, said, hypothesis, number, "lexical_overlap", subcase, "temp1")
                    rows.append("\t".join(cells))
    (folder / "hans_train.tsv").write_text("\n".join(rows) + "\n")


def shorten(recipe: Recipe) -> Recipe:
    """Eight items of each part, three steps."""
    parts = cast(list[Mapping[str, Any]], recipe.data.options["parts"])
    few = [{**part, "n": min(8, int(part["n"]))} for part in parts]
    data = replace(recipe.data, options={**recipe.data.options, "parts": few})
    assert isinstance(recipe.model, PretrainedRecipe)
    model = replace(recipe.model, source=str(SOURCE), max_length=32)
    short = replace(recipe, data=data, model=model)
    return replace(short, optimization=replace(recipe.optimization, steps=3, batch_size=4))


def test_the_grid_runs_from_an_empty_folder_and_its_evidence_has_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "data")
    make_bert(SOURCE, n_layers=6, scale=1.0)
    plan = [GridRun(shorten(run.recipe), 0) for run in load_grid(GRID, seeds=[0])]
    states = Schedule(plan, tmp_path / "runs", InProcess()).run()
    assert len(states) == 11
    assert {state.state: state.reason for state in states.values()} == {"done": None}

    hans = "data/hans_train.tsv"
    command = ["runs", "--grid", str(GRID), "--seeds", "0", "--out", "out", "--quads", "4"]
    command += ["--task", "hans-quads", "--examples", hans, "--labelled", hans, "--two-way"]
    assert evidence(command) == 0
    assert "11 runs measured, 0 missing" in capsys.readouterr().out
