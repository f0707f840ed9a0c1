"""What a comparison is asked to do: one frozen value, read from the command line or from Python.

Nothing here imports torch, so that `--help` and a mistyped option are answered at once.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal, cast, get_args

from behavior.errors import CircuitsError, ResultError

Role = Literal["teacher", "student", "teacher_plain", "student_plain", "student_debiased"]
Direction = Literal["noise", "denoise"]
Dtype = Literal["float32", "float64"]
Backend = Literal["hooks", "nnsight", "transformer-lens"]
Method = Literal[
    "eap",
    "eap_ig_inputs",
    "eap_ig_activations",
    "clean_corrupted",
    "exact_edges",
    "node_attribution",
    "edge_mask",
    "random",
]
Discovery = Method | Literal["none"]

ROLES: tuple[Role, ...] = get_args(Role)
COMPANIONS: tuple[Role, ...] = ROLES[2:]
PAIR: tuple[Role, ...] = ROLES[:2]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
METHODS: tuple[Method, ...] = get_args(Method)
DISCOVERIES: tuple[Discovery, ...] = (*METHODS, "none")

_POSITIVE = ("n_pairs", "batch_size", "n_examples", "n_resamples")


@dataclass(frozen=True, slots=True)
class ComparisonConfig:
    """One comparison, resolved to plain values that are stored with its result.

    Attributes:
        teacher: Name in checkpoints.yaml, local folder or hub id.
        student: The same, of the distilled model.
        teacher_plain: The teacher's architecture trained without debiasing, or None.
        student_plain: The student's architecture trained without teacher and debiasing, or None.
        student_debiased: The student's architecture debiased directly, or None.
        teacher_twins: Models of the teacher's recipe from other seeds.
        student_twins: Models of the student's recipe from other seeds.
        task: Name for `behavior.load_task`; None takes the one the checkpoints name.
        examples: File to read instead of a named task, or that the named task reads.
        checkpoints: Path of a checkpoints.yaml; None looks in the usual places.
        n_pairs: At most this many pairs of each contrast. A quad gives two.
        n_examples: At most this many in-domain examples.
        n_probe_quads: At most this many quads for the probes at each stage; 0 leaves them out.
        n_resamples: Bootstrap resamples behind every interval.
        direction: Which run a patch goes into: noise lowers the clean one, denoise restores the
            corrupted one.
        seed: Of the quads drawn, of the resamples and of the halves.
        device: Such as `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: Of the models' weights.
        batch_size: Examples in one forward; None lets the engine choose.
        backend: What models are patched with; answers and attribution always come from plain
            hooks.
        discovery: Algorithm that scores the edges of both models, always with plain hooks;
            `none` leaves circuits and direct paths out.
        interventions: Whether heads are matched, taken away and transplanted.
        check: Whether each model proves on load that its architecture is declared rightly.
        delta: Difference in probability below which two models count as equal. Twins of the
            teacher give another one, see `circuits.compare.twins`.
    """

    teacher: str
    student: str
    teacher_plain: str | None = None
    student_plain: str | None = None
    student_debiased: str | None = None
    teacher_twins: tuple[str, ...] = ()
    student_twins: tuple[str, ...] = ()
    task: str | None = None
    examples: str | None = None
    checkpoints: str | None = None
    n_pairs: int = 800
    n_examples: int = 2000
    n_probe_quads: int = 1200
    n_resamples: int = 2000
    direction: Direction = "noise"
    seed: int = 0
    device: str = "cpu"
    dtype: Dtype = "float32"
    batch_size: int | None = None
    backend: Backend = "hooks"
    discovery: Discovery = "eap_ig_inputs"
    interventions: bool = True
    check: bool = True
    delta: float = 0.10

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise CircuitsError(f"{name} is {value}. Give a whole number of at least 1.")
        for name in ("seed", "n_probe_quads"):
            if getattr(self, name) < 0:
                raise CircuitsError(
                    f"{name} is {getattr(self, name)}. Give a whole number of at least 0."
                )
        if self.direction not in DIRECTIONS:
            raise CircuitsError(f"Unknown direction {self.direction!r}. Use 'noise' or 'denoise'.")
        if self.backend not in BACKENDS:
            raise CircuitsError(
                f"Unknown backend {self.backend!r}. Use one of: {', '.join(BACKENDS)}."
            )
        if self.discovery not in DISCOVERIES:
            raise CircuitsError(
                f"Unknown discovery {self.discovery!r}. Use one of: {', '.join(DISCOVERIES)}."
            )
        if not 0 < self.delta < 1:
            raise CircuitsError(f"delta is {self.delta}. Give a probability between 0 and 1.")
        given = (self.teacher, self.student, *self.teacher_twins, *self.student_twins)
        for place, twin in enumerate(given[2:], start=2):
            if twin in given[:place]:
                raise CircuitsError(
                    f"The twin {twin!r} is given twice, or is teacher or student itself. A twin "
                    "is a model of the same recipe from another seed."
                )

    @property
    def n_quads(self) -> int:
        """Quads that give `n_pairs` pairs of each contrast, two each."""
        return (self.n_pairs + 1) // 2

    def checkpoint(self, role: Role) -> str | None:
        """What was given for one role."""
        return cast(str | None, getattr(self, role))

    def twins(self, role: Role) -> tuple[str, ...]:
        """The twins of teacher or student; no other role has any."""
        return {"teacher": self.teacher_twins, "student": self.student_twins}.get(role, ())

    def to_json(self) -> dict[str, object]:
        """All fields, in order, as JSON has them."""
        return {
            name: list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, stored: dict[str, object]) -> "ComparisonConfig":
        """Read what `to_json` wrote.

        Raises:
            ResultError: If a field is unknown, as in a result of another version.
        """
        unknown = sorted(set(stored) - {field.name for field in fields(cls)})
        if unknown:
            raise ResultError(
                f"The stored config has the unknown field {unknown[0]!r}. It was written by "
                "another version; run the comparison again."
            )
        values = {name: _tupled(value) for name, value in stored.items()}
        return cls(**cast(dict[str, "str"], values))  # pyright: ignore[reportArgumentType]


def _tupled(value: object) -> object:
    """JSON has lists where the config has tuples."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value
