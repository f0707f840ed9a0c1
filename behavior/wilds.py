"""Folders of images with a confounder, such as Waterbirds and CelebA: groups, and no quads.

The format is that of group DRO and WILDS: a folder of images and a `metadata.csv` with

    img_filename    path of the image, from the folder on (`filename` is read as well)
    y               class
    place           confounder; another column is named by `confounder`
    split           0 or train, 1 or val, 2 or test

The group of an example is its class and its place. The shortcut of a group points to the label
if the two occur together in the train split *more often than if they were independent*. How
often alone would not do: most people in CelebA are not blond, men and women, and yet it is men
whose being blond is rare. Where they are independent, or there is no train split, it is not known
where the shortcut points, unless `aligned` says so.

Files are looked for when the folder is read, and opened when their pixels are asked for.
WILDS: Koh et al. 2021, https://arxiv.org/abs/2012.07421.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from behavior.errors import DataError
from behavior.examples import Example, SourceReport
from behavior.inputs import ImageInput
from behavior.rows import Row, file_digest, is_file, read_rows
from behavior.sources import SourceTask

METADATA = "metadata.csv"

_FILE = ("img_filename", "filename")
_SPLITS = {
    "train": ("0", "train"),
    "validation": ("1", "val", "valid", "validation", "dev"),
    "test": ("2", "test"),
}
_LIMITS = (
    "Its images have no counterfactuals, so there are neither pairs nor quads; nodes are patched "
    "by mean ablation."
)


@dataclass(frozen=True, slots=True)
class _Image:
    row: Row
    file: str
    split: str
    y: str
    place: str


def read_wilds(
    path: Path,
    confounder: str = "place",
    *,
    labels: Sequence[str] | None = None,
    aligned: Sequence[str] | None = None,
) -> SourceTask[ImageInput]:
    """A task from a folder with a `metadata.csv`, or from such a file beside its images.

    Args:
        path: The folder or the file.
        confounder: Column of the shortcut.
        labels: Names of the classes, in the order of the values of y; the values if None.
        aligned: Groups whose shortcut points to the label, such as `waterbird/1`; found from the
            train split if None.

    Raises:
        DataError: If a column or an image is missing, or a row cannot be used; the message names
            the line.
    """
    metadata = path / METADATA if path.is_dir() else path
    images = [_read(row, confounder) for row in read_rows(metadata)]
    _check_unique(images)
    names = _label_names(metadata, images, labels)
    points = _directions(images) if aligned is None else _given(metadata, images, names, aligned)
    examples = {
        split: tuple(_example(image, names, points) for image in images if image.split == split)
        for split in _SPLITS
        if any(image.split == split for image in images)
    }
    known = {f"{names[y]}/{place}": side for (y, place), side in sorted(points.items())}
    return SourceTask(
        name="wilds",
        source={
            "path": str(path),
            "sha256": file_digest(metadata),
            "confounder": confounder,
            "aligned": known,
        },
        items=examples,
        reports={"examples": SourceReport(len(images))},
        limits=_LIMITS,
    )


def has_groups(row: Row) -> bool:
    """Whether a row has an image, a class and a split."""
    return any(map(row.has, _FILE)) and row.has("y", "split")


def _read(row: Row, confounder: str) -> _Image:
    if confounder.casefold() not in row.fields:
        raise row.error(
            f"there is no column {confounder!r}. Found: {row.columns()}. Name the column of the "
            "shortcut with confounder=..."
        )
    file, given = row.text(*_FILE), row.text("split")
    split = next((name for name, forms in _SPLITS.items() if given.casefold() in forms), None)
    if split is None:
        raise row.error(
            f"unknown split {given!r}. Expected one of: "
            + ", ".join(form for forms in _SPLITS.values() for form in forms)
            + "."
        )
    if not is_file(row.path.parent / file):
        raise row.error(f"there is no image {file!r} in {row.path.parent}. Check the path.")
    return _Image(row, file, split, row.text("y"), row.text(confounder))


def _check_unique(images: Sequence[_Image]) -> None:
    lines: dict[str, int] = {}
    for image in images:
        if image.file in lines:
            raise image.row.error(
                f"image {image.file!r} stands on line {lines[image.file]} too. List it once."
            )
        lines[image.file] = image.row.line


def _label_names(
    metadata: Path, images: Sequence[_Image], labels: Sequence[str] | None
) -> dict[str, str]:
    """Name of each value of y."""
    values = sorted({image.y for image in images}, key=_numbers_first)
    names = values if labels is None else list(labels)
    if len(names) != len(values) or len({name.casefold() for name in names}) != len(names):
        raise DataError(
            f"{metadata}: labels is {names}, but y has the values {', '.join(values)}. Give each "
            "a name of its own, in this order."
        )
    return dict(zip(values, names, strict=True))


def _directions(images: Sequence[_Image]) -> dict[tuple[str, str], bool | None]:
    """Whether class and place go together in the train split, for each group."""
    train = [image for image in images if image.split == "train"]
    groups = Counter((image.y, image.place) for image in train)
    classes = Counter(image.y for image in train)
    places = Counter(image.place for image in train)
    points: dict[tuple[str, str], bool | None] = {}
    for y, place in {(image.y, image.place) for image in images}:
        observed, independent = groups[y, place] * len(train), classes[y] * places[place]
        points[y, place] = None if observed == independent else observed > independent
    return points


def _given(
    metadata: Path, images: Sequence[_Image], names: Mapping[str, str], aligned: Sequence[str]
) -> dict[tuple[str, str], bool | None]:
    groups = {f"{names[image.y]}/{image.place}": (image.y, image.place) for image in images}
    unknown = sorted(set(aligned) - set(groups))
    if unknown:
        raise DataError(
            f"{metadata}: there is no group {unknown[0]!r}. Found: {', '.join(sorted(groups))}."
        )
    return {key: group in aligned for group, key in groups.items()}


def _example(
    image: _Image, names: Mapping[str, str], points: Mapping[tuple[str, str], bool | None]
) -> Example[ImageInput]:
    label = names[image.y]
    return Example(
        id=image.file,
        input=ImageInput(image.row.path.parent / image.file),
        label=label,
        aligned=points[image.y, image.place],
        group=f"{label}/{image.place}",
    )


def _numbers_first(value: str) -> tuple[float, str]:
    try:
        return (float(value), value)
    except ValueError:
        return (float("inf"), value)
