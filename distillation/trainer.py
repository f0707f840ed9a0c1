"""A `transformers.Trainer` that minimises one of our objectives on items in a fixed order.

The trainer does what it does for everybody: AdamW, clipping, schedule, checkpoints, resuming, mixed
precision, accumulation and several processes. Ours only adds the loss, the order and the rule by
which a checkpoint is chosen, and leaves out per-item collation.
"""

import math
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
)

from behavior.errors import RecipeError
from distillation.data import Batch, FixedOrder, IndexedInputs
from distillation.objectives import Criterion, Materials, Signals
from distillation.options import RunOptions, n_processes
from distillation.recipe import Recipe, SelectionRecipe
from distillation.validation import SELECTED, Selection

LOGGING_STEPS = 50
_CRITERION = "criterion.safetensors"

Progress = Callable[[int, int, float, float], None]
"""Called with the step, the number of steps, the loss since the last call, and the seconds."""


class ObjectiveTrainer(Trainer):
    """Minimises an objective; the loss history counts the seconds of interrupted runs too.

    Args:
        materials: The model, trained in place, all training items, and what the loss reads.
        criterion: What is minimised; its own weights are trained and saved with the model's.
        order: [visit] item visited at each place of each batch, for the whole training.
        args: Of the trainer, schedule included.
        progress: Called whenever the loss is logged, by the first process.
        selection: Which checkpoint the model has at the end.

    Raises:
        RecipeError: If batches are to be split for a criterion that cannot be, or the task cannot
            be measured as the selection needs it.
    """

    def __init__(
        self,
        materials: Materials,
        criterion: Criterion,
        order: Int[Tensor, " visit"],
        args: TrainingArguments,
        progress: Progress | None = None,
        selection: SelectionRecipe | None = None,
    ) -> None:
        _refuse_parts(criterion, args.gradient_accumulation_steps)
        rule = selection or SelectionRecipe()
        data = IndexedInputs(materials.inputs)
        super().__init__(
            model=materials.classifier.model,
            args=args,
            train_dataset=data,
            # The trainer asks for one although `evaluate` has its own examples.
            eval_dataset=data if rule.measures else None,
            # Batches come whole from the data set; the type only knows lists of items.
            data_collator=cast(Any, _identity),
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        # The trainer forgets the gradients of the model alone.
        self.add_callback(_ForgetGradients(criterion))
        if rule.patience is not None:
            self.add_callback(EarlyStoppingCallback(rule.patience))
        classifier = self._classifier = materials.classifier
        self._selection = Selection(rule, classifier, materials.task) if rule.measures else None
        self.signals = _move(materials.signals, self.args.device)
        self.order = order
        self.criterion = criterion.to(self.args.device).train()
        self.progress = progress
        self._started = time.perf_counter()
        self._seconds_before: float | None = None

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Loss of one batch."""
        return self.criterion(model, inputs, self.signals.take(inputs.pop("items")))

    def evaluate(self, *args: object, **kwargs: object) -> dict[str, float]:
        """Measure what checkpoints are chosen by; the arguments of the base class have no use."""
        assert self._selection is not None, "only a rule that measures asks for it"
        metrics = {SELECTED: self._selection.measure(self._classifier)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """AdamW over the model's weights and, without decay, those of the criterion."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*(() if model is None else (model,)))
        own = [weight for weight in self.criterion.parameters() if weight.requires_grad]
        if is_new and own:
            optimizer.add_param_group({"params": own, "weight_decay": 0.0})
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds of training, those before an interruption included, to each entry.

        Raises:
            RecipeError: If the loss is not finite any more.
        """
        if self._seconds_before is None:
            history = self.state.log_history
            self._seconds_before = history[-1]["seconds"] if history else 0.0
        seconds = self._seconds_before + time.perf_counter() - self._started
        super().log({**logs, "seconds": seconds}, start_time)
        if "loss" in logs:
            self._follow(logs["loss"], seconds)

    def _follow(self, loss: float, seconds: float) -> None:
        step, n_steps = self.state.global_step, self.state.max_steps
        if not math.isfinite(loss):
            raise RecipeError(
                f"The loss is {loss} at step {step}. Lower optimization.learning_rate."
            )
        if self.progress is not None and self.is_world_process_zero():
            self.progress(step, n_steps, loss, seconds)

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: counting visits every parameter at every step."""
        return 0

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """The criterion's state goes first: the trainer's own file says that all is there."""
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(_whole(self.criterion.state_dict()), folder / _CRITERION)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.criterion.load_state_dict(load_file(Path(resume_from_checkpoint) / _CRITERION))

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        return FixedOrder(self.order)


def training_arguments(
    recipe: Recipe, folder: Path, seed: int, save_steps: int, options: RunOptions | None = None
) -> TrainingArguments:
    """The trainer's settings for a recipe; checkpoints go to a folder.

    Raises:
        RecipeError: If the batch cannot be split as the options ask.
    """
    options = options or RunOptions()
    optimization = recipe.optimization
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=optimization.steps,
        per_device_train_batch_size=options.part_of_batch(optimization.batch_size),
        gradient_accumulation_steps=options.accumulate,
        learning_rate=optimization.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": optimization.floor},
        warmup_steps=round(optimization.warmup * optimization.steps),
        adam_beta1=optimization.betas[0],
        adam_beta2=optimization.betas[1],
        weight_decay=optimization.weight_decay,
        max_grad_norm=optimization.max_grad_norm,
        logging_steps=LOGGING_STEPS,
        seed=seed,
        use_cpu=options.on_cpu,
        ddp_backend="gloo" if options.on_cpu and n_processes() > 1 else None,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        report_to=list(options.report_to) or "none",
        remove_unused_columns=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
        **_checkpointing(recipe.selection, save_steps),
    )
    # One process takes one GPU: with several, the trainer would wrap the model in DataParallel,
    # which multiplies the batch. Several GPUs are for torchrun.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def _checkpointing(selection: SelectionRecipe, save_steps: int) -> dict[str, Any]:
    """When checkpoints are written: also at each measurement, if any, so that each can be taken."""
    always = {"save_strategy": "steps", "save_total_limit": 2}
    if not selection.measures:
        return {**always, "save_steps": save_steps}
    return {
        **always,
        "save_steps": selection.every,
        "eval_strategy": "steps",
        "eval_steps": selection.every,
        "load_best_model_at_end": True,
        "metric_for_best_model": SELECTED,
        "greater_is_better": True,
        # Else a resumed run would count its patience from zero.
        "restore_callback_states_from_checkpoint": True,
    }


class _ForgetGradients(TrainerCallback):
    """Clears the gradients of a criterion's own weights after each update.

    Also after one that half precision skips because a gradient is infinite: else it would stay so.
    """

    def __init__(self, criterion: Criterion) -> None:
        self._criterion = criterion

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._criterion.zero_grad()


def _refuse_parts(criterion: Criterion, n_parts: int) -> None:
    if n_processes() * n_parts > 1 and not criterion.is_mean:
        raise RecipeError(
            "The objective is no mean over the items of a batch, so that a batch in parts would "
            "be another loss. Train it with one process, without --accumulate."
        )
    if n_processes() > 1 and criterion.state_dict():
        raise RecipeError(
            "The objective trains or remembers something beside the model, which several "
            "processes would not share. Train it with one process."
        )


def _move(signals: Signals, device: torch.device) -> Signals:
    tensors = {field.name: getattr(signals, field.name) for field in fields(signals)}
    moved = {name: x.to(device) for name, x in tensors.items() if isinstance(x, Tensor)}
    return replace(signals, **moved)


def _whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor by itself: the file format knows no shared ones."""
    return {name: value.clone().contiguous() for name, value in state.items()}


def _identity(batch: Batch) -> Batch:
    return batch
