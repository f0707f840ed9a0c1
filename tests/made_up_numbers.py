"""Numbers as they are stored, for made-up results."""

from circuits.compare.storage import Json


def number(value: float, half: float = 0.02, n: int = 400) -> Json:
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def null(reason: str) -> Json:
    return {"value": None, "reason": reason, "n": 0}
