"""`PatchableModel`: a classifier whose activations can be read and set.

    logits, cache = model.run_with_cache(inputs, sites=["z", "L1.resid_post"])
    with model.patch({"a3.h5": 0.0}):
        ablated = model.logits(inputs)

`model.hf` is the untouched transformers module; everything here is hooks that are gone when the
`with` block ends.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from behavior.errors import DataError
from behavior.examples import TextInput
from patching.models.architecture import Architecture, BoundModules, bind
from patching.models.cache import ActivationCache, Value, assign
from patching.models.chunks import length_sorted_chunks
from patching.models.encoding import Encoded, TextEncoder
from patching.models.hooks import Edit, SiteHooks
from patching.models.nodes import ACTIVATIONS, Activation, Site, parse_site
from patching.models.spec import read_spec

_LARGE: frozenset[Activation] = frozenset({"pattern", "result"})


class PatchableModel:
    """A model opened for reading and patching.

    Attributes:
        name: As it was asked for.
        hf: The transformers module, in evaluation mode.
        tokenizer: Its tokenizer.
        architecture: Declaration of its family.
        spec: Its sizes.
        digest: SHA-256 of its weights and config; empty if it does not come from files.
        modules: The declared modules.
        encoder: Makes batches.
        hooks: Places hooks; for the engines of this package.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        architecture: Architecture,
        name: str = "model",
        digest: str = "",
    ) -> None:
        self.name = name
        self.hf = hf.eval()
        self.tokenizer = tokenizer
        self.architecture = architecture
        self.spec = read_spec(hf, tokenizer, architecture)
        self.digest = digest
        self.modules: BoundModules = bind(architecture, hf)
        self.encoder = TextEncoder(
            tokenizer, self.spec.max_length, self.device, takes_types=self.spec.n_token_types > 1
        )
        self.hooks = SiteHooks(hf, architecture, self.modules, self.spec.n_heads)
        self._rows: Tensor | None = None
        self._n_patches = 0

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"PatchableModel({self.name!r}: {spec.family}, {spec.n_layers} layers x "
            f"{spec.n_heads} heads, d_model {spec.d_model}, classes {', '.join(spec.classes)})"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.hf.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.hf.dtype

    @property
    def is_patched(self) -> bool:
        """Whether a `with model.patch(...)` block is open."""
        return self._n_patches > 0

    def encode(self, inputs: Sequence[TextInput]) -> list[Encoded]:
        """Token ids of each input.

        Raises:
            DataError: If there are no inputs, or one is longer than the model takes.
        """
        if not inputs:
            raise DataError("There are no inputs. Give at least one.")
        rows = self.encoder.encode(inputs)
        self.encoder.check_lengths(inputs, rows)
        return rows

    def tokens(self, inputs: Sequence[TextInput]) -> list[list[int]]:
        """Token ids of each input, special tokens included."""
        return [row.ids.tolist() for row in self.encoder.encode(inputs)]

    def logits(
        self, inputs: Sequence[TextInput], batch_size: int | None = None
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits of each input, in the order given, on the CPU.

        Inputs are sorted by length and run in batches; by default these fit the processor's
        cache.

        Raises:
            DataError: If there are no inputs, or one is longer than the model takes.
        """
        rows = self.encode(inputs)
        logits = torch.empty(len(rows), self.spec.n_classes, dtype=self.dtype)
        for chunk in self.chunks([len(row) for row in rows], batch_size):
            batch = self.encoder.batch([rows[i] for i in chunk])
            with self._running(chunk):
                logits[chunk] = self.forward(batch).cpu()
        return logits

    def run_with_cache(
        self, inputs: Sequence[TextInput], sites: Sequence[str | Site] | None = None
    ) -> tuple[Float[Tensor, "batch n_classes"], ActivationCache]:
        """Logits and activations of all inputs as one batch, padded to the longest.

        Args:
            inputs: What to run.
            sites: Sites (`L3.h5.z`), TransformerLens names, nodes (`a3.h5`), or activations
                (`z`: in every layer). By default every activation but `pattern`, which runs
                another attention kernel, and `result`, which is large.

        Raises:
            DataError: If a site does not exist in this model.
        """
        wanted = self.sites(sites)
        batch = self.encoder.batch(self.encode(inputs))
        with self.hooks.reading(wanted) as values, self._running(range(len(inputs))):
            logits = self.forward(batch)
        return logits, ActivationCache(values)

    @contextmanager
    def patch(self, values: Mapping[str | Site, Value]) -> Generator[None, None, None]:
        """Set sites or nodes to values in every forward inside the block.

        A tensor's batch axis counts the inputs of the calls inside the block, in their order,
        however these are cut into batches; its positions may be more than a batch has.

        Raises:
            DataError: If a site does not exist in this model, or a value does not fit it.
            SelfCheckError: In a forward in which a hook did not fire exactly once.
        """
        grouped: dict[Site, list[tuple[Site, Value]]] = {}
        for key, value in values.items():
            site = self.site(key)
            grouped.setdefault(site.whole, []).append((site, value))
        edits: dict[Site, Edit] = {
            whole: partial(self._set, assignments) for whole, assignments in grouped.items()
        }
        with self.hooks.editing(edits):
            self._n_patches += 1
            try:
                yield
            finally:
                self._n_patches -= 1

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch of `encoder.batch`, without gradients."""
        with torch.no_grad():
            return self.hf(**batch).logits

    def chunks(self, lengths: Sequence[int], batch_size: int | None = None) -> list[list[int]]:
        """Positions of inputs in batches of similar length; see `patching.models.chunks`."""
        widest = 4 * self.spec.d_model * self.dtype.itemsize
        return length_sorted_chunks(lengths, batch_size, widest, self.device)

    def site(self, key: str | Site) -> Site:
        """A site from its text, a TransformerLens name or a node's name.

        Raises:
            DataError: If this model has no such layer or head.
        """
        site = parse_site(key)
        n_layers, n_heads = self.spec.n_layers, self.spec.n_heads
        if site.layer >= n_layers or (site.head is not None and site.head >= n_heads):
            raise DataError(
                f"{str(key)!r} is not in {self.name!r}, which has the layers 0 to {n_layers - 1} "
                f"with the heads 0 to {n_heads - 1}."
            )
        return site

    def sites(self, keys: Sequence[str | Site] | None) -> tuple[Site, ...]:
        """Whole sites for `run_with_cache`: an activation's name means it in every layer.

        Raises:
            DataError: If this model has no such site.
        """
        if keys is None:
            keys = [activation for activation in ACTIVATIONS if activation not in _LARGE]
        found: dict[Site, None] = {}
        for key in keys:
            if key in ACTIVATIONS:
                activation = cast(Activation, key)
                found |= dict.fromkeys(Site(i, activation) for i in range(self.spec.n_layers))
            else:
                found[self.site(key).whole] = None
        return tuple(found)

    @contextmanager
    def _running(self, rows: Sequence[int]) -> Generator[None, None, None]:
        """Tell open patches which inputs the next forward holds."""
        self._rows = torch.tensor(rows)
        try:
            yield
        finally:
            self._rows = None

    def _set(self, assignments: Sequence[tuple[Site, Value]], current: Tensor) -> Tensor:
        for site, value in assignments:
            current = assign(site, current, value, self._rows)
        return current
