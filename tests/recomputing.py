"""Every number of a result once more, in plain numpy, from `arrays.safetensors` alone."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

CELLS = "ANCL"
SAYS_LABEL = {"core_AC": (1, 0), "core_NL": (1, 0), "transfer": (1, 0), "shortcut": (1, 0, 1, 0)}


class Recomputed:
    """Every number again, from the stored arrays."""

    def __init__(self, folder: Path) -> None:
        self.result = json.loads((folder / "result.json").read_text())
        self.arrays = {
            name: values.astype(np.float64)
            for name, values in load_file(folder / "arrays.safetensors").items()
        }
        task = self.result["task"]
        self.label = np.array([task["labels"].index(name) for name in task["label"]])
        self.foil = np.array([task["labels"].index(name) for name in task["foil"]])

    def logits(self, role: str) -> np.ndarray:
        """[quad, cell, label]; the classes of these models are the labels of the task."""
        classes = self.result["models"][role]["spec"]["classes"]
        assert sorted(classes) == sorted(self.result["task"]["labels"])
        order = [classes.index(label) for label in self.result["task"]["labels"]]
        return np.stack([self.arrays[f"{role}.logits.{cell}"][:, order] for cell in CELLS], axis=1)

    def truth(self) -> np.ndarray:
        return np.stack([self.label, self.label, self.foil, self.foil], axis=1)

    def margins(self, role: str) -> np.ndarray:
        rows = np.arange(len(self.label))
        logits = self.logits(role)
        return logits[rows, :, self.label] - logits[rows, :, self.foil]

    def p(self, role: str) -> np.ndarray:
        return 1 / (1 + np.exp(-self.margins(role)))

    def right(self, role: str) -> np.ndarray:
        return self.logits(role).argmax(-1) == self.truth()

    def softmax(self, role: str) -> np.ndarray:
        powers = np.exp(self.logits(role))
        return powers / powers.sum(-1, keepdims=True)

    def behavior(self, role: str, name: str) -> float:
        a, n, c, low = (self.margins(role) if name.endswith("_logits") else self.p(role)).mean(0)
        right, p = self.right(role), self.p(role)
        core, shortcut = (a - c + n - low) / 2, (a - n + c - low) / 2
        aligned, conflicting = right[:, [0, 3]].mean(), right[:, [1, 2]].mean()
        found = {
            "core_effect": core, "shortcut_effect": shortcut, "total_range": a - low,
            "interaction": (a - c) - (n - low), "mean_margin": (a + n + c + low) / 4,
            "spurious_share": shortcut / (core + shortcut), "aligned_accuracy": aligned,
            "conflicting_accuracy": conflicting, "spurious_gap": aligned - conflicting,
            "ood_accuracy": right.mean(), "min_AC_accuracy": right[:, [0, 2]].mean(0).min(),
            "accuracy_gap_AC": right[:, 0].mean() - right[:, 2].mean(),
            "auc": auc(p[:, [0]], p[:, [2]]), "auc_NL": auc(p[:, [1]], p[:, [3]]),
            "auc4": auc(p[:, :2], p[:, 2:]),
        }  # fmt: skip
        found |= distribution(self.softmax(role), right)
        return found[name.removesuffix("_logits")]

    def group(self, role: str, cell: str, name: str) -> float:
        i = CELLS.index(cell)
        right = self.right(role)[:, i]
        found = {"accuracy": right.mean(), "margin": self.margins(role)[:, i].mean(),
                 "probability": self.p(role)[:, i].mean()}  # fmt: skip
        return (found | distribution(self.softmax(role)[:, i], right))[name]

    def loss(self, name: str) -> float:
        gained = (self.p("student") - self.p("teacher")).mean(0)
        found = {"C": gained[2], "N": -gained[1]}
        return found.get(name, (gained[2] - gained[1]) / 2)

    def agreement(self, group: str, split: str, name: str) -> float:
        teacher, student = (self.logits(role).argmax(-1) for role in ("teacher", "student"))
        columns = list(CELLS) if group == "all" else [group]
        kept = np.zeros_like(teacher, dtype=bool)
        kept[:, [CELLS.index(cell) for cell in columns]] = True
        right = self.right("teacher")
        kept &= {"all": right | True, "teacher_right": right, "teacher_wrong": ~right}[split]
        p, q = (self.softmax(role)[kept] for role in ("teacher", "student"))
        same = float((teacher == student)[kept].mean())
        chance = sum((teacher[kept] == k).mean() * (student[kept] == k).mean() for k in range(2))
        middle = (p + q) / 2
        return {
            "rate": same,
            "kappa": (same - chance) / (1 - chance) if chance < 1 else np.nan,
            "kl": kl(p, q),
            "js": (kl(p, middle) + kl(q, middle)) / 2,
        }[name]

    def template(self, name: str, part: str, key: str) -> float:
        kept = np.array(self.result["task"]["templates"]) == name
        if part != "losses":
            return float(self.right(part)[kept, CELLS.index(key)].mean())
        gained = (self.p("student") - self.p("teacher"))[kept].mean(0)
        return {"C": gained[2], "N": -gained[1]}.get(key, (gained[2] - gained[1]) / 2)

    def retention(self) -> float:
        plain, teacher, student = (
            self.behavior(role, "spurious_share")
            for role in ("teacher_plain", "teacher", "student")
        )
        return (plain - student) / (plain - teacher)

    def effect(self, role: str, array: str, node: str, unit: str) -> float:
        """Mean of a column: of a head [pair, row, head], of an MLP or a row [pair, row]."""
        numbers = [int(number) for number in re.findall(r"\d+", node)]
        mean = self.arrays[array][(slice(None), *numbers)].mean()
        margins = self.margins(role).mean(0)
        return float(mean if unit == "logits" else mean / (margins[0] - margins[3]))

    def number(self, path: str) -> float:
        match path.split("."):
            case ["models", role, "behavior", name, "value"]:
                return self.behavior(role, name)
            case ["models", role, "groups", cell, name, "value"]:
                return self.group(role, cell, name)
            case ["losses", name, "value"]:
                return self.loss(name)
            case ["erosion", name, "value"]:
                return self.behavior("student", name) - self.behavior("teacher", name)
            case ["retention", "value"]:
                return self.retention()
            case ["agreement", group, split, name, "value"]:
                return self.agreement(group, split, name)
            case ["models", role, kind, contrast, "nodes", *node, "value"]:
                unit = "logits" if node[-1] == "logits" else "share"
                name = ".".join(part for part in node if part != "logits")
                return self.effect(role, *self.column(role, kind, contrast, name), unit)
            case ["stages", row, name, "value"]:
                return self.stage(self.result["stages"][int(row)], name)
            case ["margins", row, cell, "value"]:
                place = self.result["margins"][int(row)]
                margins = self.arrays[f"{place['model']}.lens.{place['stage']}"]
                return float(margins[:, CELLS.index(cell)].mean())
            case ["templates", row, *what, "value"]:
                return self.template(self.result["templates"][int(row)]["template"], *what)
            case ["models", role, "circuits", contrast, *what, "value"]:
                return self.circuit(role, contrast, what)
            case ["similarity", "pairs", row, what, "value"]:
                return self.similarity(self.result["similarity"]["pairs"][int(row)], what)
            case _:
                raise AssertionError(f"no formula for {path}")

    def circuit(self, role: str, contrast: str, what: list[str]) -> float:
        """f of circuits, areas under it, and the two ends, from margins of the tested pairs."""
        run = {
            name: self.arrays[f"{role}.circuits.{contrast}.{name}"]
            for name in ("clean", "corrupted", "kept", "complement", "random", "frozen")
        }
        stored = self.result["models"][role]["circuits"][contrast]
        if what[0] in ("clean", "corrupted"):
            return float(run[what[0]].mean())
        # The pairs of a quad follow one another: A to C, N to L, or A to N, C to L.
        first = {"A->C": 0, "N->L": 1, "A->N": 0, "C->L": 1}
        shares = {
            "faithfulness": share(run, run["kept"]),
            "complement": share(run, run["complement"]),
            "random": share(run, run["random"]).mean(-1),
            "frozen": share(run, run["frozen"]),
        } | {step: share(run, run["kept"], slice(i, None, 2)) for step, i in first.items()}
        percents = np.array(stored["settings"]["percents"]) / 100
        sizes = [point["n_edges"] for point in stored["faithfulness"]]
        if what[0] in ("cpr", "cmd", "random_cpr", "random_cmd"):
            curve = run["random"] if "random" in what[0] else run["kept"][:, :, None]
            f = share(run, curve)
            f = np.abs(1 - f) if "cmd" in what[0] else f
            return float(np.trapezoid(f.mean(-1), percents))
        if what[0] == "completeness":
            return float(shares["complement"][sizes.index(stored["circuit"]["n_edges"])])
        size = sizes.index(stored["circuit"]["n_edges"])
        if what[0] == "faithfulness":
            size, what = int(what[1]), what[1:]
        return float(shares[what[-1]][size])

    def similarity(self, row: dict[str, Any], what: str) -> float:
        """CKA from the upper triangles of the Gram matrices."""
        if what == "difference":
            return self.similarity(row, "aligned") - self.similarity(row, "conflicting")
        side = ("aligned", "conflicting").index(what)
        x, y = (self.arrays[f"{r}.grams.{row[r]}"][side] for r in ("teacher", "student"))
        return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))

    def column(self, role: str, kind: str, contrast: str, node: str) -> tuple[str, str]:
        if kind == "direct":
            writers = list(self.result["models"][role]["direct"][contrast]["nodes"])
            return f"{role}.direct.{contrast}", str(writers.index(node))
        if node.startswith("m"):
            return f"{role}.mlps.{contrast}", node
        middle = "" if kind == "effects" else "attribution."
        return f"{role}.{middle}{contrast}", node

    def stage(self, row: dict[str, Any], name: str) -> float:
        model, stage = row["model"], row["stage"]
        if name.startswith("layer_"):
            _, contrast, *rest = name.split("_")
            what = next((part for part in rest if part != "logits"), "layers")
            unit = "logits" if "logits" in rest else "share"
            return self.effect(model, f"{model}.{what}.{contrast}", stage, unit)
        question = name.removesuffix("_auc")
        margins = self.arrays[f"{model}.probe.{stage}.{question}"]
        wanted = np.array(SAYS_LABEL[question], dtype=bool)
        if name.endswith("_auc"):
            return auc(margins[:, wanted], margins[:, ~wanted])
        return float(((margins >= 0) == wanted).mean())


def share(run: dict[str, np.ndarray], values: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    clean, corrupted = run["clean"][rows].mean(), run["corrupted"][rows].mean()
    return (values[rows].mean(0) - corrupted) / (clean - corrupted)


def auc(above: np.ndarray, below: np.ndarray) -> float:
    differences = above.reshape(-1, 1) - below.reshape(1, -1)
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(-1).mean())


def distribution(p: np.ndarray, right: np.ndarray) -> dict[str, float]:
    confidence = p.max(-1)
    return {
        "confidence": float(confidence.mean()),
        "confidence_when_right": float(confidence[right].mean()) if right.any() else np.nan,
        "confidence_when_wrong": float(confidence[~right].mean()) if (~right).any() else np.nan,
        "entropy": float(-(p * np.log(p)).sum(-1).mean()),
    }
