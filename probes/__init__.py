"""What is represented, and where attention goes.

    linear, nested, selectivity     what a weak linear probe reads, and what a control task reads
    lens                            what the classifier would answer at every stage
    erasure, erasure_profile, use   what the model does once a feature is erased
    similarity                      CKA, stage by stage
    attention, maps                 patterns from word to word, maps over images

`python -m probes.compare TEACHER STUDENT` makes a page of all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.attention import head_distances, overlap_attention, read_patterns
    from probes.erasure import erased_margins, fit_eraser, random_eraser
    from probes.erasure_profile import erase_by_stage
    from probes.lens import margins_by_stage, read_states, tuned_margins
    from probes.linear import probe_quads, readability
    from probes.maps import attention_rollout, group_maps, patch_maps
    from probes.nested import probe_quads_nested
    from probes.selectivity import measure_selectivity
    from probes.similarity import cka, compare_stages
    from probes.stream import pooled_stream, stream_points
    from probes.use import compare_use, decide_use
    from probes.words import shared_words

__all__ = [
    "attention_rollout",
    "cka",
    "compare_stages",
    "compare_use",
    "decide_use",
    "erase_by_stage",
    "erased_margins",
    "fit_eraser",
    "group_maps",
    "head_distances",
    "margins_by_stage",
    "measure_selectivity",
    "overlap_attention",
    "patch_maps",
    "pooled_stream",
    "probe_quads",
    "probe_quads_nested",
    "random_eraser",
    "read_patterns",
    "read_states",
    "readability",
    "shared_words",
    "stream_points",
    "tuned_margins",
]

_HOME = {
    "attention_rollout": "maps",
    "cka": "similarity",
    "compare_stages": "similarity",
    "compare_use": "use",
    "decide_use": "use",
    "erase_by_stage": "erasure_profile",
    "erased_margins": "erasure",
    "fit_eraser": "erasure",
    "group_maps": "maps",
    "head_distances": "attention",
    "margins_by_stage": "lens",
    "measure_selectivity": "selectivity",
    "overlap_attention": "attention",
    "patch_maps": "maps",
    "pooled_stream": "stream",
    "probe_quads": "linear",
    "probe_quads_nested": "nested",
    "random_eraser": "erasure",
    "read_patterns": "attention",
    "read_states": "lens",
    "readability": "linear",
    "shared_words": "words",
    "stream_points": "stream",
    "tuned_margins": "lens",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
