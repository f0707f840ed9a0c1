"""What trained models do, over all seeds of their recipes; `python -m distillation.evidence`."""

from distillation.evidence.gathering import finished_folders, gather, outside
from distillation.evidence.measured import HeldOutData, measure_run

__all__ = ["HeldOutData", "finished_folders", "gather", "measure_run", "outside"]
