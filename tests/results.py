"""A made-up result with every part of the schema, for the page and the figures."""

from made_up_examples import failures, margins, similarity, swapped, templates
from made_up_interventions import (
    changed_nodes,
    matched_heads,
    necessity,
    not_matched,
    removal,
    transplanted,
)
from made_up_numbers import null, number

from circuits.compare.storage import Json

ROLES = ("teacher", "student", "teacher_plain", "student_plain", "student_debiased")
ACCURACY = {
    "teacher": (0.999, 0.97, 1.0, 0.999),
    "student": (1.0, 0.11, 0.69, 0.998),
    "teacher_plain": (1.0, 0.04, 0.6, 0.999),
    "student_plain": (1.0, 0.07, 0.63, 1.0),
    "student_debiased": (0.998, 0.95, 0.996, 0.998),
}
MEASURES = {
    "id_accuracy": (0.99, 0.98, 0.99, 0.99, 0.99),
    "ood_accuracy": (0.99, 0.70, 0.66, 0.67, 0.98),
    "aligned_accuracy": (0.999, 0.999, 0.999, 1.0, 0.998),
    "conflicting_accuracy": (0.985, 0.40, 0.32, 0.35, 0.973),
    "spurious_gap": (0.014, 0.599, 0.68, 0.65, 0.025),
    "min_AC_accuracy": (0.999, 0.69, 0.6, 0.63, 0.996),
    "spurious_share": (0.016, 0.597, 0.68, 0.644, 0.027),
    "core_effect": (0.98, 0.40, 0.32, 0.35, 0.97),
    "shortcut_effect": (0.016, 0.595, 0.68, 0.644, 0.027),
    "interaction": (0.03, 0.55, 0.5, 0.5, 0.04),
    "total_range": (0.998, 0.997, 0.998, 0.998, 0.996),
    "spurious_share_logits": (0.02, 0.58, 0.67, 0.64, 0.03),
    "core_effect_logits": (20.1, 7.1, 5.2, 3.8, 17.3),
    "shortcut_effect_logits": (0.4, 9.8, 10.4, 6.7, 0.5),
    "total_range_logits": (20.5, 16.9, 15.6, 10.5, 17.8),
    "auc": (1.0, 0.91, 0.88, 0.9, 1.0),
    "auc_NL": (0.999, 0.6, 0.58, 0.59, 0.99),
    "auc4": (0.999, 0.79, 0.75, 0.77, 0.996),
    "confidence": (0.99, 0.98, 0.98, 0.97, 0.99),
    "confidence_when_right": (0.99, 0.99, 0.99, 0.98, 0.99),
    "confidence_when_wrong": (0.81, 0.96, 0.95, 0.93, 0.84),
    "entropy": (0.02, 0.04, 0.04, 0.05, 0.02),
    "ece": (0.01, 0.27, 0.3, 0.3, 0.02),
}
LAYERS = {"teacher": 3, "student": 2}


def effects(role: str, contrast: str) -> Json:
    strength = {("teacher", "core"): 0.5, ("teacher", "shortcut"): 0.01, ("student", "core"): 0.13}
    top = strength.get((role, contrast), 0.3)
    nodes: Json = {}
    for layer in range(LAYERS[role]):
        for head in range(4):
            value = top * ((-1) ** (layer + head) if head == 3 else 1) / (1 + head + layer)
            nodes[f"a{layer}.h{head}"] = {
                **number(value),
                "p": 0.01,
                "q": 0.02,
                "logits": number(20 * value, 0.4),
            }
        nodes[f"m{layer}"] = {
            **number(2 * top / (1 + layer)),
            "p": 0.001,
            "q": 0.002,
            "logits": number(40 * top, 0.4),
        }
    return {"direction": "noise", "unit": "share of the total range", "nodes": nodes}


def attribution(role: str, contrast: str) -> Json:
    """Near the exact effects, a little too large."""
    nodes = effects(role, contrast)["nodes"]
    assert isinstance(nodes, dict)
    return {
        "method": "attribution patching",
        "order": "first",
        "backend": "hooks",
        "pearson": number(0.97, 0.02),
        "nodes": {
            name: {
                **number(1.1 * found["value"] + 0.01),
                "logits": number(22 * found["value"], 0.4),
            }
            for name, found in nodes.items()
            if ".h" in name
        },
    }


def circuit_edges(role: str) -> list[str]:
    """All edges, reader by reader."""
    writers, edges = ["input"], list[str]()
    for layer in range(LAYERS[role]):
        heads = [f"a{layer}.h{head}" for head in range(4)]
        edges += [f"{w}->{h}<{part}>" for h in heads for part in "qkv" for w in writers]
        writers += heads
        edges += [f"{w}->m{layer}" for w in writers]
        writers.append(f"m{layer}")
    return edges + [f"{w}->logits" for w in writers]


def circuit(role: str, contrast: str) -> Json:
    """Every fifth edge, of either sign."""
    edges = circuit_edges(role)[:: 5 if contrast == "core" else 7]
    points: list[Json] = [
        {
            "percent": percent,
            "n_edges": max(1, int(percent * len(circuit_edges(role)) / 100)),
            "n_connected": len(edges),
            "faithfulness": number(min(1.0, percent / 20), 0.05, 32),
            "complement": number(0.1, 0.05, 32),
            "random": number(percent / 100, 0.05, 32),
            "frozen": number(min(1.0, percent / 25), 0.05, 32),
            "steps": {},
        }
        for percent in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
    ]
    stored: list[Json] = [
        {"edge": edge, "score": (-1) ** (i % 4 == 3) / (1 + i)} for i, edge in enumerate(edges)
    ]
    return {
        "method": "eap_ig_inputs",
        "n": {"chosen": 64, "tested": 64},
        "n_edges": len(circuit_edges(role)),
        "circuit": {**points[4], "reached": True, "unit": "logits", "edges": stored},
        "completeness": points[4]["complement"],
        "faithfulness": points,
        "clean": number(9.0, 0.5, 32),
        "cmd": number(0.2, 0.05, 32),
        "random_cmd": number(0.7, 0.05, 32),
    }


def direct(role: str, contrast: str) -> Json:
    """The MLPs more than the heads."""
    nodes = effects(role, contrast)["nodes"]
    assert isinstance(nodes, dict)
    kept = ("value", "low", "high", "n", "logits")
    return {
        "method": "direct attribution",
        "unit": "share of the total range",
        "nodes": {
            "input": {**number(0.0), "logits": number(0.0)},
            **{name: {key: found[key] for key in kept} for name, found in nodes.items()},
        },
    }


def stages() -> list[Json]:
    rows: list[Json] = []
    depths = {**LAYERS, "student_debiased": 2, "untrained_teacher": 3, "untrained_student": 2}
    for model, n_layers in depths.items():
        rows.append({"model": model, "stage": "input", "depth": 0.0, **readable(model, 0.0)})
        for layer in range(n_layers):
            for i, name in enumerate((f"a{layer}", f"m{layer}")):
                depth = (2 * layer + 1 + i) / (2 * n_layers)
                row: Json = {"model": model, "stage": name, "depth": depth}
                rows.append({**row, **readable(model, depth), **together(model, name, layer)})
    return rows


def readable(model: str, depth: float) -> Json:
    """What the probes would read: nothing in untrained nets, little of N and L in the student."""
    gains = {"student": (0.4, 0.1, 0.1, 0.3)}.get(model, (0.5, 0.5, 0.5, 0.02))
    if model.startswith("untrained"):
        gains = (0.0, 0.0, 0.0, 0.04)
    names = ("core_AC", "core_NL", "transfer", "shortcut")
    found = {n: number(0.5 + g * depth, 0.02, 1200) for n, g in zip(names, gains, strict=True)}
    return {**found, "core_AC_auc": found["core_AC"], "core_NL_auc": found["core_NL"]}


def together(model: str, name: str, layer: int) -> Json:
    """All heads of a layer, where they were patched."""
    if model not in LAYERS or not name.startswith("a"):
        return {}
    return {
        f"layer_{contrast}{suffix}": number(scale * part / (1 + layer))
        for contrast, scale in (("core", 0.9), ("shortcut", 0.5))
        for suffix, part in (("", 1.0), ("_patterns", 0.7), ("_values", 0.3))
    }


def matched_result() -> Json:
    """The same of two models whose heads are matched and whose streams have one basis."""
    result = made_up_result()
    result["alignment"] = matched_heads()
    result["diff"] = {"nodes": changed_nodes(), "distances": {}}
    tests = result["tests"]
    assert isinstance(tests, dict)
    tests["transplant"] = {"nodes": transplanted()}
    return result


def made_up_result() -> Json:
    models: Json = {}
    for index, role in enumerate(ROLES):
        described: Json = {
            "checkpoint": role.replace("_", "-"),
            "digest": "0123456789abcdef" * 4,
            "family": "bert",
            "role": role,
            "spec": {"n_layers": 3, "n_heads": 4, "d_model": 64},
            "behavior": {name: number(values[index], 0.01) for name, values in MEASURES.items()},
            "groups": {
                cell: {
                    "accuracy": number(accuracy, 0.01),
                    "confidence_when_wrong": number(0.93, 0.02, 60)
                    if accuracy < 0.98
                    else null("no wrong answers"),
                }
                for cell, accuracy in zip("ANCL", ACCURACY[role], strict=True)
            },
        }
        if role in LAYERS:
            described["effects"] = {c: effects(role, c) for c in ("core", "shortcut")}
            described["attribution"] = {c: attribution(role, c) for c in ("core", "shortcut")}
            described["circuits"] = {c: circuit(role, c) for c in ("core", "shortcut")}
            described["direct"] = {c: direct(role, c) for c in ("core", "shortcut")}
            described["edges"] = circuit_edges(role)
        models[role] = described
    return {
        "schema_version": 1,
        "config": {"teacher": "teacher", "student": "student", "direction": "noise", "seed": 0},
        "provenance": {
            "command": "python -m circuits.compare teacher student",
            "started": "2026-01-01T00:00:00+00:00",
            "seconds": 21.0,
            "versions": {"python": "3.11", "torch": "2.13.0"},
            "git_revision": "abc",
        },
        "task": {
            "name": "nli-overlap",
            "quads": [f"q{i}" for i in range(400)],
            "alignment": {},
            "has_quads": True,
        },
        "models": models,
        "agreement": {
            key: {"all": {"rate": number(rate), "kappa": number(rate / 2), "kl": number(1 - rate)}}
            for key, rate in zip(
                ("A", "N", "C", "L", "all"), (0.99, 0.13, 0.7, 0.99, 0.7), strict=True
            )
        },
        "losses": {"C": number(0.31), "N": number(0.86), "mean": number(0.585)},
        "retention": number(0.12),
        "erosion": {
            "spurious_gap": number(0.585),
            "spurious_share": number(0.581),
            "auc": number(-0.09),
            "auc4": number(-0.21),
            "conflicting_accuracy": number(-0.585),
        },
        "stages": stages(),
        "margins": margins(LAYERS),
        "similarity": similarity(LAYERS),
        "templates": templates(),
        "alignment": not_matched(),
        "diff": {"nodes": [], "reason": "Heads were not matched."},
        "tests": {
            "threshold": {"regained": number(0.02, 0.03, 200)},
            "swapped": swapped(),
            "removal": removal(),
            "necessity": necessity(),
            "transplant": null("the streams have different widths, 64 and 48"),
        },
        "verdict": {
            "status": "erosion",
            "location": "located",
            "stage": "m0",
            "sentences": ["Erosion: the student lost 0.59 (0.56 to 0.61).", "Loss on C: 0.31."],
        },
        "failures": failures(),
        "limits": ["Which heads correspond to which.", "Where it was lost."],
    }


def made_up_image_result(uri: str) -> Json:
    """The same of images: its failure shows this one."""
    result = made_up_result()
    for role in ROLES:
        models = result["models"]
        assert isinstance(models, dict)
        models[role]["spec"]["modality"] = "image"
    result["failures"] = [
        {
            "id": "q0",
            "cell": "C",
            "truth": "3",
            "teacher": 0.99,
            "student": 0.03,
            "input": {"image": uri},
        }
    ]
    return result
