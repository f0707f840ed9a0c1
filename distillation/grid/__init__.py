"""Several recipes with several seeds as one graph of runs, trained here or on a Ray cluster."""

from distillation.grid.files import load_grid
from distillation.grid.plan import GridRun, in_order, parse_seeds, plan_runs
from distillation.grid.schedule import Schedule, train_grid

__all__ = ["GridRun", "Schedule", "in_order", "load_grid", "parse_seeds", "plan_runs", "train_grid"]
