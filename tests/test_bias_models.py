"""Bias models beyond counts: hypothesis only, and probabilities from a table."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from behavior.errors import DataError, RecipeError
from behavior.examples import Example, TextInput
from behavior.tasks import load_task
from distillation.bias_models import FITTED, fit_bias_model
from distillation.prepare import prepare
from distillation.recipe import BiasModelRecipe
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
CLASSES = ("non-entailment", "entailment")
Writer = Callable[[list[dict[str, object]]], Path]


def items(n: int) -> list[Example[TextInput]]:
    return [Example(str(i), TextInput("a cat sat", "a cat"), CLASSES[i % 2]) for i in range(n)]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write_rows(rows: list[dict[str, object]]) -> Path:
        path = tmp_path / "bias.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path

    return write_rows


def rows_of(probabilities: list[float]) -> list[dict[str, object]]:
    return [
        {"id": str(i), "entailment": p, "non-entailment": 1 - p, "note": "x"}
        for i, p in enumerate(probabilities)
    ]


def look_up(path: Path, n: int) -> torch.Tensor:
    recipe = BiasModelRecipe("file", path=str(path))
    model = fit_bias_model(recipe, items(n), torch.arange(n) % 2, CLASSES, {})
    return model(items(n)[::-1])


def test_the_hypothesis_alone_gives_a_label_away_that_stands_in_it() -> None:
    inputs = [
        TextInput("one man is here", hypothesis)
        for hypothesis in ("nobody sleeps", "a man sleeps", "nobody runs", "a man runs")
    ] * 10
    labels = torch.tensor([0, 1, 0, 1] * 10)
    model = FITTED["hypothesis-only"](inputs, labels, 2)
    asked = [TextInput("whatever", "nobody walks"), TextInput("nobody is here", "a man walks")]
    found = model(asked).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(2))
    assert found[0, 0] > 0.8 and found[1, 1] > 0.8


def test_the_hypothesis_alone_is_at_chance_where_the_shortcut_is_in_the_pair() -> None:
    drawn = list(load_task("nli-overlap", rho=0.5).examples("train", 2000))
    labels = torch.tensor([CLASSES.index(example.label) for example in drawn])
    model = FITTED["hypothesis-only"]([x.input for x in drawn[:1000]], labels[:1000], 2)
    right = model([x.input for x in drawn[1000:]]).argmax(-1) == labels[1000:]
    assert right.float().mean() < 0.6


def test_a_hypothesis_is_needed_and_every_class() -> None:
    with pytest.raises(DataError, match=r"hypothesis-only .* needs premise and hypothesis"):
        FITTED["hypothesis-only"]([TextInput("a"), TextInput("b")], torch.tensor([0, 1]), 2)
    with pytest.raises(DataError, match="holds 1 of 2 classes"):
        FITTED["hypothesis-only"]([TextInput("a", "b")], torch.tensor([0]), 2)


def test_a_table_is_read_by_id_whatever_its_order_and_format(write: Writer, tmp_path: Path) -> None:
    rows = rows_of([0.9, 0.25, 1.0])
    expected = torch.tensor([[0.0, 1.0], [0.75, 0.25], [0.1, 0.9]])
    torch.testing.assert_close(look_up(write(rows), 3).exp(), expected, atol=1e-5, rtol=0)
    path = tmp_path / "bias.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(reversed(rows))
    torch.testing.assert_close(look_up(path, 3).exp(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of([0.9]), r"no row for 1 of 2 training items, such as '1'"),
        ([*rows_of([0.9, 0.1]), *rows_of([0.5])], r"row 3: '0' was given before"),
        ([{"id": "0", "entailment": 0.5}], r"row 1: has no column 'non-entailment'"),
        ([{"id": "0", "entailment": 0.5, "non-entailment": 0.6}], r"no probabilities that sum"),
        ([{"id": "0", "entailment": "x", "non-entailment": 0.6}], r"are no numbers"),
        ([{"entailment": 0.5, "non-entailment": 0.5}], r"row 1: has no id"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(
    write: Writer, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        look_up(write(rows), 2)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bias.jsonl"
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        look_up(path, 1)
    path.write_text("entailment: 1\n")
    with pytest.raises(DataError, match="is no table of JSON lines or CSV"):
        look_up(path, 1)


def test_a_recipe_takes_its_bias_from_a_table(write: Writer) -> None:
    drawn = list(load_task("nli-overlap", rho=0.99).examples("train", 40, seed=3))
    path = write(
        [
            {"id": x.id, "entailment": i / 40, "non-entailment": 1 - i / 40}
            for i, x in enumerate(drawn)
        ]
    )
    settings = ["data.n=40", f"bias_model={{name: file, path: {path}}}"]
    bias = prepare(load_recipe(RECIPES / "teacher.yaml", settings), 3, {}).materials.signals.bias
    assert bias is not None
    torch.testing.assert_close(bias[1:, 1].exp(), torch.arange(1, 40) / 40)


def test_a_table_needs_a_path() -> None:
    with pytest.raises(RecipeError, match="path is needed for bias model 'file'"):
        load_recipe(RECIPES / "teacher.yaml", ["bias_model=file"])
