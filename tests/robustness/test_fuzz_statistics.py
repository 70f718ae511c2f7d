"""The statistics on generated results: invariances that must hold, bounds, and bad input that must be named."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers.hostile import EXAMPLES, fuzz, refused
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation.statistics import intervals as s
from agents.evaluation.statistics import rank_tests
from metaal_env.errors import InputError

FEW = 50
"""Resamples: invariances hold for any number."""

# Multiples of 1/64, so that shifting and scaling by powers of two round nothing.
values = st.integers(-64, 128).map(lambda n: n / 64)
missing = st.one_of(values, values, values, st.just(np.nan))


def columns(
    k: int | None = None, elements: st.SearchStrategy[float] = missing
) -> st.SearchStrategy[np.ndarray]:
    widths = st.integers(1, 6) if k is None else st.just(k)
    return widths.flatmap(
        lambda w: hnp.arrays(float, st.tuples(st.integers(0, 14), st.just(w)), elements=elements)
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_invariances(examples: int) -> None:
    @fuzz(examples // 2)
    @given(columns(2), st.sampled_from([-2.0, -0.5, 0.25, 4.0]), st.integers(0, 99), st.booleans())
    def check(ab: np.ndarray, shift: float, seed: int, stratified: bool) -> None:
        a, b = ab.T
        rng = np.random.default_rng(seed)
        strata = rng.integers(0, 2, len(a)) if stratified else None
        order = rng.permutation(len(a))
        # Intervals: bounds, shift and scale.
        for statistic in (s.mean, s.iqm):
            own = s.bootstrap(a, strata, statistic=statistic, n_resamples=FEW)
            assert own.n + own.missing == len(a) and own.missing == int(np.isnan(a).sum())
            if own.n:
                low, high = np.nanmin(a), np.nanmax(a)
                assert (
                    low - 1e-9 <= own.low <= own.high <= high + 1e-9
                    and low - 1e-9 <= own.estimate <= high + 1e-9
                )
                moved = s.bootstrap(a * 2 + shift, strata, statistic=statistic, n_resamples=FEW)
                assert np.allclose(np.array(moved[:3]), 2 * np.array(own[:3]) + shift)
            else:
                assert np.isnan(own[:3]).all()
            again = s.bootstrap(
                a[order], None if strata is None else strata[order], statistic=statistic, n_resamples=2
            )
            assert np.isclose(again.estimate, own.estimate, equal_nan=True)
        # Paired differences: antisymmetry and permutation.
        one, other = s.difference(a, b, strata), s.difference(b, a, strata)
        assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
        assert np.isclose(one.interval.estimate, -other.interval.estimate, equal_nan=True)
        assert np.isclose(one.improvement + other.improvement, 1) or one.interval.n == 0
        assert np.isclose(one.p_value, other.p_value, equal_nan=True)
        assert np.isnan(one.p_value) or 0 <= one.p_value <= 1
        assert np.isclose(s.wilcoxon((a - b)[order]), one.p_value, equal_nan=True)
        assert np.isnan(one.detectable) or one.detectable >= 0

    check()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_ranks_and_corrections(examples: int) -> None:
    p_values = st.lists(st.one_of(st.floats(0, 1), st.just(np.nan)), max_size=8).map(np.array)

    @fuzz(examples // 2)
    @given(columns(), p_values, st.integers(0, 99))
    def check(table: np.ndarray, p: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows, cols = rng.permutation(table.shape[0]), rng.permutation(table.shape[1])
        ranks, n = rank_tests.average_ranks(table)
        k = table.shape[1]
        assert n == int((~np.isnan(table).any(1)).sum())
        if n:
            assert np.isclose(ranks.sum(), k * (k + 1) / 2) and (ranks >= 1).all() and (ranks <= k).all()
        moved, _ = rank_tests.average_ranks(table[rows][:, cols] * 4 + 0.5)
        assert np.allclose(moved, ranks[cols], equal_nan=True)
        chi, p_value = rank_tests.friedman(table)
        again = rank_tests.friedman(table[rows][:, cols] * 4 + 0.5)
        assert np.allclose(again, (chi, p_value), equal_nan=True)
        assert np.isnan(p_value) or (0 <= p_value <= 1 and chi >= -1e-9)
        adjusted = rank_tests.holm(p)
        there = ~np.isnan(p)
        assert np.array_equal(np.isnan(adjusted), ~there)
        assert (adjusted[there] >= p[there]).all() and (adjusted[there] <= 1).all()
        order = rng.permutation(len(p))
        assert np.allclose(rank_tests.holm(p[order]), adjusted[order], equal_nan=True)
        ranked = np.argsort(p[there], kind="stable")
        assert (np.diff(adjusted[there][ranked]) >= 0).all(), "order is kept"

    check()


BAD: list[tuple[str, dict[str, Any]]] = [
    ("values", {"values": [np.inf, 1.0]}),
    ("values", {"values": ["a"]}),
    ("values", {"values": 3.0}),
    ("values", {"values": [[1.0], [1.0, 2.0]]}),
    ("strata", {"values": [1.0, 2.0], "strata": ["a"]}),
    ("level", {"values": [1.0], "level": 0.0}),
    ("level", {"values": [1.0], "level": 1.0}),
    ("level", {"values": [1.0], "level": float("nan")}),
    ("n_resamples", {"values": [1.0], "n_resamples": 0}),
    ("n_resamples", {"values": [1.0], "n_resamples": 2.5}),
    ("n_resamples", {"values": [1.0], "n_resamples": 10**12}),
    ("seed", {"values": [1.0], "seed": -1}),
]


@pytest.mark.parametrize(("argument", "call"), BAD)
def test_bad_input_of_the_bootstrap(argument: str, call: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        s.bootstrap(**call)
    refused(caught.value, argument)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("a", lambda: s.difference([1.0], [1.0, 2.0])),
        ("a", lambda: s.difference([1.0, 2.0, 3.0], [1.0])),
        ("p_values", lambda: rank_tests.holm([0.5, 1.5])),
        ("p_values", lambda: rank_tests.holm([-0.1])),
        ("p_values", lambda: rank_tests.holm([[0.1]])),
        ("values", lambda: rank_tests.average_ranks(np.ones(3))),
        ("values", lambda: rank_tests.friedman(np.full((3, 3), np.inf))),
        ("sd", lambda: s.minimum_detectable(-1.0, 5)),
        ("alpha", lambda: s.minimum_detectable(1.0, 5, alpha=0)),
        ("power", lambda: s.minimum_detectable(1.0, 5, power=1)),
        ("alpha", lambda: rank_tests.critical_difference(3, 5, alpha=2)),
    ],
)
def test_bad_input_of_the_others(argument: str, call: Any) -> None:
    with pytest.raises(InputError) as caught:
        call()
    refused(caught.value, argument)
