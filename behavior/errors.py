"""The errors that a user can mend.

    CircuitsError
    ├── DataError          examples, pairs, quads, label names
    ├── CheckpointError    checkpoints.yaml, folders, weights
    │   ├── UnsupportedModelError
    │   └── SelfCheckError
    ├── RecipeError        training recipes
    └── ResultError        stored results and the folders that hold them

Each message says what was wrong, what was expected and what to do, in one line. The command
lines print it and leave with exit code 2; anything else is a defect and shows its traceback.
"""


class CircuitsError(ValueError):
    """Something the caller can mend."""


class DataError(CircuitsError):
    """Examples, pairs, quads or label names that cannot be used."""


class CheckpointError(CircuitsError):
    """A checkpoint that cannot be found, read or trusted."""


class UnsupportedModelError(CheckpointError):
    """A model of a family, or with a head, that is not supported."""


class SelfCheckError(CheckpointError):
    """A model whose declared architecture does not describe it."""


class RecipeError(CircuitsError):
    """A training recipe that cannot be run."""


class ResultError(CircuitsError):
    """A stored result that cannot be read, or a folder that cannot be written."""
