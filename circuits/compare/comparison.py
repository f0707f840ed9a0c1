"""`Comparison`: what was found, frozen; stored, loaded, drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from behavior.staging import staged_folder, writing
from circuits.compare.config import PAIR, ComparisonConfig
from circuits.compare.figures import ComparisonFigures
from circuits.compare.heatmaps import write_heatmaps
from circuits.compare.page.notebook import notebook_html
from circuits.compare.page.report import write_report
from circuits.compare.reading import branch, text
from circuits.compare.storage import (
    Json,
    read_result,
    write_result,
)
from circuits.compare.stored_diff import StoredDiff
from circuits.compare.summary import terminal_summary
from circuits.compare.verdict import Status, Verdict


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """The result of one comparison.

    Attributes:
        result: Every number, under the names of `result.json`.
        arrays: Per-example arrays, from which the numbers can be recomputed: `<role>.core` and
            `<role>.shortcut` [pair, row, head] in logits, `<role>.attribution.<contrast>` alike,
            `<role>.logits.<cell>` [quad, class] and more, in the order of `result["task"]`;
            `circuits.compare.causal.numbers` lists those of `alignment`, `diff` and `tests`.
    """

    result: Json
    arrays: Mapping[str, np.ndarray]

    @property
    def verdict(self) -> Verdict:
        """What was concluded."""
        stored = branch(self.result, "verdict")
        return Verdict(
            status=cast(Status, stored["status"]),
            location=cast("str | None", stored["location"]),
            stage=cast("str | None", stored["stage"]),
            sentences=tuple(cast("list[str]", stored["sentences"])),
        )

    @property
    def config(self) -> ComparisonConfig:
        """What was asked for."""
        return ComparisonConfig.from_json(branch(self.result, "config"))

    @property
    def figures(self) -> ComparisonFigures:
        """The figures, each a plotly `Figure`."""
        return ComparisonFigures(self.result)

    @property
    def diff(self) -> StoredDiff:
        """What became of matched nodes; `.to_dataframe()` gives the table."""
        return StoredDiff(self.result)

    def __repr__(self) -> str:
        found = self.verdict
        said = found.status if found.location is None else f"{found.status}, {found.location}"
        teacher, student = (text(self.result, "models", role, "checkpoint") for role in PAIR)
        return f"<comparison of {teacher} with {student}: {said}>"

    def __str__(self) -> str:
        return terminal_summary(self.result)

    def _repr_html_(self) -> str:
        """The verdict and its tiles, for a notebook."""
        return notebook_html(self.result)

    def save(
        self, folder: str | Path, *, overwrite: bool = False, figures: bool = True
    ) -> tuple[str, ...]:
        """Write the whole folder, or nothing.

        Args:
            folder: Where to.
            overwrite: Replace an older comparison there.
            figures: Draw the heatmaps as pages and pictures; their tables are always written.

        Returns:
            Remarks, such as that no Chrome was found for the pictures.

        Raises:
            ResultError: If the folder exists, or cannot be written.
        """
        with staged_folder(Path(folder), overwrite) as stage:
            return self.write(stage, Path(folder), figures=figures)

    def write(self, stage: Path, folder: Path, *, figures: bool = True) -> tuple[str, ...]:
        """Write every file into a folder that exists.

        Args:
            stage: The folder.
            folder: Its name for messages.
            figures: As in `save`.

        Raises:
            ResultError: If it cannot be written.
        """
        with writing(folder):
            write_result(stage, self.result, self.arrays)
            write_report(stage, self.result)
            return write_heatmaps(stage, self.result, figures=figures)

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read what `save` wrote.

        Raises:
            ResultError: If the folder holds no result that this version can read.
        """
        result, arrays = read_result(Path(folder))
        return cls(result, arrays)
