"""What a setting of a recipe has to be, said in one line."""

from behavior.errors import RecipeError


def require(fine: bool, key: str, expected: str, value: object) -> None:
    """Refuse a setting.

    Raises:
        RecipeError: If it is not fine, naming the key, what was expected and the value.
    """
    if not fine:
        raise RecipeError(f"{key} must be {expected}, got {value!r}.")


def require_classes(classes: tuple[str, ...]) -> None:
    """Refuse fewer than two classes, or a name given twice."""
    fine = len(classes) >= 2 and len(set(classes)) == len(classes)
    require(fine, "classes", "at least two names, all different", classes)


def require_heads(d_model: int, n_heads: int) -> None:
    """Refuse a width that the heads cannot share."""
    require(d_model % n_heads == 0, "d_model", f"a multiple of n_heads = {n_heads}", d_model)
