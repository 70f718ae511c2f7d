"""Statistics of paired results: intervals, differences and power. Missing values stay missing.

Sources: interquartile mean and stratified bootstrap, Agarwal et al. 2021 (arXiv 2108.13264); Wilcoxon, Benavoli
et al. 2016. Comparisons of many strategies at once are in `rank_tests.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from metaal_env.errors import InputError, brief

Statistic = Callable[[np.ndarray], np.ndarray]
"""(…, n) → (…): reduces the last axis."""

N_RESAMPLES = 2000
_CHUNK = 4_000_000  # resampled numbers held at once
_MAX_RESAMPLES = 10_000_000


class Interval(NamedTuple):
    """An estimate with its two-sided percentile-bootstrap interval."""

    estimate: float
    low: float
    high: float
    n: int  # values used
    missing: int  # values dropped because they were NaN


class Difference(NamedTuple):
    """Paired comparison of two strategies, first − second."""

    interval: Interval
    detectable: float  # smallest true difference found with power .8 at α = .05
    improvement: float  # share of tasks on which the first is better, ties counting half
    wins: int
    ties: int
    losses: int
    p_value: float  # Wilcoxon signed-rank, two-sided; NaN without any difference


def as_numbers(values: np.ndarray, name: str, dims: tuple[int, ...]) -> np.ndarray:
    """Returns float64 with NaN at missing values. Raises: `InputError` for another shape or type, or infinities."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} is not an array of numbers ({brief(error)}); give numbers, NaN where missing."
        ) from error
    if array.ndim not in dims:
        raise InputError(f"{name} has shape {array.shape}; it must have {' or '.join(map(str, dims))} axes.")
    if np.isinf(array).any():
        raise InputError(f"{name} holds {array[np.isinf(array)][0]}; give finite numbers, NaN where missing.")
    return array


def check_share(value: float, name: str) -> None:
    """Raises: `InputError` unless the value lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"{name}={value} must lie in (0, 1).")


def mean(values: np.ndarray) -> np.ndarray:
    """Computes the arithmetic mean, (…, n) → (…)."""
    return values.mean(-1)


def iqm(values: np.ndarray) -> np.ndarray:
    """Computes the mean without the lowest and the highest quarter, (…, n) → (…)."""
    return stats.trim_mean(values, 0.25, axis=-1)


def resamples(strata: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0) -> list[np.ndarray]:
    """Draws index arrays (r, n) within each stratum, r in total `n_resamples`: the stratified bootstrap."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == s) for s in dict.fromkeys(strata.tolist())]
    size = max(1, _CHUNK // max(1, len(strata)))
    chunks = []
    for start in range(0, n_resamples, size):
        rows = min(size, n_resamples - start)
        chunks.append(np.concatenate([g[rng.integers(len(g), size=(rows, len(g)))] for g in groups], axis=1))
    return chunks


def bootstrap(
    values: np.ndarray,
    strata: np.ndarray | None = None,
    *,
    statistic: Statistic = mean,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Computes the percentile interval of a statistic, resampling within strata.

    Args:
        values: (n,) with NaN at missing values, or (n, m): rows are then resampled together and `statistic`
            is given (…, n, m) moved to (…, m, n); rows with any NaN are missing.
        strata: (n,) names; None is one stratum.
        statistic: reduces the last axis (and, for (n, m) values, the one before it).

    Raises:
        InputError: infinite values, strata of another length, or a setting out of range.
    """
    values = as_numbers(values, "values", (1, 2))
    if strata is not None and np.shape(strata) != (len(values),):
        raise InputError(
            f"strata has shape {np.shape(strata)} for {len(values)} values; give one name per value."
        )
    check_share(level, "level")
    if not isinstance(n_resamples, int) or not 1 <= n_resamples <= _MAX_RESAMPLES:
        raise InputError(f"n_resamples={n_resamples!r} must be a whole number in [1, {_MAX_RESAMPLES:,}].")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed={seed!r} must be a whole number from 0 up.")
    keep = ~np.isnan(values).any(tuple(range(1, values.ndim)))
    missing = int((~keep).sum())
    kept = values[keep]
    if len(kept) == 0:
        return Interval(np.nan, np.nan, np.nan, 0, missing)
    groups = np.zeros(len(kept), dtype=int) if strata is None else np.asarray(strata)[keep]

    def of(sample: np.ndarray) -> np.ndarray:
        return statistic(sample if values.ndim == 1 else np.moveaxis(sample, -1, -2))

    draws = np.concatenate([of(kept[index]) for index in resamples(groups, n_resamples, seed)])
    tail = (1 - level) / 2
    finite = draws[np.isfinite(draws)]
    low, high = np.quantile(finite, [tail, 1 - tail]) if len(finite) else (np.nan, np.nan)
    return Interval(float(of(kept)), float(low), float(high), len(kept), missing)


def difference(a: np.ndarray, b: np.ndarray, strata: np.ndarray | None = None, seed: int = 0) -> Difference:
    """Compares two strategies on the tasks that both have; (n,) values each, aligned.

    Raises:
        InputError: infinite values, or not equally many.
    """
    first, second = as_numbers(a, "a", (1,)), as_numbers(b, "b", (1,))
    if len(first) != len(second):
        raise InputError(f"a has {len(first)} values but b has {len(second)}; give the same tasks of both.")
    delta = first - second
    interval = bootstrap(delta, strata, seed=seed)
    there = delta[~np.isnan(delta)]
    # Differences of float rounding are ties: accuracies are ratios of small integers.
    wins, losses = int((there > 1e-9).sum()), int((there < -1e-9).sum())
    ties = len(there) - wins - losses
    improvement = (wins + 0.5 * ties) / len(there) if len(there) else np.nan
    sd = float(there.std(ddof=1)) if len(there) > 1 else np.nan
    detectable = minimum_detectable(sd, len(there))
    return Difference(interval, detectable, improvement, wins, ties, losses, wilcoxon(there))


def wilcoxon(delta: np.ndarray) -> float:
    """Computes the two-sided p-value of the signed-rank test; NaN when all differences are zero."""
    delta = np.where(np.abs(delta) <= 1e-9, 0.0, delta)
    delta = delta[~np.isnan(delta)]
    if not np.any(delta):
        return np.nan
    return float(
        stats.wilcoxon(delta, method="asymptotic").pvalue if len(delta) > 50 else stats.wilcoxon(delta).pvalue
    )


def minimum_detectable(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Computes the smallest true mean difference that a two-sided paired t-test on n pairs finds with `power`.

    ``(t_{1−α/2, n−1} + t_{power, n−1}) · sd / √n``; `sd` is that of the paired differences.
    """
    if sd < 0:
        raise InputError(f"sd={sd} must not be negative.")
    check_share(alpha, "alpha")
    check_share(power, "power")
    if n < 2:
        return np.nan
    t = stats.t(n - 1)
    return float((t.ppf(1 - alpha / 2) + t.ppf(power)) * sd / np.sqrt(n))
