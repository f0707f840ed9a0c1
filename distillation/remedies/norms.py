"""Statistics of batch norms, estimated anew where weights were put together from another model.

A student that takes some blocks or channels of its teacher has other activations than the teacher,
for which the teacher's running means and variances are wrong. They are replaced by the plain mean
over batches of training items.
"""

import torch
from torch import nn

from distillation.classifier import Classifier
from distillation.data import EncodedInputs

N_BATCHES = 32
BATCH_SIZE = 64


def estimate_norms(
    classifier: Classifier,
    inputs: EncodedInputs,
    *,
    n_batches: int = N_BATCHES,
    batch_size: int = BATCH_SIZE,
) -> int:
    """Replace the running statistics of all batch norms, in place, and return how many there are.

    Args:
        classifier: Whose norms.
        inputs: [item] training items, of which the first are used.
        n_batches: Number of batches, fewer if there are not as many items.
        batch_size: Items of each.
    """
    model = classifier.model
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        # No momentum makes torch take the plain mean over batches.
        norm.momentum = None
        norm.train()
    items = torch.arange(min(len(inputs), n_batches * batch_size))
    with torch.no_grad():
        for batch in items.split(batch_size):
            taken = inputs.take(batch)
            classifier.logits({name: x.to(model.device) for name, x in taken.items()})
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(was_training)
    return len(norms)
