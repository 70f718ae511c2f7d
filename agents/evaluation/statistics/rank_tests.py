"""Comparisons of many strategies at once: corrected p-values, ranks and critical differences.

Sources: Friedman and Nemenyi, Demšar 2006; Holm's correction, Benavoli et al. 2016.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from agents.evaluation.statistics.intervals import as_numbers, check_share
from metaal_env.errors import InputError


def holm(p_values: np.ndarray) -> np.ndarray:
    """Computes Holm's step-down adjusted p-values; NaN stays NaN and is not counted as a test."""
    p_values = as_numbers(p_values, "p_values", (1,))
    outside = p_values[(p_values < 0) | (p_values > 1)]
    if len(outside):
        raise InputError(f"p_values holds {outside[0]}; they must lie in [0, 1], NaN where there is none.")
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1) if len(order) else []
    return adjusted


def friedman(values: np.ndarray) -> tuple[float, float]:
    """Tests whether all k strategies of (n, k) values are equal; returns chi-squared and p, from complete rows.

    NaN with fewer than three strategies or two complete tasks.
    """
    values = as_numbers(values, "values", (2,))
    complete = values[~np.isnan(values).any(1)]
    if complete.shape[1] < 3 or len(complete) < 2 or np.ptp(complete, axis=1).max() == 0:
        return np.nan, np.nan
    statistic, p_value = stats.friedmanchisquare(*complete.T)
    return float(statistic), float(p_value)


def average_ranks(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Computes (k,) mean ranks of (n, k) values: 1 is the highest, ties are shared; returns also the rows used."""
    values = as_numbers(values, "values", (2,))
    complete = np.round(values[~np.isnan(values).any(1)], 9)
    if len(complete) == 0:
        return np.full(values.shape[1], np.nan), 0
    return stats.rankdata(-complete, axis=1).mean(0), len(complete)


def critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    """Computes how far apart mean ranks of k strategies over n tasks must be to differ (Nemenyi).

    ``q_α √(k(k+1) / 6n)`` with q_α from the studentised range divided by √2 (Demšar 2006, §3.2.2).
    """
    check_share(alpha, "alpha")
    if k < 2 or n < 1:
        return np.nan
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))
