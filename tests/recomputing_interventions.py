"""Numbers of `alignment`, `diff` and `tests` once more, in plain numpy."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from recomputing import CELLS, Recomputed, auc

KINDS = ("effects", "attention", "outputs")
TO_LABEL = np.array([1.0, 1.0, -1.0, -1.0])
CONTRASTS = ("core", "shortcut")
LOST = 0.1
LEAST_SHARE = 1e-3
NOT_RECOMPUTED = re.compile(
    # Ends of intervals, and what resamples and permutations decide; settings; counts.
    r"tests\.swapped\.|tests\.threshold\.threshold$|.*\.(low|high|n|p|q|stability|delta|seed|least_lead)$|.*\.(rows|units|held_out)\.\d+$"
)


class Intervened(Recomputed):
    """Numbers of models that were run again with something changed."""

    def rows(self, units: Sequence[str]) -> np.ndarray:
        place = {unit: i for i, unit in enumerate(self.result["task"]["quads"])}
        return np.array([place[unit] for unit in units])

    def truth_p(self, margins: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-margins * TO_LABEL))

    def number(self, path: str) -> float:
        match path.split("."):
            case ["tests", "threshold", name, *_]:
                return self.threshold(name)
            case ["tests", "removal", "controls", i]:
                return self.restored(self.arrays["tests.removal.margins"][1 + int(i)])["restored"]
            case ["tests", "removal", name, "value"]:
                return self.restored(self.arrays["tests.removal.margins"][0])[name]
            case ["tests", "necessity", "controls", i]:
                return self.falls(1 + int(i))["core"]
            case ["tests", "necessity", name, "value"]:
                return self.falls(0)[name]
            case ["tests", "transplant", "nodes", i, *rest]:
                return self.transplant(int(i), rest)
            case ["alignment", "null", *rest]:
                return self.null(rest)
            case ["alignment", "links", i, *rest]:
                return self.link(self.result["alignment"]["links"][int(i)], rest)
            case ["alignment", "totals", contrast]:
                return float(np.abs(self.masses("teacher")[contrast]).sum())
            case ["alignment", "fates", contrast, fate]:
                return self.fates(contrast)[fate]
            case ["alignment", "basis", "cosine"]:
                table = self.arrays["alignment.basis"]
                rows = self.result["alignment"]["basis"]["rows"]
                return float(np.mean([table[i, j] for i, j in enumerate(rows)]))
            case ["diff", "nodes", i, name, "value"]:
                return self.change(self.result["diff"]["nodes"][int(i)], name)
            case ["diff", "distances", *node]:
                return self.distance(".".join(node))
            case _:
                raise AssertionError(f"no formula for {path}")

    def threshold(self, name: str) -> float:
        found = self.result["tests"]["threshold"]
        rows, threshold = self.rows(found["tested_on"]), found["threshold"]
        is_label = TO_LABEL > 0
        before, own, after = (
            (margins[rows] > at) == is_label
            for margins, at in (
                (self.margins("teacher"), 0.0),
                (self.margins("student"), 0.0),
                (self.margins("student"), threshold),
            )
        )
        loss = (before[:, [1, 2]] * 1.0 - own[:, [1, 2]]).mean()
        gain = (after[:, [1, 2]] * 1.0 - own[:, [1, 2]]).mean()
        aligned = (after[:, [0, 3]] * 1.0 - own[:, [0, 3]]).mean()
        if name == "auc4_loss":
            ranked = [self.p(role)[rows] for role in ("teacher", "student")]
            return auc(ranked[0][:, :2], ranked[0][:, 2:]) - auc(ranked[1][:, :2], ranked[1][:, 2:])
        regained = (gain + min(aligned, 0.0)) / loss
        return float(
            {"loss": loss, "gain": gain, "aligned_gain": aligned, "regained": regained}[name]
        )

    def restored(self, changed: np.ndarray) -> dict[str, float]:
        rows = self.rows(self.result["tests"]["run_on"])
        teacher, student = (self.truth_p(self.margins(r)[rows]) for r in ("teacher", "student"))
        after = self.truth_p(changed)
        loss = (teacher - student)[:, [1, 2]].mean()
        gain = (after - student)[:, [1, 2]].mean()
        cost = (student - after)[:, [0, 3]].mean()
        return {"restored": (gain - max(cost, 0.0)) / loss, "gain": gain, "cost": cost}

    def falls(self, i: int) -> dict[str, float]:
        rows = self.rows(self.result["tests"]["run_on"])
        margins = self.margins("teacher")[rows], self.arrays["tests.necessity.margins"][i]
        (a, n, c, low), (a2, n2, c2, low2) = ((1 / (1 + np.exp(-m))).mean(0) for m in margins)
        return {
            "core": ((a - c + n - low) - (a2 - c2 + n2 - low2)) / 2,
            "shortcut": ((a - n + c - low) - (a2 - n2 + c2 - low2)) / 2,
        }

    def transplant(self, i: int, rest: list[str]) -> float:
        stored = self.result["tests"]["transplant"]["nodes"][i]
        found = [self.restored(margins) for margins in self.arrays["tests.transplant.margins"][i]]
        controls = dict(zip(stored["controls"], found[1:], strict=True))
        match rest:
            case ["controls", name]:
                return controls[name]["restored"]
            case ["credit", "value"]:
                return found[0]["restored"] - max(each["restored"] for each in controls.values())
            case ["label_auc"]:
                along = self.arrays["tests.transplant.along"][i]
                return auc(along[:, :2], along[:, 2:])
            case [name, *_]:
                return found[0][name]
            case _:
                raise AssertionError(rest)

    def null(self, rest: list[str]) -> float:
        own = self.match_and_lead("own")
        others = {
            name: name.replace(" ", "_") for name in self.result["alignment"]["null"]["nulls"]
        }
        match rest:
            case ["own", "value"]:
                return own[0]
            case ["lead", "value"]:
                return own[1]
            case ["nulls", name, "value"]:
                return self.match_and_lead(others[name])[0]
            case ["excess", "value"]:
                return own[0] - max(self.match_and_lead(each)[0] for each in others.values())
            case ["typical"]:
                tables = [self.arrays[f"alignment.{each}"] for each in others.values()]
                best = [np.concatenate([t.max(0), t.max(1)]) for t in tables]
                return float(np.quantile(np.concatenate(best), 0.95))
            case _:
                raise AssertionError(rest)

    def match_and_lead(self, pair: str) -> tuple[float, float]:
        parts = self.arrays[f"alignment.parts.{pair}"][0]
        found: list[tuple[float, float]] = []
        for chooses, tests in (parts, parts[::-1]):
            n_teacher, n_student = chooses.shape
            if n_teacher <= n_student:
                found.append(crossed(chooses, tests))
            if n_student <= n_teacher:
                found.append(crossed(chooses.T, tests.T))
        match, lead = np.mean(found, axis=0)
        return float(match), float(lead)

    def link(self, link: dict[str, Any], rest: list[str]) -> float:
        t, s = self.head("teacher", link["teacher"]), self.head("student", link["student"])
        match rest:
            case ["similarity"]:
                return float(self.arrays["alignment.own"][t, s])
            case ["kinds", kind]:
                return float(self.arrays[f"alignment.kinds.{kind}"][t, s])
            case ["mass", contrast]:
                return float(self.masses("teacher")[contrast][t])
            case ["student_mass", contrast]:
                return float(self.masses("student")[contrast][s])
            case _:
                raise AssertionError(rest)

    def head(self, role: str, name: str) -> int:
        layer, head = map(int, re.findall(r"\d+", name))
        return layer * self.result["models"][role]["spec"]["n_heads"] + head

    def masses(self, role: str) -> dict[str, np.ndarray]:
        """Mean effect of each head on the quads of the alignment, as a share of the range."""
        used = set(self.result["alignment"]["units"])
        effects: dict[str, np.ndarray] = {}
        span = 0.0
        for contrast in CONTRASTS:
            units = self.result["task"]["pairs"][contrast]["units"]
            rows = [i for i, unit in enumerate(units) if unit in used]
            clean, corrupted = (
                self.arrays[f"{role}.{side}.{contrast}"][rows] for side in ("clean", "corrupted")
            )
            span += (clean - corrupted).mean()
            values = self.arrays[f"{role}.{contrast}"][rows]
            effects[contrast] = values.reshape(len(rows), -1).mean(0)
        return {contrast: found / abs(span) for contrast, found in effects.items()}

    def fates(self, contrast: str) -> dict[str, float]:
        links = self.result["alignment"]["links"]
        ours, theirs = (self.masses(role)[contrast] for role in ("teacher", "student"))
        sums = dict.fromkeys(("preserved", "weakened", "lost", "merged", "unmatched"), 0.0)
        for head, effect in enumerate(ours):
            own = [link for link in links if self.head("teacher", link["teacher"]) == head]
            if not own:
                sums["unmatched"] += abs(effect)
            elif own[0]["relation"] == "merged":
                sums["merged"] += abs(effect)
            else:
                there = sum(theirs[self.head("student", link["student"])] for link in own)
                kept = min(max(np.sign(effect) * there, 0.0), abs(effect))
                sums["preserved"] += kept
                sums["lost" if kept < LOST * abs(effect) else "weakened"] += abs(effect) - kept
        return sums

    def change(self, node: dict[str, Any], name: str) -> float:
        before, after = (self.share(r, node[r], node["contrast"]) for r in ("teacher", "student"))
        return {"before": before, "after": after, "difference": after - before}[name]

    def share(self, role: str, nodes: list[str], contrast: str) -> float:
        tested = self.result["diff"]["units"]
        units = np.array(self.result["task"]["pairs"][contrast]["units"])
        values = np.zeros(len(units))
        for node in nodes:
            array, column = self.column(role, "effects", contrast, node)
            place = tuple(int(number) for number in re.findall(r"\d+", column))
            values = values + self.arrays[array][(slice(None), *place)]
        means = [values[units == unit].mean() for unit in tested]
        margins = self.margins(role)[self.rows(tested)].mean(0)
        return float(np.mean(means) / (margins[0] - margins[CELLS.index("L")]))

    def distance(self, node: str) -> float:
        place = list(self.result["diff"]["distances"]).index(node)
        n = self.arrays["diff.tokens"].sum()
        moved, spread, row = (
            np.sqrt(self.arrays[f"diff.{name}"][place].sum() / n)
            for name in ("moved", "spread", "row")
        )
        return float(moved / max(spread, LEAST_SHARE * row))


def crossed(chooses: np.ndarray, tests: np.ndarray) -> tuple[float, float]:
    matched: list[float] = []
    leads: list[float] = []
    for choice, tested in zip(chooses, tests, strict=True):
        best = int(np.argmax(choice))
        matched.append(tested[best])
        leads.append(tested[best] - max(np.delete(tested, best).max(), 0.0))
    return float(np.mean(matched)), float(np.mean(leads))


def intervention_numbers(result: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of the three parts that no resample decides."""
    for part in ("tests", "alignment", "diff"):
        for path, value in _numbers(result[part], part):
            if not NOT_RECOMPUTED.match(path):
                yield path, value


def _numbers(part: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _numbers(value, f"{path}.{key}")
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from _numbers(value, f"{path}.{i}")
    elif isinstance(part, float):
        yield path, part
