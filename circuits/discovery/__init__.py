"""Discovery: which edges carry a contrast. One algorithm a file, one signature.

    METHODS["eap_ig_inputs"](model, pairs, "noise", steps=5) -> EdgeScores

To add one, write a file with a function `score` of this signature, and name it in `METHODS`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping

from behavior.errors import DataError
from circuits.discovery import (
    clean_corrupted,
    eap,
    eap_ig_activations,
    eap_ig_inputs,
    edge_mask,
    exact_edges,
    node_attribution,
    random_edges,
)
from circuits.discovery.scores import EdgeScores

Method = Callable[..., EdgeScores]
"""Takes model, pairs, direction; by name readout, collapse, batch_size, progress and options."""

METHODS: Mapping[str, Method] = {
    "eap": eap.score,
    "eap_ig_inputs": eap_ig_inputs.score,
    "eap_ig_activations": eap_ig_activations.score,
    "clean_corrupted": clean_corrupted.score,
    "exact_edges": exact_edges.score,
    "node_attribution": node_attribution.score,
    "edge_mask": edge_mask.score,
    "random": random_edges.score,
}
"""By name. `edge_mask` chooses edges together, `random` is the baseline."""

__all__ = ["METHODS", "EdgeScores", "Method", "method_of"]

_SHARED = 7


def method_of(name: str, options: Iterable[str] = ()) -> Method:
    """The algorithm of this name.

    Args:
        name: In `METHODS`.
        options: Names of options that it has to take.

    Raises:
        DataError: If there is no such algorithm, or it has no such option.
    """
    if name not in METHODS:
        raise DataError(f"Unknown method {name!r}. Expected one of: {', '.join(METHODS)}.")
    parameters = inspect.signature(METHODS[name]).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    own = list(parameters)[_SHARED:]
    for option in options:
        if option not in own and not takes_any:
            raise DataError(
                f"The method {name!r} takes no {option}. Its options: {', '.join(own) or 'none'}."
            )
    return METHODS[name]
