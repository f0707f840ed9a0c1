"""`python -m circuits.validate`: what it measures, and how it answers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from behavior.errors import CircuitsError
from circuits.discovery import METHODS
from circuits.discovery.scores import EdgeScores
from circuits.plants import FAMILIES, KINDS, Plant, make_plant
from circuits.plants.recipe import NoPlantError
from circuits.validate import options as declared
from circuits.validate import running
from circuits.validate.__main__ import main
from circuits.validate.figure import GOALS, METRIC, validation_figure
from circuits.validate.options import read_validate_options
from circuits.validate.running import Row, summarise
from circuits.validate.scoring import Case, correlation, edge_strength, node_strength
from circuits.validate.table import draw_table

N = 8
SEED = 3000


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(make_plant("wired", "bert", seed=SEED), "core", N)


def with_values(scores: EdgeScores, values: torch.Tensor) -> EdgeScores:
    return replace(scores, values=values.to(scores.values).expand(len(scores), -1).clone())


def test_the_truth_itself_ranks_perfectly_and_its_opposite_not_at_all(case: Case) -> None:
    scores, _ = case.score("random")
    truth = case.plant.truth("core").double()
    best = case.measure(with_values(scores, truth))
    assert best["edge_auroc"] == best["edge_ap"] == best["edge_precision"] == 1
    worst = case.measure(with_values(scores, 1 - truth))
    assert worst["edge_auroc"] == worst["edge_precision"] == 0
    assert best["cmd"] < worst["cmd"]


def test_on_wired_plants_methods_are_perfect_and_chance_is_chance(case: Case) -> None:
    exact, seconds = case.score("exact_edges")
    one = case.forward_seconds()
    assert 0 < one < seconds
    for method in ("eap", "eap_ig_inputs", "exact_edges"):
        scores, _ = case.score(method)
        found = case.measure(scores)
        assert found["edge_auroc"] > 0.995
        assert found["node_auroc"] > 0.99
        assert found["cmd"] < 0.1
        r = correlation(scores, exact)
        assert r is not None
        assert r > 0.5
    random = case.measure(case.score("random")[0])
    assert 0.25 < random["edge_auroc"] < 0.75
    assert random["cmd"] > 0.3


def test_chance_has_an_auroc_of_one_half_over_seeds(case: Case) -> None:
    pairs = case.plant.pairs("core", 2)
    settled = case.plant.scored("core")
    truth = case.plant.truth("core")[settled]
    found = [
        roc_auc_score(
            truth, edge_strength(METHODS["random"](case.plant.model, pairs, seed=seed))[settled]
        )
        for seed in range(40)
    ]
    assert sum(found) / len(found) == pytest.approx(0.5, abs=0.05)


def test_nodes_of_edges_chosen_together_count_by_their_strongest_edge(case: Case) -> None:
    scores, _ = case.score("random")
    assert scores.level == "joint"
    first = scores.edges[0]
    values = torch.tensor([float(edge == first) for edge in scores.edges])
    found = node_strength(with_values(scores, values))
    assert found.pop(first.partition("->")[0]) == 1
    assert set(found.values()) == {0.0}


def test_scores_in_another_unit_are_not_correlated_with_effects(case: Case) -> None:
    exact, _ = case.score("exact_edges")
    assert correlation(case.score("random")[0], exact) is None
    assert correlation(exact, exact) == pytest.approx(1)


def test_a_plant_counts_once_and_intervals_are_over_plants() -> None:
    rows = [
        Row("even", "bert", seed, contrast, "eap", {"edge_ap": value})
        for seed, contrast, value in ((0, "core", 0.2), (0, "shortcut", 0.4), (1, "core", 0.7))
    ]
    found = summarise(rows, ["eap"])["even"]["eap"]
    assert found["edge_ap"].value == pytest.approx(0.5)
    assert found["edge_ap"].n == 2
    assert found["edge_ap"].low is not None
    assert found["edge_ap"].low < 0.3
    assert found["cmd"].value is None
    assert found["cmd"].reason


def test_the_table_has_a_line_for_each_method_and_says_what_its_numbers_are() -> None:
    rows = [Row("even", "bert", 0, "core", m, {"edge_ap": 0.5}) for m in ("eap", "random")]
    text = draw_table(summarise(rows, ["eap", "random"]))
    lines = text.splitlines()
    assert lines[0] == "even: 1 plant, and so no intervals"
    assert len({len(line) for line in lines[1:4]}) == 1
    assert [line.split()[0] for line in lines[2:4]] == ["eap", "random"]
    assert ".50" in lines[2]
    assert "95 % t intervals" in text


def test_the_command_runs_plants_in_processes_and_writes_what_one_process_finds(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, drawn = tmp_path / "found.json", tmp_path / "found.html"
    arguments = ["--plants", "2", "--sets", "wired", "--families", "bert", "--n-pairs", str(N)]
    arguments += ["--methods", "eap", "--seed", str(SEED // 1000)]
    assert main([*arguments, "--json", str(file), "--figure", str(drawn)]) == 0
    out, err = capsys.readouterr()
    assert "wired: 2 plants" in out
    assert "2 of 2 plants: wired (bert, seed 300" in err
    assert "edge AP (n = 2 plants)" in drawn.read_text(encoding="utf-8")
    found = json.loads(file.read_text(encoding="utf-8"))
    for metric in ("edge_auroc", "edge_ap", "node_auroc", "node_ap", "cmd"):
        assert 0 <= found["sets"]["wired"]["eap"][metric]["value"] <= 1.5
    assert found["sets"]["wired"]["eap"]["edge_ap"]["n"] == 2
    assert found["sets"]["wired"]["eap"]["forwards"]["value"] > 0
    assert found["settings"]["jobs"] == 2 and len(found["rows"]) == 4
    assert found["rows"][0]["planted"]["true_edges"] > 5
    assert "--seed 3" in found["provenance"]["command"]
    apart = {row["seed"]: row["values"] for row in found["rows"] if row["contrast"] == "core"}
    here = case.measure(case.score("eap")[0])
    assert {name: apart[SEED][name] for name in here} == pytest.approx(here, abs=1e-9)
    assert apart[SEED + 1] != apart[SEED]


def test_the_figure_has_every_number_with_its_interval_and_the_goals() -> None:
    rows = [
        Row(kind, "bert", seed, "core", method, {METRIC: value + 0.1 * seed})
        for kind in ("wired", "hard")
        for seed in (0, 1)
        for method, value in (("eap", 0.5), ("random", 0.1))
    ]
    summary = summarise(rows, ["eap", "random", "exact_edges"])
    figure: Any = validation_figure(summary)
    assert len(figure.data) == 2
    for trace, kind in zip(figure.data, ("wired", "hard"), strict=True):
        assert list(trace.y) == ["eap", "random"]
        for i, method in enumerate(trace.y):
            each = summary[kind][method][METRIC]
            assert trace.x[i] == each.value
            assert each.high is not None and each.value is not None
            assert trace.error_x.array[i] == pytest.approx(each.high - each.value)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["wired: edge AP (n = 2 plants)", "hard: edge AP (n = 2 plants, goal 0.9)"]
    assert [line.x0 for line in figure.layout.shapes] == [GOALS["hard"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plants", "0"], "plants is 0. Give at least 1."),
        (["--seed", "-1"], "seed is -1. Give a whole number of at least 0."),
        (["--sets", "wired,tame"], "Unknown sets: 'tame'. Expected some of: wired, even"),
        (["--methods", "acdc"], "Unknown methods: 'acdc'. Expected some of: eap,"),
        (["--families", ","], "No families given. Expected some of: bert, gpt2, vit"),
        (["--option", "steps=3"], "'steps=3' is no option of a method. Expected METHOD.NAME="),
        (["--option", "eap_ig_inputs.steps=x"], "'eap_ig_inputs.steps=x' has no number"),
        (["--figure", "found.pdf"], "found.pdf is no figure. Give a file that ends in .html,"),
        (["--figure", "/nowhere/at/all.html"], "There is no folder for /nowhere/at/all.html."),
        (["--json", "/nowhere/at/all.json"], "There is no folder for /nowhere/at/all.json."),
    ],
)
def test_what_cannot_be_run_is_answered_by_one_line_and_code_two(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert expected in err
    assert err.count("\n") == 1


def test_options_of_methods_are_numbers_by_name() -> None:
    found = read_validate_options(
        ["--option", "eap_ig_inputs.steps=3", "--option", "edge_mask.reach=0.5"]
    )
    assert found.option == {"eap_ig_inputs": {"steps": 3}, "edge_mask": {"reach": 0.5}}


def test_an_unknown_option_leaves_with_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read_validate_options(["--plant", "3"])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_names_on_the_command_line_are_those_that_exist() -> None:
    assert declared.SETS == KINDS
    assert declared.FAMILIES == FAMILIES
    assert tuple(METHODS) == declared.METHODS
    with pytest.raises(CircuitsError, match="Unknown families"):
        read_validate_options(["--families", "lstm"])


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from circuits.validate.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as left:\n    assert left.code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hard         cancelling, saturated" in done.stdout


def test_a_seed_of_which_no_plant_comes_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = running.make_plant

    def barren(kind: str, family: str, seed: int) -> Plant:
        if seed == 5001:
            raise NoPlantError("No wired plant came of seed 5001.")
        return made(kind, family, seed, n_layers=2, n_pairs=16)

    monkeypatch.setattr(running, "make_plant", barren)
    asked = ["--sets", "wired", "--families", "bert", "--methods", "eap", "--n-pairs", "8"]
    asked += ["--jobs", "1"]
    assert main([*asked, "--plants", "2", "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    assert "wired: 1 plant, and so no intervals\n" in out
    assert "2 of 2 plants: wired (bert, seed 5001, none came of this seed)" in err
    monkeypatch.setattr(running, "_PER_SEED", 5001)
    assert main([*asked, "--plants", "1", "--seed", "1"]) == 2
    assert "No plant came of any of these seeds. Try another --seed." in capsys.readouterr().err
