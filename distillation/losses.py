"""Losses of distillation and debiasing, with their conventions declared.

Codebases differ in reduction, in the factor T^2 and in what alpha weights, and the same numbers
then mean other losses. Ours, everywhere: the mean over the batch of the *sum* over classes
(`batchmean`), T^2 on the KL term so that its gradient keeps its size when T changes, and alpha
on the teacher. All losses are in nats.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


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
    hard = F.cross_entropy(student, labels)
    soft = F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher.detach() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - alpha) * hard + alpha * temperature**2 * soft


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
