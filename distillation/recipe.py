"""A recipe: everything that decides a training, but its seed.

Recipes are YAML files. One may build on another (`extends: student`) and say only what differs,
so that a control shows the one factor it changes. Reading is strict: unknown or repeated keys,
wrong types and missing needs are errors of one line that name the file and the key.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.families import ModelRecipe, PretrainedRecipe
from distillation.objectives import ClosedForm, Need, Objective, objective_name
from distillation.remedies import AugmentRecipe

_LATER = {"data": ("recolour", "augment"), "start": ("select", "heads")}
"""Keys of sections that stored recipes lack where they are at their defaults."""


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """What is trained on.

    Attributes:
        task: As `behavior.load_task` names it.
        options: Passed to `load_task`, such as `rho` or `path`.
        n: Training items drawn from the split; None takes all of a finite source.
        counterfactuals: Share of the items whose counterfactual twin is added: the core feature
            is changed, the shortcut stays, so the twin of an aligned item is a conflicting one.
        recolour: Share of the images of which a copy in another colour is added.
        augment: Items from files that are added.
    """

    task: str
    n: int | None = None
    options: dict[str, object] = field(default_factory=dict[str, object])
    counterfactuals: float = 0.0
    recolour: float = 0.0
    augment: AugmentRecipe | None = None

    def __post_init__(self) -> None:
        require(self.n is None or self.n >= 1, "n", "at least 1", self.n)
        require(0 <= self.recolour <= 1, "recolour", "from 0 to 1", self.recolour)
        require(
            0 <= self.counterfactuals <= 1, "counterfactuals", "from 0 to 1", self.counterfactuals
        )


@dataclass(frozen=True, slots=True)
class OptimizationRecipe:
    """AdamW with a linear warm-up and a cosine to a floor.

    Attributes:
        steps: Number of updates.
        batch_size: Items of an update.
        learning_rate: At the end of the warm-up.
        betas: Decay of AdamW's two averages.
        weight_decay: On all weights but biases and LayerNorms.
        max_grad_norm: Gradients are scaled down to this norm.
        warmup: Share of the steps.
        floor: Learning rate at the end, as a share of `learning_rate`.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 0.002
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    warmup: float = 0.06
    floor: float = 0.02

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", "at least 1", self.steps)
        require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        require(self.learning_rate > 0, "learning_rate", "above 0", self.learning_rate)
        require(all(0 <= b < 1 for b in self.betas), "betas", "from 0 to below 1", self.betas)
        require(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)
        require(self.max_grad_norm > 0, "max_grad_norm", "above 0", self.max_grad_norm)
        require(0 <= self.warmup <= 1, "warmup", "from 0 to 1", self.warmup)
        require(0 <= self.floor <= 1, "floor", "from 0 to 1", self.floor)


@dataclass(frozen=True, slots=True)
class SelectionRecipe:
    """Which checkpoint is kept, always by validation data.

    Attributes:
        rule: `last` takes the end of the training; `in-domain` the best accuracy on validation
            items as biased as those of training; `worst-group` the best accuracy of the group with
            the lowest (of quads: of the cells), which uses the groups of the validation data.
        every: Updates between measurements.
        patience: Measurements without a better one after which the training ends; None never.
    """

    rule: Literal["last", "in-domain", "worst-group"] = "last"
    every: int = 250
    patience: int | None = None

    def __post_init__(self) -> None:
        require(self.every >= 1, "every", "at least 1", self.every)
        if self.patience is not None:
            require(self.patience >= 1, "patience", "at least 1", self.patience)
            require(self.rule != "last", "rule", "in-domain or worst-group for patience", self.rule)

    @property
    def measures(self) -> bool:
        """Whether anything is measured while the training runs."""
        return self.rule != "last"


@dataclass(frozen=True, slots=True)
class StartRecipe:
    """Where the initial weights come from, instead of from scratch.

    Attributes:
        recipe: Recipe of the model whose weights are copied.
        layers: Its layers that become ours, in order; None copies the whole model.
        select: What is taken of a wider model: `uniform` takes evenly spaced channels and whole
            heads; None takes everything, for which widths have to be equal.
        heads: With `select`, its heads that become ours, in order; None takes them evenly.
    """

    recipe: str
    layers: tuple[int, ...] | None = None
    select: Literal["uniform"] | None = None
    heads: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            require(all(i >= 0 for i in self.layers), "layers", "at least 0", self.layers)
        if self.heads is not None:
            require(all(i >= 0 for i in self.heads), "heads", "at least 0", self.heads)
            require(self.select is not None, "select", "uniform where heads are named", None)


@dataclass(frozen=True, slots=True)
class BiasModelRecipe:
    """What tells how much of the label the shortcut alone gives away; see `bias_models`.

    In a recipe `bias_model: overlap-counts` stands for `bias_model: {name: overlap-counts}`.

    Attributes:
        name: Kind of bias model.
        recipe: For `model`: recipe of the network that serves as bias model.
        path: For `file`: table of probabilities.
    """

    name: str
    recipe: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        for key, kind in (("recipe", "model"), ("path", "file")):
            given = getattr(self, key) is not None
            if given != (self.name == kind):
                verb = "is needed" if self.name == kind else "has no use"
                raise RecipeError(f"{key} {verb} for bias model {self.name!r}.")

    def to_json(self) -> object:
        """The name alone where there is nothing else to say."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return self.name if len(given) == 1 else given


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training, but its seed.

    Attributes:
        name: The file's name without its ending.
        description: One line for lists and model cards.
        data: What is trained on.
        model: The network.
        objective: What is minimised, with its own settings.
        optimization: How it is minimised.
        teacher: Recipe of the model that is distilled, or of several, for objectives that need it.
        bias_model: What knows the shortcut, for objectives that need it.
        start: A model to start from; None starts from scratch.
        selection: Which checkpoint is kept; a closed form has one result and ignores it.
    """

    name: str
    description: str
    data: DataRecipe
    model: ModelRecipe
    objective: Objective
    optimization: OptimizationRecipe
    teacher: str | tuple[str, ...] | None = None
    bias_model: BiasModelRecipe | None = None
    start: StartRecipe | None = None
    selection: SelectionRecipe = SelectionRecipe()

    def __post_init__(self) -> None:
        is_pretrained = isinstance(self.model, PretrainedRecipe)
        given: dict[Need, object] = {
            "teacher": self.teacher,
            "bias_model": self.bias_model,
            "start": self.start,
            "trained weights": self.start or (True if is_pretrained else None),
            "groups": "known by the task",
        }
        label = objective_name(self.objective)
        for need in sorted(self.objective.needs):
            if given[need] is None:
                key = "start" if need == "trained weights" else need
                raise RecipeError(f"{key} is missing: objective {label!r} needs it.")
        for spare in ("teacher", "bias_model"):
            if given[spare] is not None and spare not in self.objective.needs:
                raise RecipeError(f"{spare} is given, but objective {label!r} has no use for it.")
        if isinstance(self.objective, ClosedForm) and self.optimization.steps != 1:
            raise RecipeError(
                f"optimization.steps is {self.optimization.steps}, but objective {label!r} "
                "takes no steps. Set it to 1."
            )
        if isinstance(self.objective, ClosedForm):
            # It has one result; a rule laid over a whole grid says nothing about it.
            object.__setattr__(self, "selection", SelectionRecipe())
        steps = self.optimization.steps
        if self.selection.measures and self.selection.every > steps:
            raise RecipeError(
                f"selection.every is {self.selection.every}, but optimization.steps is {steps}, so "
                "nothing would be measured."
            )
        layers = None if self.start is None else self.start.layers
        if layers is not None and self.model.n_layers not in (None, len(layers)):
            raise RecipeError(
                f"start.layers names {len(layers)} layers, but model.n_layers is "
                f"{self.model.n_layers}."
            )

    @property
    def teachers(self) -> tuple[str, ...]:
        """Recipe of each teacher."""
        if self.teacher is None:
            return ()
        return (self.teacher,) if isinstance(self.teacher, str) else self.teacher

    @property
    def parents(self) -> tuple[str, ...]:
        """Recipes whose models this one needs, each once."""
        start = None if self.start is None else self.start.recipe
        bias = None if self.bias_model is None else self.bias_model.recipe
        names = (*self.teachers, start, bias)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def with_steps(self, steps: int) -> "Recipe":
        """The same recipe for another number of updates; the schedule is fitted to it."""
        selection, optimization = self.selection, replace(self.optimization, steps=steps)
        if selection.measures:
            selection = replace(selection, every=min(selection.every, steps))
        return replace(self, optimization=optimization, selection=selection)

    def to_json(self) -> dict[str, object]:
        """The whole recipe, with every default written out; `selection` only if it measures.

        What came later than the first stored recipes is left out where it says nothing.
        """
        settings = asdict(self)
        for section, keys in _LATER.items():
            for key in keys if settings[section] is not None else ():
                if not settings[section][key]:
                    del settings[section][key]
        if isinstance(self.model, PretrainedRecipe) and self.model.head == "classifier":
            del settings["model"]["head"]
        settings["objective"] = {"name": objective_name(self.objective), **self.objective.to_json()}
        settings["bias_model"] = None if self.bias_model is None else self.bias_model.to_json()
        if not self.selection.measures:
            del settings["selection"]
        return settings
