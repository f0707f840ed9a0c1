"""Figures of `probes.compare`, each a function from findings to a plotly `Figure`."""

from probes.figures.curves import decodability_figure, lens_figure, selectivity_figure
from probes.figures.erasing import erasure_figure
from probes.figures.tables import distance_figure, overlap_figure, similarity_figure
from probes.figures.views import example_figure, node_maps_figure, rollout_figure

__all__ = [
    "decodability_figure",
    "distance_figure",
    "erasure_figure",
    "example_figure",
    "lens_figure",
    "node_maps_figure",
    "overlap_figure",
    "rollout_figure",
    "selectivity_figure",
    "similarity_figure",
]
