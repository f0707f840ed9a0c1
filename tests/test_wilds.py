"""WILDS-style folders: groups, where their shortcut points, and what is said about broken ones."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from behavior.errors import DataError
from behavior.examples import ImageInput
from behavior.tasks import load_task, open_examples

Groups = dict[tuple[int, int], int]

WATERBIRDS: Groups = {(0, 0): 35, (0, 1): 2, (1, 0): 1, (1, 1): 11}
CELEBA: Groups = {(0, 0): 72, (0, 1): 67, (1, 0): 23, (1, 1): 1}


def rows(groups: Groups, split: object = 0, start: int = 0) -> list[dict[str, object]]:
    made = [(y, place) for (y, place), n in groups.items() for _ in range(n)]
    return [
        {"img_id": i, "img_filename": f"pictures/{i}.png", "y": y, "split": split, "place": place}
        for i, (y, place) in enumerate(made, start)
    ]


def folder(path: Path, listed: list[dict[str, object]], **rename: str) -> Path:
    (path / "pictures").mkdir()
    for row in listed:
        name = path / str(row["img_filename"])
        if not name.exists():
            pixels = np.full((2, 3, 3), int(str(row["img_id"])) % 256, np.uint8)
            Image.fromarray(pixels).save(name)
    with (path / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([rename.get(name, name) for name in listed[0]])
        writer.writerows(row.values() for row in listed)
    return path


def aligned_groups(task_path: Path, **options: object) -> dict[str, bool | None]:
    task = load_task("wilds", path=task_path, **options)
    return {e.group: e.aligned for split in task.splits for e in task.examples(split)}


def test_folder_gives_groups_in_three_splits_and_no_quads(tmp_path: Path) -> None:
    listed = rows(WATERBIRDS) + rows({(0, 1): 4}, 1, 49) + rows({(1, 0): 3}, 2, 53)
    task = load_task("wilds", path=folder(tmp_path, listed))
    assert (task.name, task.splits) == ("wilds", ("train", "validation", "test"))
    assert not task.has_quads
    assert (task.n_quads, task.n_pairs("core")) == (0, 0)
    assert [len(list(task.examples(split))) for split in task.splits] == [49, 4, 3]
    first = next(task.examples("test"))
    assert (first.id, first.label, first.group) == ("pictures/53.png", "1", "1/0")
    assert first.input == ImageInput(tmp_path / "pictures/53.png")
    assert (first.input.pixels() == 53).all()
    assert str(task.reports["examples"]) == "56 kept, 0 dropped"
    with pytest.raises(DataError, match=r"holds no quads.*no counterfactuals.*mean ablation"):
        task.quads(1)


@pytest.mark.parametrize("groups", [WATERBIRDS, CELEBA], ids=["waterbirds", "celeba"])
def test_shortcut_points_to_the_class_that_goes_with_the_place(
    tmp_path: Path, groups: Groups
) -> None:
    assert aligned_groups(folder(tmp_path, rows(groups))) == (
        {"0/0": True, "0/1": False, "1/0": False, "1/1": True}
        if groups is WATERBIRDS
        else {"0/0": False, "0/1": True, "1/0": True, "1/1": False}
    )


def test_train_split_alone_decides_where_the_shortcut_points(tmp_path: Path) -> None:
    turned = {(0, 0): 1, (0, 1): 30, (1, 0): 30, (1, 1): 1}
    path = folder(tmp_path, rows(WATERBIRDS) + rows(turned, 2, 49))
    assert aligned_groups(path) == {"0/0": True, "0/1": False, "1/0": False, "1/1": True}


@pytest.mark.parametrize(
    ("groups", "split"), [({(0, 0): 4, (0, 1): 2, (1, 0): 2, (1, 1): 1}, 0), (WATERBIRDS, 2)]
)
def test_direction_that_the_train_split_does_not_show_is_unknown(
    tmp_path: Path, groups: Groups, split: int
) -> None:
    assert set(aligned_groups(folder(tmp_path, rows(groups, split))).values()) == {None}


def test_aligned_groups_can_be_named(tmp_path: Path) -> None:
    path = folder(tmp_path, rows(WATERBIRDS, 2))
    found = aligned_groups(path, labels=("land", "water"), aligned=["land/0", "water/1"])
    assert found == {"land/0": True, "land/1": False, "water/0": False, "water/1": True}


def test_labels_name_the_values_of_y_in_order(tmp_path: Path) -> None:
    listed = rows({(10, 0): 2, (-1, 0): 2, (2, 0): 2})
    task = load_task("wilds", path=folder(tmp_path, listed), labels=["minus", "two", "ten"])
    assert [e.label for e in task.examples("train")] == ["ten"] * 2 + ["minus"] * 2 + ["two"] * 2


def test_other_confounder_and_other_names_of_splits_and_columns(tmp_path: Path) -> None:
    listed = rows(CELEBA, "train") + rows({(0, 1): 2}, "val", 163) + rows({(1, 1): 2}, "Test", 165)
    path = folder(tmp_path, listed, place="Male", img_filename="filename")
    task = load_task("wilds", path=path, confounder="male")
    assert task.splits == ("train", "validation", "test")
    assert task.describe()["confounder"] == "male"


def test_folder_and_metadata_are_recognised(tmp_path: Path) -> None:
    path = folder(tmp_path, rows(WATERBIRDS))
    from_folder, from_file = open_examples(path), open_examples(path / "metadata.csv")
    assert from_folder.name == from_file.name == "wilds"
    assert list(from_folder.examples("train")) == list(from_file.examples("train"))


def test_corrupt_image_is_named_when_it_is_opened(tmp_path: Path) -> None:
    path = folder(tmp_path, rows(WATERBIRDS))
    (path / "pictures/0.png").write_bytes(b"\x89PNG")
    first, second = list(load_task("wilds", path=path).examples("train"))[:2]
    assert second.input.pixels().shape == (2, 3, 3)
    with pytest.raises(DataError, match=r"pictures/0\.png: "):
        first.input.pixels()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": 3}, r"line 3: unknown split '3'\. Expected one of: 0, train, 1, val"),
        ({"y": ""}, r"line 3: 'y' is missing or empty"),
        ({"place": " "}, r"line 3: 'place' is missing or empty"),
        ({"img_filename": "pictures/0.png"}, r"line 3: image 'pictures/0\.png' stands on line 2"),
    ],
)
def test_broken_row_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    listed = rows(WATERBIRDS)
    listed[1] |= change
    with pytest.raises(DataError, match=r"metadata\.csv, " + message):
        load_task("wilds", path=folder(tmp_path, listed))


def test_missing_image_is_named_with_its_line(tmp_path: Path) -> None:
    path = folder(tmp_path, rows(WATERBIRDS))
    (path / "pictures/2.png").unlink()
    with pytest.raises(DataError, match=r"metadata\.csv, line 4: there is no image 'pictures/2"):
        load_task("wilds", path=path)


@pytest.mark.parametrize("column", ["img_filename", "y", "split", "place"])
def test_missing_column_is_named_with_those_found(tmp_path: Path, column: str) -> None:
    path = folder(tmp_path, rows(WATERBIRDS), **{column: "other"})
    with pytest.raises(DataError, match=rf"metadata\.csv, line 2: .*'{column}'.*Found: .*'other'"):
        load_task("wilds", path=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["land"]}, r"labels is \['land'\], but y has the values 0, 1"),
        ({"labels": ["land", "Land"]}, r"labels is .*a name of its own"),
        ({"aligned": ["0/2"]}, r"there is no group '0/2'\. Found: 0/0, 0/1, 1/0, 1/1"),
        ({"confounder": "gender"}, r"no column 'gender'\. Found: .*confounder="),
    ],
)
def test_option_that_does_not_fit_is_said(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_task("wilds", path=folder(tmp_path, rows(WATERBIRDS)), **options)


def test_folder_without_metadata_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metadata\.csv: there is no such file"):
        load_task("wilds", path=tmp_path)
