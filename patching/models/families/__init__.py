"""Where each family keeps its stream, heads, projections, norms and MLPs: one file each."""
