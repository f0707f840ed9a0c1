"""What became of matched nodes, read from a stored result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd

from circuits.compare.reading import branch, estimate, listing, text
from circuits.compare.storage import Json

COLUMNS = (
    *("teacher", "student", "contrast", "category", "origin"),
    *("before", "after", "difference", "low", "high", "p", "q", "stability", "n"),
)


@dataclass(frozen=True, slots=True)
class StoredDiff:
    """The diff of one comparison.

    Attributes:
        result: A stored result.
    """

    result: Mapping[str, object]

    @property
    def nodes(self) -> list[Json]:
        """Each group of matched nodes under each contrast, as stored."""
        return listing(self.result, "diff", "nodes")

    @property
    def reason(self) -> str:
        """Why there are no nodes; empty if there are some."""
        return "" if self.nodes else text(self.result, "diff", "reason")

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each group and contrast; no rows where heads are not matched.

        Effects (`before` of the teacher, `after` of the student, their `difference` with the
        ends of its 95 % interval) are shares of each model's own total range.
        """
        return pd.DataFrame([_row(node) for node in self.nodes], columns=list(COLUMNS))

    def __repr__(self) -> str:
        said = f"; {self.reason}" if self.reason else ""
        return f"<diff of {len(self.nodes)} comparisons of nodes{said}>"


def _row(node: Json) -> dict[str, object]:
    difference = branch(node, "difference")
    return {
        **{side: "+".join(cast("Sequence[str]", node[side])) for side in ("teacher", "student")},
        **{name: node.get(name) for name in ("contrast", "category", "origin")},
        **{name: estimate(node, name).value for name in ("before", "after", "difference")},
        "low": difference.get("low"),
        "high": difference.get("high"),
        **{name: node.get(name) for name in ("p", "q", "stability")},
        "n": difference.get("n"),
    }
