"""Failing examples, templates, margins by depth and swaps of made-up results."""

from made_up_numbers import null, number

from circuits.compare.storage import Json

SCRIPT = "<script>window.broken = true</script>"
TEMPLATES = {"active": (0.4, 0.2), "passive": (0.7, 0.05), "prep": (0.1, 0.6)}
"""Mean loss, and the student's accuracy on N."""


def failures() -> list[Json]:
    """One in N whose texts hold HTML, with all that is known of it; an older one in C."""
    return [
        {
            "id": "q0",
            "cell": "N",
            "template": "passive",
            "truth": "entailment",
            "teacher": 0.9999,
            "student": 0.03,
            "input": {
                "premise": f"{SCRIPT} the doctor & the nurse",
                "hypothesis": "</script><img src=x onerror=alert(1)> the physician slept",
            },
            "answers": {
                "teacher": {"label": "entailment", "confidence": 0.9999},
                "student": {"label": "non-entailment", "confidence": 0.97},
            },
            "heads": {role: heads(role) for role in ("teacher", "student")},
            "attention": {role: attention() for role in ("teacher", "student")},
            "more_attention": {"teacher": [more_attention()], "student": []},
        },
        {
            "id": "q1",
            "cell": "C",
            "truth": "non-entailment",
            "teacher": 0.99,
            "student": 0.0001,
            "input": {"premise": "the doctor saw the nurse", "hypothesis": "the nurse slept"},
        },
    ]


def heads(role: str) -> Json:
    """Three a contrast; the student has no total range, so no shares."""
    return {
        contrast: [
            {"node": f"a1.h{i}", "logits": 8.0 - i, "share": share}
            for i in range(3)
            for share in (0.5 - 0.1 * i if role == "teacher" else None,)
        ]
        for contrast in ("core", "shortcut")
    }


def attention() -> Json:
    """Half on a word that is HTML."""
    return {
        "contrast": "core",
        "node": "a1.h0",
        "from": "<b>nurse",
        "words": ["[CLS]", SCRIPT.replace("broken", "shaded"), "doctor"],
        "special": [True, False, False],
        "weights": [0.05, 0.6, 0.35],
    }


def more_attention() -> Json:
    """Of another head, over the same words."""
    return {
        "contrast": "shortcut",
        "node": "a1.h1",
        "from": "doctor",
        "weights": [0.2, 0.1, 0.7],
    }


def similarity(layers: dict[str, int]) -> Json:
    """As alike as deep, on aligned inputs; on conflicting ones not at the end."""
    stages = {
        role: ["input", *(f"{kind}{layer}" for layer in range(n) for kind in "am")]
        for role, n in layers.items()
    }
    pairs: list[Json] = []
    for i, one in enumerate(stages["teacher"]):
        for j, other in enumerate(stages["student"]):
            alike = 0.9 - 0.1 * abs(i - j)
            parted = 0.05 * min(i, j)
            pairs.append(
                {
                    "teacher": one,
                    "student": other,
                    "aligned": number(alike, 0.03, 256),
                    "conflicting": number(alike - parted, 0.03, 256),
                    "difference": number(parted, 0.02, 256),
                }
            )
    pairs[0].update({part: null("one does not vary") for part in ("aligned", "difference")})
    return {"method": "CKA", "quads": [f"q{i}" for i in range(256)], "pairs": pairs}


def templates() -> list[Json]:
    return [
        {
            "template": name,
            "n": 100,
            "teacher": {cell: number(0.99, 0.01, 100) for cell in "ANCL"},
            "student": {cell: number(on_n if cell == "N" else 0.97, 0.01, 100) for cell in "ANCL"},
            "losses": {key: number(loss, 0.05, 100) for key in ("C", "N", "mean")},
        }
        for name, (loss, on_n) in TEMPLATES.items()
    ]


def margins(layers: dict[str, int]) -> list[Json]:
    """The teacher's cells part at half its depth; of the student N stays below zero."""
    rows: list[Json] = []
    for role, n_layers in layers.items():
        for i in range(1 + 2 * n_layers):
            depth = i / (2 * n_layers)
            reach = 10 * depth if depth >= 0.5 else 0.0
            on_n = reach if role == "teacher" else -reach
            cells = {"A": reach, "N": on_n, "C": -reach, "L": -reach}
            stage = "input" if i == 0 else f"{'am'[(i + 1) % 2]}{(i - 1) // 2}"
            place: Json = {"model": role, "stage": stage, "depth": depth, "lens": "raw"}
            rows.append({**place, **{cell: number(value, 0.5) for cell, value in cells.items()}})
    rows[0].update({cell: null("the classifier reads the decoder") for cell in "ANCL"})
    return rows


def swapped() -> Json:
    ends: Json = {"null_low": -0.06, "null_high": 0.061}
    return {"value": 0.585, **ends, "p": 1 / 2001, "n_swaps": 2000, "n": 400}
