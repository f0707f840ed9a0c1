"""How far a training is: a bar on a terminal, lines elsewhere."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from tqdm import tqdm

from distillation.trainer import Progress


@contextmanager
def follow(name: str) -> Generator[Progress]:
    """What a training calls with its progress: a bar if stderr is a terminal, lines otherwise."""
    if not sys.stderr.isatty():
        yield _write_line
        return
    with tqdm(desc=name, unit=" steps", dynamic_ncols=True) as bar:

        def move(step: int, n_steps: int, loss: float, seconds: float) -> None:
            bar.total = n_steps
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(step - bar.n)

        yield move


def _write_line(step: int, n_steps: int, loss: float, seconds: float) -> None:
    sys.stdout.write(f"step {step:5} of {n_steps}   loss {loss:.3f}   {seconds:.0f} s\n")
    sys.stdout.flush()
