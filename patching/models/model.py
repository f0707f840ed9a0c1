"""`PatchableModel`: a classifier whose activations can be read and set.

    logits, cache = model.run_with_cache(inputs, sites=["z", "L1.resid_post"])
    with model.patch({"a3.h5": 0.0}):
        ablated = model.logits(inputs)

`model.hf` is the untouched transformers module; everything here is hooks that are gone when the
`with` block ends.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase

from behavior.errors import DataError
from behavior.inputs import Input
from patching.models.ablating import AblatedModel, ablate_model
from patching.models.architecture import Architecture
from patching.models.backends import open_backend
from patching.models.backends.protocol import Backend
from patching.models.binding import bind
from patching.models.cache import ActivationCache, Value, assign
from patching.models.calling import Caller
from patching.models.chunks import length_sorted_chunks
from patching.models.encoders import EncodedInput, Encoder
from patching.models.explain import Explanation, explain_model
from patching.models.hooks import Edit, SiteHooks
from patching.models.lookup import SiteLookup
from patching.models.making_encoders import make_encoder
from patching.models.nodes import Site
from patching.models.processors import Processor
from patching.models.projections import weight_of
from patching.models.rows import BoundModules, LayerModules
from patching.models.spec import UNLIMITED, read_spec


class PatchableModel:
    """A model opened for reading and patching.

    Attributes:
        name: As it was asked for.
        hf: The transformers module, in evaluation mode.
        processor: Its tokenizer or image processor.
        architecture: Declaration of its family.
        spec: Its sizes.
        digest: SHA-256 of its weights and config; empty if it does not come from files.
        modules: The declared modules, row by row.
        encoder: Makes batches.
        hooks: Places hooks; for the engines of this package.
        backend: What runs patched forwards: `hooks`, `nnsight` or `transformer-lens`.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        processor: Processor,
        architecture: Architecture,
        name: str = "model",
        digest: str = "",
        *,
        prompt: str | None = None,
        label_words: Mapping[str, str] | None = None,
        backend: str = "hooks",
    ) -> None:
        self.name = name
        self.hf = hf.eval()
        self.processor = processor
        self.architecture = architecture
        self.digest = digest
        self.modules: BoundModules = bind(architecture, hf)
        self.spec = read_spec(
            hf,
            architecture,
            self.modules,
            classes=tuple(label_words) if label_words is not None else None,
            longest=getattr(processor, "model_max_length", UNLIMITED),
        )
        self._lookup = SiteLookup(name, self.modules, self.spec)
        self._caller = Caller(hf, architecture, processor, label_words)
        self.hooks = SiteHooks(
            hf, self.modules, architecture.family, post_norm=architecture.layout == "post-norm"
        )
        self.encoder: Encoder[Any] = make_encoder(self, prompt)
        self.backend: Backend = open_backend(backend, self)
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
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer.

        Raises:
            DataError: If it reads images.
        """
        if isinstance(self.processor, BaseImageProcessor):
            raise DataError(f"{self.name!r} reads images, so it has no tokenizer. Use processor.")
        return self.processor

    @cached_property
    def bridge(self) -> Any:
        """A `TransformerBridge`, for tools written for TransformerLens; see `bridge_of`."""
        from patching.models.backends.transformer_lens import bridge_of  # noqa: PLC0415  (slow)

        return bridge_of(self)

    @cached_property
    def nnsight(self) -> Any:
        """The model as nnsight's `TransformersModel`; see `nnsight_of`."""
        from patching.models.backends.nnsight import nnsight_of  # noqa: PLC0415  (slow)

        return nnsight_of(self)

    @property
    def word_ids(self) -> Sequence[int] | None:
        """[class] token whose logit is the class's, if it answers with words; else None."""
        return self._caller.words

    @property
    def is_patched(self) -> bool:
        """Whether a `with model.patch(...)` block is open."""
        return self._n_patches > 0

    def encode(self, inputs: Sequence[Input]) -> list[EncodedInput]:
        """Each input as its encoder keeps it: token ids, or an image that waits for its batch.

        Raises:
            DataError: If there are no inputs, or one is longer than the model takes.
        """
        if not inputs:
            raise DataError("There are no inputs. Give at least one.")
        rows = self.encoder.encode(inputs)
        self.encoder.check_lengths(inputs, rows)
        return rows

    def tokens(self, inputs: Sequence[Input]) -> list[list[int]]:
        """Token ids of each text, special tokens included.

        Raises:
            DataError: If the model reads images.
        """
        _ = self.tokenizer
        return [row.ids.tolist() for row in self.encoder.encode(inputs)]

    def logits(
        self, inputs: Sequence[Input], batch_size: int | None = None
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
        self, inputs: Sequence[Input], sites: Sequence[str | Site] | None = None
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

    def explain(self) -> Explanation:
        """What this model consists of, what can be patched and under which names, as a table."""
        return explain_model(self)

    def ablate(self, nodes: Sequence[str], inputs: Sequence[Input] | None = None) -> AblatedModel:
        """A plain transformers model whose weights leave out some nodes, to be saved and shipped.

        Args:
            nodes: Heads (`a3.h5`), all heads of a row (`a3`) or MLPs (`m2`).
            inputs: What their means are taken over; by default they are set to zero.

        Raises:
            DataError: If the model has no such node, or no bias that could hold its mean.
        """
        return ablate_model(self, nodes, inputs)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch of `encoder.batch`, without gradients."""
        with torch.no_grad():
            return self.call(batch)

    def call(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch of `encoder.batch`; gradients are kept where they are enabled."""
        return self._caller.logits(batch)

    def chunks(self, lengths: Sequence[int], batch_size: int | None = None) -> list[list[int]]:
        """Positions of inputs in batches of similar length; see `patching.models.chunks`."""
        first = self.modules.layers[0]
        width = weight_of(first.o).shape[0] if first.is_image else self.spec.d_model
        widest = 4 * width * self.dtype.itemsize
        return length_sorted_chunks(lengths, batch_size, widest, self.device)

    def row(self, site: str | Site) -> LayerModules:
        """The row that a site belongs to.

        Raises:
            DataError: If the model has none.
        """
        return self._lookup.row(site)

    def site(self, key: str | Site) -> Site:
        """A site from its text, a TransformerLens name or a node's name.

        Raises:
            DataError: If this model has no such layer or head.
        """
        return self._lookup.site(key)

    def sites(self, keys: Sequence[str | Site] | None) -> tuple[Site, ...]:
        """Whole sites for `run_with_cache`: an activation's name means it in every row.

        Raises:
            DataError: If this model has no such site.
        """
        return self._lookup.sites(keys)

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
