"""Alignment, diff and causal tests of made-up results."""

from made_up_numbers import number

from circuits.compare.storage import Json

LAYERS = {"teacher": 3, "student": 2}


def null_of_alignment(own: float, lead: float) -> Json:
    """Six untrained nets, of which the second is the best null."""
    nulls: Json = {
        f"untrained {role} {seed}": number(
            0.05 + 0.04 * (role == "student") - 0.01 * seed, 0.03, 128
        )
        for seed in range(3)
        for role in LAYERS
    }
    return {
        "own": number(own, 0.03, 128),
        "lead": number(lead, 0.03, 128),
        "least_lead": 0.1,
        "nulls": nulls,
        "excess": number(own - 0.09, 0.04, 128),
        "typical": 0.12,
    }


def not_matched() -> Json:
    heads = {role: [f"a{i}.h{j}" for i in range(n) for j in range(4)] for role, n in LAYERS.items()}
    return {
        "level": "stages",
        "reason": "Heads of these models cannot be matched: they are as alike as untrained nets.",
        "null": null_of_alignment(0.07, -0.02),
        "links": [],
        "unmatched": heads,
        "fates": {},
        "totals": {},
    }


def matched_heads() -> Json:
    """Each head of the student is that of the teacher's last layers, one place further on."""
    links: list[Json] = [
        {
            "teacher": f"a{layer + 1}.h{head}",
            "student": f"a{layer}.h{(head + 1) % 4}",
            "relation": "one",
            "similarity": 0.9 - 0.05 * head,
            "kinds": {"effects": 0.9},
            "mass": {"core": 0.1, "shortcut": 0.0},
            "student_mass": {"core": 0.1, "shortcut": 0.0},
        }
        for layer in range(2)
        for head in range(4)
    ]
    links.append({**links[0], "teacher": "a2.h3", "relation": "merged"})
    return {
        "level": "heads",
        "reason": "Heads of these models can be matched: they beat the best null by 0.71.",
        "null": null_of_alignment(0.8, 0.4),
        "links": links,
        "unmatched": {"teacher": [f"a0.h{head}" for head in range(4)], "student": []},
        "fates": {
            "core": {"preserved": 0.6, "weakened": 0.2, "lost": 0.1, "merged": 0, "unmatched": 0.1},
            "shortcut": {"preserved": 0.02, "weakened": 0, "lost": 0, "merged": 0, "unmatched": 0},
        },
        "totals": {"core": 1.0, "shortcut": 0.02},
    }


def changed_nodes() -> list[Json]:
    """Twelve comparisons: one lost with origin own, two weakened, the others preserved."""
    kinds = ["lost", "weakened", "weakened"] + ["preserved"] * 9
    return [
        {
            "teacher": [f"a{1 + i // 4}.h{i % 4}"] if i < 8 else ["m1"],
            "student": [f"a{i // 4}.h{(i + 1) % 4}"] if i < 8 else ["m0"],
            "contrast": "shortcut" if i % 5 == 4 else "core",
            "category": kind,
            "origin": "own" if kind == "lost" else "inherited" if kind == "weakened" else None,
            "before": number(0.3, 0.02, 200),
            "after": number(0.3 - 0.25 / (1 + i), 0.02, 200),
            "difference": number(-0.25 / (1 + i), 0.02, 200),
            "p": 0.001,
            "q": 0.001 if kind != "preserved" else 1.0,
            "stability": 0.98,
        }
        for i, kind in enumerate(kinds)
    ]


def restored(value: float) -> Json:
    return {
        "restored": number(value, 0.08, 100),
        "gain": number(0.6 * value + 0.05, 0.03, 100),
        "cost": number(0.05, 0.02, 100),
    }


def removal() -> Json:
    return {
        "heads": ["a0.h1", "a1.h0"],
        "searched": "all 255 sets",
        **restored(0.19),
        "controls": [-0.6 + 0.04 * i for i in range(20)],
        "p": 0.05,
        "removable": False,
    }


def necessity() -> Json:
    return {
        "heads": ["a1.h0", "a2.h1"],
        "core": number(0.37, 0.08, 100),
        "shortcut": number(0.01, 0.02, 100),
        "controls": [0.02 * i for i in range(20)],
        "p": 0.1,
        "necessary": True,
    }


def transplanted() -> list[Json]:
    """Three nodes, of which the first restores more than its controls."""
    return [
        {
            "student": f"a1.h{i}",
            "teacher": f"a2.h{i}",
            **restored(0.4 / (1 + i)),
            "controls": {"another example": 0.02, "label direction": 0.1, "untrained": -0.3},
            "credit": number(0.3 - 0.25 * i, 0.08, 100),
            "label_auc": 0.9,
            "label_decodable": False,
        }
        for i in range(3)
    ]
