"""Losses of distillation and debiasing, with their conventions declared.

Codebases differ in reduction, in the factor T^2 and in what alpha weights, and the same numbers
then mean other losses. Ours, everywhere: the mean over the batch of the *sum* over classes
(`batchmean`), T^2 on the KL term so that its gradient keeps its size when T changes, and alpha
on the teacher. `DistillationLoss` says all of this for one loss, and `CONVENTIONS` holds what other
codebases mean by the same words. All losses are in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Weighed = Literal["teacher", "labels"]
Reduction = Literal["batchmean", "mean"]
Divergence = Literal["kl", "cross-entropy"]


@dataclass(frozen=True, slots=True)
class DistillationLoss:
    """hard_weight CE(z_s, y) + soft_weight [T^2] D(softmax(z_t / T), softmax(z_s / T)).

    The cross-entropy with the labels is always the mean over the batch. With s = soft_weight (T^2)
    for `batchmean`, and s / n_classes for `mean`, the gradient of the second term with respect to
    z_s is (s / T) (softmax(z_s / T) - softmax(z_t / T)) / batch, whichever the divergence.

    Attributes:
        hard_weight: Of the labels.
        soft_weight: Of the teacher.
        temperature: T, applied to both models' logits in the second term.
        temperature_squared: Whether the second term is multiplied by T^2.
        reduction: Mean over the batch of the sum over classes, or mean over batch and classes.
        divergence: KL(teacher || student), or the cross-entropy -sum p_t log p_s, which differs
            by the teacher's entropy and so has the same gradient.
    """

    hard_weight: float
    soft_weight: float
    temperature: float
    temperature_squared: bool = True
    reduction: Reduction = "batchmean"
    divergence: Divergence = "kl"

    def __call__(
        self,
        student: Float[Tensor, "batch n_classes"],
        teacher: Float[Tensor, "batch n_classes"],
        labels: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Loss of a batch, in nats; the teacher gets no gradient."""
        hard = F.cross_entropy(student, labels)
        factor = self.temperature**2 if self.temperature_squared else 1.0
        return self.hard_weight * hard + self.soft_weight * factor * self.soft(student, teacher)

    def soft(
        self,
        student: Float[Tensor, "batch n_classes"],
        teacher: Float[Tensor, "batch n_classes"],
    ) -> Float[Tensor, ""]:
        """The divergence alone, without weight and T^2."""
        ours = F.log_softmax(student / self.temperature, dim=-1)
        theirs = F.log_softmax(teacher.detach() / self.temperature, dim=-1)
        if self.divergence == "kl":
            mean = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        else:
            mean = -(theirs.exp() * ours).sum(-1).mean()
        return mean / student.shape[-1] if self.reduction == "mean" else mean


@dataclass(frozen=True, slots=True)
class Convention:
    """What a codebase means by alpha, T and the mean.

    Attributes:
        source: Repository and file.
        alpha_weighs: What alpha is the weight of.
        hard_weight: Of the labels where the recipe does not say; None gives the other term what
            alpha leaves of 1.
        temperature_squared: As in `DistillationLoss`.
        reduction: As in `DistillationLoss`.
        divergence: As in `DistillationLoss`.
        squared_without_labels: Whether T^2 stays where the labels have no weight.
    """

    source: str
    alpha_weighs: Weighed = "teacher"
    hard_weight: float | None = None
    temperature_squared: bool = True
    reduction: Reduction = "batchmean"
    divergence: Divergence = "kl"
    squared_without_labels: bool = True

    def loss(
        self,
        alpha: float,
        temperature: float,
        *,
        hard_weight: float | None = None,
        temperature_squared: bool | None = None,
        reduction: Reduction | None = None,
        divergence: Divergence | None = None,
    ) -> DistillationLoss:
        """The loss that alpha and T mean here; what is given by name is used instead."""
        rest = 1 - alpha
        fixed = self.hard_weight if hard_weight is None else hard_weight
        if self.alpha_weighs == "teacher":
            hard, soft = rest if fixed is None else fixed, alpha
        else:
            hard, soft = alpha if fixed is None else fixed, rest
        squared = self.temperature_squared and (self.squared_without_labels or hard > 0)
        return DistillationLoss(
            hard_weight=hard,
            soft_weight=soft,
            temperature=temperature,
            temperature_squared=squared if temperature_squared is None else temperature_squared,
            reduction=reduction or self.reduction,
            divergence=divergence or self.divergence,
        )


OURS = Convention("here: (1 - alpha) CE + alpha T^2 KL, batchmean")

CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        "rep-distiller": Convention(
            "HobbitLong/RepDistiller, distiller_zoo/KD.py", hard_weight=0.1
        ),
        "torchdistill": Convention(
            "yoshitomo-matsubara/torchdistill, losses/mid_level.py KDLoss",
            alpha_weighs="labels",
            squared_without_labels=False,
        ),
        "textbrewer": Convention(
            "airaria/TextBrewer, losses.py kd_ce_loss",
            hard_weight=0.0,
            temperature_squared=False,
            divergence="cross-entropy",
        ),
        "tinybert": Convention(
            "huawei-noah/Pretrained-Language-Model, TinyBERT/task_distill.py",
            hard_weight=0.0,
            temperature_squared=False,
            reduction="mean",
            divergence="cross-entropy",
        ),
        "distilbert": Convention(
            "huggingface/transformers-research-projects, distillation/distiller.py",
            hard_weight=2.0,
        ),
        "takd": Convention("imirzadeh/Teacher-Assistant-Knowledge-Distillation", reduction="mean"),
    }
)
"""What alpha and T mean elsewhere. The published numbers are for the recipe to give."""


def logit_distillation_loss(
    student: Float[Tensor, "batch n_classes"],
    teacher: Float[Tensor, "batch n_classes"],
    labels: Int[Tensor, " batch"],
    *,
    alpha: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """(1 - alpha) CE(z_s, y) + alpha T^2 KL(softmax(z_t / T) || softmax(z_s / T)), mean over batch.

    alpha = 0 is plain cross-entropy, alpha = 1 uses no labels. Where the teacher's and student's
    logits differ by a constant per example, the KL term and its gradient are zero. The gradient
    of the KL term with respect to z_s is T (softmax(z_s / T) - softmax(z_t / T)) / batch, which
    tends to (z_s - z_t, centred) / (n_classes batch) as T grows. The teacher gets no gradient.
    """
    return OURS.loss(alpha, temperature)(student, teacher, labels)


def mean_of_probabilities(
    logits: Float[Tensor, "teacher item n_classes"], temperature: float
) -> Float[Tensor, "item n_classes"]:
    """Logits whose softmax at this temperature is the mean of the teachers' softmaxes at it."""
    log_mean = (logits / temperature).log_softmax(-1).logsumexp(0) - torch.tensor(len(logits)).log()
    return temperature * log_mean


def product_of_experts_loss(
    logits: Float[Tensor, "batch n_classes"],
    bias: Float[Tensor, "batch n_classes"],
    labels: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """CE(log_softmax(z) + log p_bias, y), mean over batch.

    The bias model's log-probabilities are constants. Where they are uniform this is plain
    cross-entropy; where the bias model is sure and right the gradient vanishes.
    """
    return F.cross_entropy(F.log_softmax(logits, dim=-1) + bias.detach(), labels)
