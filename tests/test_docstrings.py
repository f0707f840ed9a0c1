"""Public names say what they are, and public functions say which errors they raise."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from behavior import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("behavior", "patching", "probes", "distillation", "circuits")
EXPORTING = (*PACKAGES, "circuits.compare")
FIXED = {
    "behavior": ("load_task", "Task.examples", "Task.quads", "Task.pairs"),
    "patching": (
        *("load_checkpoint", "patch_heads", "attribute_heads"),
        *("Effects.heads", "PatchableModel"),
    ),
    "circuits": ("discover", "faithfulness", "Circuit"),
    "circuits.compare": ("compare_models", "Comparison", "Comparison.load"),
}
"""What notebooks and outside checks rely on."""

ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.CircuitsError)
}


def public_objects() -> dict[str, object]:
    """Exported names, the fixed names, and the public members of exported classes, by path."""
    found: dict[str, object] = {}
    for package in EXPORTING:
        module = importlib.import_module(package)
        names = (*getattr(module, "__all__", ()), *FIXED.get(package, ()))
        for name in names:
            first, _, member = name.partition(".")
            value = getattr(module, first)
            found[f"{package}.{name}"] = getattr(value, member) if member else value
            if inspect.isclass(value):
                for inner, part in _members(value):
                    found[f"{package}.{first}.{inner}"] = part
    return found


def _members(kind: type) -> Iterator[tuple[str, object]]:
    for name, value in vars(kind).items():
        method = inspect.isfunction(value) or isinstance(value, property | classmethod)
        if method and not name.startswith("_"):
            yield name, value


PUBLIC = public_objects()


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_has_a_docstring_that_opens_with_a_sentence(path: str) -> None:
    text = inspect.getdoc(PUBLIC[path])
    assert text, f"{path} has no docstring"
    first = text.split("\n\n")[0]
    assert first[0].isupper() or first[0] in "`'\"[", first
    assert first.rstrip().endswith((".", ":", "?")), first


def raising_functions() -> dict[str, tuple[ast.FunctionDef, set[str]]]:
    """Public functions and methods that raise an error of ours in their own body."""
    found: dict[str, tuple[ast.FunctionDef, set[str]]] = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for path, node in _public_functions(tree, str(file.relative_to(ROOT))):
                raised = _raised(node)
                if raised:
                    found[path] = (node, raised)
    return found


def _public_functions(
    tree: ast.Module | ast.ClassDef, path: str
) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            inner = f"{path}::{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from _public_functions(node, inner)
            else:
                yield inner, node


def _raised(function: ast.FunctionDef) -> set[str]:
    """Names of our errors that are raised and not caught on the spot."""
    return {
        node.exc.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in ERRORS
    }


RAISING = raising_functions()


@pytest.mark.parametrize("path", RAISING)
def test_a_public_function_says_which_of_our_errors_it_raises(path: str) -> None:
    node, raised = RAISING[path]
    _, _, said = (ast.get_docstring(node) or "").partition("Raises:")
    for name in raised:
        ancestors = {kind.__name__ for kind in ERRORS[name].__mro__}
        assert any(each in said for each in ancestors & set(ERRORS)), f"{path} is silent on {name}"
