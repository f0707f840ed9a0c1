"""From a declaration to the modules of one model, row by row."""

from collections.abc import Iterator
from math import gcd
from typing import Any, cast

from torch import nn
from transformers import PreTrainedModel

from behavior.errors import SelfCheckError
from patching.models.architecture import Architecture, RowPaths, StackPaths
from patching.models.projections import weight_of
from patching.models.rows import BoundModules, LayerModules

_MOST_GROUPS = 8
_HEAD_STEPS = ("first token", "last token", "end of text", "mean", "tanh", "relu", "gelu")


def bind(architecture: Architecture, hf: PreTrainedModel) -> BoundModules:
    """The declared modules of one model.

    Raises:
        SelfCheckError: If a declared path does not exist.
    """
    binder = _Binder(architecture, hf)
    rows = tuple(binder.rows())
    return BoundModules(rows, binder.embeddings, binder.final_norms, tuple(binder.head()))


class _Binder:
    def __init__(self, architecture: Architecture, hf: PreTrainedModel) -> None:
        self.architecture = architecture
        self.hf = hf
        self.embeddings: dict[str, nn.Module] = {}
        self.final_norms: dict[str, nn.Module] = {}
        self.n_heads = self._count_heads()

    def rows(self) -> Iterator[LayerModules]:
        for stack in self.architecture.stacks:
            lists = self._lists(stack)
            self.embeddings[lists[0][0]] = self._embedding(stack)
            if stack.final_norm is not None:
                self.final_norms[stack.name] = self._module(self.hf, stack.final_norm)
            for number, (name, layers) in enumerate(lists):
                for index, layer in enumerate(cast("list[nn.Module]", layers)):
                    for place, paths in enumerate(stack.rows):
                        enters = number == 0 and index == 0 and place == 0
                        yield self._row(name, index, layer, paths, enters)

    def head(self) -> Iterator[nn.Module | str]:
        for step in self.architecture.head:
            yield step if step in _HEAD_STEPS else self._module(self.hf, step)

    def _row(
        self, name: str, index: int, layer: nn.Module, paths: RowPaths, enters: bool
    ) -> LayerModules:
        def module(path: str | None) -> nn.Module | None:
            return None if path is None else self._module(layer, path)

        return LayerModules(
            stack=f"{name}.x" if paths.cross else name,
            index=index,
            n_heads=self.n_heads,
            enters=enters,
            enter=self._module(layer, paths.enter),
            leave=self._module(layer, paths.leave),
            attention=self._module(layer, paths.attention),
            o=self._module(layer, paths.o),
            norm=self._module(layer, paths.norm),
            q=module(paths.q),
            k=module(paths.k),
            v=module(paths.v),
            mlp=module(paths.mlp),
            mlp_in=module(paths.mlp_in),
            mlp_norm=module(paths.mlp_norm),
            shortcut=module(paths.shortcut),
            activation=module(paths.activation),
        )

    def _lists(self, stack: StackPaths) -> list[tuple[str, nn.Module]]:
        """Each list of layers with the name of its stack."""
        before, starred, after = stack.layers.partition(".*")
        if not starred:
            return [(stack.name, self._list(stack.layers, self.hf))]
        outer = cast("list[nn.Module]", self._list(before, self.hf))
        inner = after.removeprefix(".")
        return [(f"{stack.name}{i}", self._list(inner, item)) for i, item in enumerate(outer)]

    def _list(self, path: str, root: nn.Module) -> nn.Module:
        layers = self._module(root, path)
        if not isinstance(layers, (nn.ModuleList, nn.Sequential)):
            raise SelfCheckError(
                f"The declaration of {self.architecture.family!r} names {path!r} as the layers, "
                f"which is a {type(layers).__name__}; expected a ModuleList. Mend the paths in "
                "patching/models/families."
            )
        return layers

    def _embedding(self, stack: StackPaths) -> nn.Module:
        declared = stack.embedding
        *preferred, last = (declared,) if isinstance(declared, str) else declared
        present = {name for name, _ in self.hf.named_modules()}
        path = next((path for path in preferred if path in present), last)
        return self._module(self.hf, path)

    def _count_heads(self) -> int:
        if self.architecture.n_heads is not None:
            return getattr(self.hf.config, self.architecture.n_heads)
        widths = [
            weight_of(self._module(layer, paths.o)).shape[1]
            for stack in self.architecture.stacks
            for _, layers in self._lists(stack)
            for layer in cast("list[nn.Module]", layers)
            for paths in stack.rows
        ]
        common = gcd(*widths)
        return max(n for n in range(1, _MOST_GROUPS + 1) if common % n == 0)

    def _module(self, root: nn.Module, path: str) -> nn.Module:
        found: Any = root
        for part in path.split(".") if path else ():
            try:
                found = found[int(part)] if part.startswith("-") else found.get_submodule(part)
            except (AttributeError, IndexError, TypeError) as error:
                raise SelfCheckError(
                    f"The declaration of {self.architecture.family!r} names a module {path!r}, "
                    f"which this {type(root).__name__} does not have. Mend the paths in "
                    "patching/models/families."
                ) from error
        return found
