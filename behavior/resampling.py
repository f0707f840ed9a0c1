"""Bootstrap weights over units within templates, drawn once and shared by all statistics.

1. The unit of resampling is the quad (or the pair or example, where there are no quads). Several
   rows may belong to one unit: the two pairs of a quad, or a quad that is listed twice.
2. Units are drawn within their template, so that every resample holds the templates in the same
   proportions. Templates with fewer than `MIN_UNITS` units are drawn together.
3. Of the n units of a template, n - 1 are drawn with replacement and count n / (n - 1) times
   each (Rao and Wu 1988, https://doi.org/10.1080/01621459.1988.10478591), which makes the
   variance over resamples unbiased where templates are small.
4. Draws follow the sorted ids: neither the order of the rows nor their repetition matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Shaped

from behavior.errors import DataError

MIN_UNITS = 5
"""Templates with fewer units are resampled together, data with fewer units get no interval."""

_LEAST_ERROR = 0.2
_DRAWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Resamples:
    """How often each unit counts in each resample, and which rows belong to which unit.

    Attributes:
        units: [unit] distinct ids, stratum by stratum, sorted within each.
        strata: [unit] number of the template, or group of small templates; not falling.
        weights: [resample, unit] rescaled counts; each stratum's sum is its number of units.
        rows: [row] position in `units` of each row of the data.
        seed: Of the draws.
    """

    units: tuple[str, ...]
    strata: Int[np.ndarray, " unit"]
    weights: Float[np.ndarray, "resample unit"]
    rows: Int[np.ndarray, " row"]
    seed: int

    @property
    def n_units(self) -> int:
        """Number of distinct units."""
        return len(self.units)

    @property
    def stratum_slices(self) -> list[slice]:
        """Columns of `weights` that each stratum takes."""
        ends = np.cumsum(np.bincount(self.strata)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    @property
    def row_weights(self) -> Float[np.ndarray, "resample row"]:
        """Weights of the rows: each carries those of its unit."""
        return self.weights[:, self.rows]

    def over(self, units: Sequence[str]) -> "Resamples":
        """The same draws for other rows of these units, such as the pairs of the quads.

        Raises:
            DataError: If a unit was not drawn.
        """
        return replace(self, rows=_positions(units, self.units))

    def totals(self, values: Shaped[np.ndarray, " row *stat"]) -> Float[np.ndarray, " unit *stat"]:
        """Sum of each unit's rows; zero for a unit without rows.

        Raises:
            DataError: If there are not as many values as resampled rows.
        """
        if len(values) != len(self.rows):
            raise DataError(
                f"{len(values)} rows of values were given for {len(self.rows)} resampled rows. "
                "Give one id for each row; see Resamples.over."
            )
        return sum_rows(values, self.rows, self.n_units)


def resample_units(
    units: Sequence[str],
    templates: Sequence[str] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draw bootstrap weights over the distinct units, within templates.

    Args:
        units: [row] id of the unit that each row belongs to.
        templates: [row] template of each row's unit; None or empty strings if there are none.
        n_resamples: Number of resamples.
        seed: Of the draws.

    Raises:
        DataError: If there are no units, or a unit has two templates.
    """
    if n_resamples < 1:
        raise DataError(f"{n_resamples} resamples were asked for. Give a positive number.")
    template_of = _template_of(units, templates)
    names = sorted(template_of)
    strata = _strata([template_of[name] for name in names])
    order = np.argsort(strata, kind="stable")
    names, strata = tuple(names[i] for i in order), strata[order]
    generator = np.random.default_rng(seed)
    sizes = np.bincount(strata).tolist()
    weights = np.hstack([_draw(size, n_resamples, generator) for size in sizes])
    return Resamples(names, strata, weights, _positions(units, names), seed)


def split_units(
    units: Sequence[str], templates: Sequence[str] | None = None, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Two random halves of the units, each template split evenly: one chooses, one tests.

    Raises:
        DataError: If there are no units, or a unit has two templates.
    """
    template_of = _template_of(units, templates)
    order = np.random.default_rng(seed).permutation(len(template_of))
    shuffled = [sorted(template_of)[i] for i in order]
    by_template = sorted(shuffled, key=lambda unit: template_of[unit])
    return tuple(sorted(by_template[::2])), tuple(sorted(by_template[1::2]))


def sum_rows(
    values: Shaped[np.ndarray, " row *stat"], rows: Int[np.ndarray, " row"], n_units: int
) -> Float[np.ndarray, " unit *stat"]:
    """Sum of the rows of each unit, in float64; zero for a unit without rows."""
    totals = np.zeros((n_units, *values.shape[1:]))
    order = np.argsort(rows, kind="stable")
    present, first = np.unique(rows[order], return_index=True)
    if len(present):
        totals[present] = np.add.reduceat(values[order].astype(np.float64), first, axis=0)
    return totals


def replicate_means(
    sums: Float[np.ndarray, "unit k"], sizes: Float[np.ndarray, "unit k"], resamples: Resamples
) -> Float[np.ndarray, "replicate k"]:
    """Mean of all rows (first) and of the rows of each resample; NaN where there are none."""
    totals = np.vstack([sums.sum(0), resamples.weights @ sums])
    counts = np.vstack([sizes.sum(0), resamples.weights @ sizes])
    with np.errstate(invalid="ignore"):
        return totals / counts


def studentise(
    sums: Float[np.ndarray, "unit k"], sizes: Float[np.ndarray, "unit k"], resamples: Resamples
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, "resample k"]]:
    """Mean, its standard error, and each resample's error in units of its own standard error.

    The mean is the ratio of the totals of `sums` and `sizes`; its variance is that of the
    linearised ratio within strata. A resample's standard error counts as at least a fifth of the
    data's: a resample that misses all rare large values would otherwise decide the interval.
    """
    replicates = replicate_means(sums, sizes, resamples)
    mean, shift = replicates[0], replicates[1:] - replicates[0]
    residuals = np.nan_to_num(sums - mean * sizes)
    variance, resampled_variance = np.zeros_like(mean), np.zeros_like(shift)
    for members in resamples.stratum_slices:
        error, size = residuals[members], sizes[members]
        n, drawn = len(error), max(len(error) - 1, 1)
        variance += n / drawn * ((error - error.mean(0)) ** 2).sum(0)
        moments = np.hstack([error, size, error**2, error * size, size**2])
        moments = resamples.weights[:, members] @ moments * (drawn / n)
        first, counted, second, mixed, squared = np.hsplit(moments, 5)
        total = first - shift * counted
        squares = second - 2 * shift * mixed + shift**2 * squared
        spread = np.maximum(squares - total**2 / drawn, 0)
        resampled_variance += n**2 / (drawn * max(drawn - 1, 1)) * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        standard_error = np.sqrt(variance) / sizes.sum(0)
        own_error = np.sqrt(resampled_variance) / (resamples.weights @ sizes)
        t = shift / np.maximum(own_error, _LEAST_ERROR * standard_error)
    return mean, standard_error, np.where(standard_error > 0, t, 0.0)


def _draw(n: int, n_resamples: int, generator: np.random.Generator) -> Float[np.ndarray, "r n"]:
    weights = np.ones((n_resamples, n))
    if n == 1:
        return weights
    at_once = max(_DRAWS_AT_ONCE // n, 1)
    for start in range(0, n_resamples, at_once):
        block = weights[start : start + at_once]
        drawn = generator.integers(n, size=(len(block), n - 1))
        drawn += n * np.arange(len(block))[:, None]
        block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)
    return weights * (n / (n - 1))


def _template_of(units: Sequence[str], templates: Sequence[str] | None) -> dict[str, str]:
    if not units:
        raise DataError("There are no units to resample. Give at least one example.")
    template_of: dict[str, str] = {}
    for unit, template in zip(units, templates or [""] * len(units), strict=True):
        if template_of.setdefault(unit, template) != template:
            raise DataError(
                f"Unit {unit!r} has two templates, {template_of[unit]!r} and {template!r}. "
                "Give ids that are unique, or one template for each."
            )
    return template_of


def _strata(templates: Sequence[str]) -> Int[np.ndarray, " unit"]:
    """Large templates keep to themselves; small ones are pooled until the pool is large."""
    names, codes, counts = np.unique(templates, return_inverse=True, return_counts=True)
    by_size = np.argsort(counts, kind="stable")
    pooled_before = np.cumsum(counts[by_size]) - counts[by_size]
    pooled = (counts[by_size] < MIN_UNITS) | ((pooled_before > 0) & (pooled_before < MIN_UNITS))
    stratum_of = np.empty(len(names), dtype=np.int64)
    n_pooled = int(pooled.sum())
    stratum_of[by_size] = np.where(pooled, 0, np.arange(len(names)) - max(n_pooled - 1, 0))
    return stratum_of[codes]


def _positions(units: Sequence[str], names: Sequence[str]) -> Int[np.ndarray, " row"]:
    position = {name: i for i, name in enumerate(names)}
    unknown = next((unit for unit in units if unit not in position), None)
    if unknown is not None:
        raise DataError(
            f"Unit {unknown!r} was not drawn. Resample the ids of all quads that are measured."
        )
    return np.array([position[unit] for unit in units], dtype=np.int64)
