"""Statistics against independent computations: scipy, closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.evaluation_stubs import made_up
from rich.console import Console
from scipy import stats

from agents.evaluation import pair, verdict
from agents.evaluation.statistics import intervals as statistics
from agents.evaluation.statistics import rank_tests
from agents.evaluation.statistics.comparisons import gap_share
from metaal_env.errors import InputError

RNG = np.random.default_rng(0)


def test_iqm_leaves_out_the_lowest_and_the_highest_quarter() -> None:
    x = np.array([[9.0, 1, 2, 3, 4, 5, 6, -50], [0, 0, 0, 0, 0, 0, 0, 80]])
    np.testing.assert_allclose(statistics.iqm(x), [(2 + 3 + 4 + 5) / 4, 0])
    assert statistics.iqm(np.array([3.0, 7, 100])) == pytest.approx(
        110 / 3
    )  # a quarter of three is less than one


def test_bootstrap_agrees_with_scipy() -> None:
    x = RNG.normal(size=300)
    for statistic, reference in (
        (statistics.mean, np.mean),
        (statistics.iqm, lambda v, axis: stats.trim_mean(v, 0.25, axis)),
    ):
        got = statistics.bootstrap(x, statistic=statistic, n_resamples=4000)
        want = stats.bootstrap(
            (x,), reference, n_resamples=4000, method="percentile", rng=1
        ).confidence_interval
        assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.012)


def test_stratified_interval_ignores_differences_between_strata() -> None:
    strata = np.repeat(["a", "b"], 100)
    x = RNG.normal(size=200) * 0.1 + np.where(strata == "a", 0, 5)
    stratified = statistics.bootstrap(x, strata)
    plain = statistics.bootstrap(x)
    assert stratified.high - stratified.low < 0.05 < plain.high - plain.low
    # Closed form: variance of a mean of equally large strata.
    se = np.sqrt(sum(x[strata == s].var(ddof=1) / 100 for s in "ab")) / 2
    assert (stratified.high - stratified.low) / (2 * 1.96 * se) == pytest.approx(1, abs=0.08)


def test_missing_values_stay_missing_and_are_counted() -> None:
    a, b = RNG.normal(size=(2, 50))
    a[:5], b[3:9] = np.nan, np.nan
    result = statistics.difference(a, b)
    assert (result.interval.n, result.interval.missing) == (41, 9)
    assert result.interval.estimate == pytest.approx(np.mean(a[9:] - b[9:]))
    assert result.wins + result.ties + result.losses == 41
    empty = statistics.bootstrap(np.full(3, np.nan))
    assert np.isnan(empty.estimate) and empty.missing == 3
    assert np.isnan(statistics.difference(a[:3], b[:3]).interval.estimate)


def test_holm_and_friedman_and_ranks() -> None:
    np.testing.assert_allclose(
        rank_tests.holm(np.array([0.01, np.nan, 0.04, 0.03])), [0.03, np.nan, 0.06, 0.06]
    )
    x = RNG.normal(size=(30, 4)) + np.array([0, 0, 0, 1])
    ranks, n = rank_tests.average_ranks(x)
    assert n == 30
    chi2 = 12 * 30 / (4 * 5) * (np.sum(ranks**2) - 4 * 25 / 4)  # Demšar 2006, eq. 1
    assert rank_tests.friedman(x)[0] == pytest.approx(chi2)
    assert rank_tests.critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=2e-3)
    assert np.isnan(rank_tests.friedman(np.ones((5, 3)))[1])


def test_minimum_detectable_difference_against_the_noncentral_t() -> None:
    n, sd = 53, 0.037
    delta = statistics.minimum_detectable(sd, n)
    t, shift = stats.t(n - 1).ppf(0.975), delta / sd * np.sqrt(n)
    assert stats.nct(n - 1, shift).sf(t) + stats.nct(n - 1, shift).cdf(-t) == pytest.approx(0.8, abs=0.01)
    assert np.isnan(statistics.minimum_detectable(sd, 1))


def _significant(shift: float, n: int, repeats: int) -> float:
    """Share of simulated comparisons whose 95 % interval excludes 0."""
    rng, hits = np.random.default_rng(1), 0
    for repeat in range(repeats):
        start = rng.normal(0.6, 0.1, n)
        a, b = (start + rng.normal(0, 0.03, n) + s for s in (shift, 0))
        low, high = statistics.bootstrap(a - b, n_resamples=400, seed=repeat)[1:3]
        hits += low > 0 or high < 0
    return hits / repeats


def test_against_itself_the_share_of_discoveries_is_nominal() -> None:
    assert _significant(0.0, 100, 600) == pytest.approx(0.05, abs=0.025)


def test_a_planted_difference_is_found_with_the_promised_power() -> None:
    shift = statistics.minimum_detectable(0.03 * np.sqrt(2), 100)
    assert _significant(shift, 100, 400) == pytest.approx(0.8, abs=0.06)


def test_verdict_shows_differences_gap_and_stars() -> None:
    base = RNG.uniform(0.4, 0.6, 60)
    results = {
        "random": made_up("random", base),
        "policy": made_up("policy", base + 0.05 + RNG.normal(0, 0.01, 60)),
        "oracle": made_up("oracle", base + 0.1, privileged=True),
    }
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(verdict(results))
    text = console.export_text()
    assert "oracle*" in text and "+.05" in text and "60/0/0" in text
    share = gap_share(pair(results), "policy", "random", "oracle")
    assert share.low < 0.5 < share.high and share.high - share.low < 0.1
    with pytest.raises(InputError, match="polcy"):
        verdict(results, policy="polcy")
