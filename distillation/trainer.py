"""A `transformers.Trainer` that minimises one of our objectives on items in a fixed order.

The trainer does what it does for everybody: AdamW, clipping, schedule, checkpoints, resuming.
Ours only adds the loss and the order, and leaves out per-item collation.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from jaxtyping import Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from behavior.errors import RecipeError
from distillation.data import Batch, FixedOrder, IndexedInputs
from distillation.objectives import Criterion, Materials
from distillation.recipe import OptimizationRecipe

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
        progress: Called whenever the loss is logged.
    """

    def __init__(
        self,
        materials: Materials,
        criterion: Criterion,
        order: Int[Tensor, " visit"],
        args: TrainingArguments,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(
            model=materials.classifier.model,
            args=args,
            train_dataset=IndexedInputs(materials.inputs),
            # Batches come whole from the data set; the type only knows lists of items.
            data_collator=cast(Any, _identity),
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.signals = materials.signals
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
        if self.progress is not None:
            self.progress(step, n_steps, loss, seconds)

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: counting visits every parameter at every step."""
        return 0

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """The criterion's state goes first: the trainer's own file says that all is there."""
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
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
    recipe: OptimizationRecipe, folder: Path, seed: int, save_steps: int
) -> TrainingArguments:
    """The trainer's settings for a recipe; checkpoints go to a folder, nothing is reported."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": recipe.floor},
        warmup_steps=round(recipe.warmup * recipe.steps),
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        logging_steps=LOGGING_STEPS,
        save_strategy="steps",
        save_steps=save_steps,
        save_total_limit=2,
        seed=seed,
        use_cpu=True,
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
    )


def _whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in state.items()}


def _identity(batch: Batch) -> Batch:
    return batch
