"""Items that cost differently, and items of groups, in `query`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.clusters import clusters

from agents.acquisition import query
from agents.acquisition.options import Limits
from agents.acquisition.query import select
from agents.strategies.terms import COST_POWER
from metaal_env.errors import InputError, InputTypeError

TRUTH = np.arange(60) % 3
X = clusters(TRUTH, 4, apart=3.0)
Y = np.where(np.arange(60) < 9, TRUTH, np.nan)
COSTS = np.random.default_rng(0).uniform(0.5, 4, 60)
PATIENTS = np.array([f"p{i // 6}" for i in range(60)], dtype=object)


@pytest.mark.parametrize("policy", ["uherding", "margin", "metaal-general"])
def test_utilities_are_those_for_their_money(policy: str) -> None:
    _, plain = query(X, Y, policy=policy, return_utilities=True, classes=[0, 1, 2])
    picks, paid = query(X, Y, policy=policy, return_utilities=True, classes=[0, 1, 2], costs=COSTS)
    low, high = np.nanmin(plain), np.nanmax(plain)
    wanted = (0.05 + 0.95 * (plain - low) / (high - low)) / (COSTS / COSTS.mean()) ** COST_POWER
    np.testing.assert_allclose(paid, wanted, rtol=1e-6)
    assert picks[0] == np.nanargmax(wanted[0])
    same = query(X, Y, policy=policy, classes=[0, 1, 2], costs=np.full(60, 3.0))
    assert same[0] == query(X, Y, policy=policy, classes=[0, 1, 2])[0]


def test_money_ends_the_batch() -> None:
    spent = COSTS[:9].sum()
    with pytest.warns(UserWarning, match="of 51 items are chosen; the budget"):
        picks = query(X, Y, batch_size=51, costs=COSTS, budget=spent + 10)
    left = np.setdiff1d(np.arange(9, 60), picks)
    assert COSTS[picks].sum() <= 10 and COSTS[left].min() > 10 - COSTS[picks].sum()


def test_what_cannot_be_paid_for_is_not_picked_even_where_it_stands_for_others() -> None:
    """Of a pool whose scored items are all too dear, the cheap ones are still reached."""
    costs = np.full(60, 50.0)
    costs[20] = 1.0
    found = select(
        X, Y, costs=costs, budget=float(costs[:9].sum()) + 2, limits=Limits(scored=8, least_scored=8)
    )
    assert found.picks.tolist() == [20]


def test_a_spent_budget_is_told() -> None:
    with pytest.raises(
        InputError, match=r"budget=3 is spent: 0 is left, and the cheapest candidate costs 0\.5"
    ):
        query(X, Y, costs=COSTS, budget=3)
    assert len(query(X, Y, costs=COSTS, budget=float(COSTS[:9].sum()) + 4.5)) == 1


@pytest.mark.parametrize("policy", ["uherding", "margin", "badge"])
def test_no_group_has_more_than_its_share_of_a_batch(policy: str) -> None:
    picks = query(X, Y, policy=policy, batch_size=12, groups=PATIENTS, per_group=2)
    _, counts = np.unique(PATIENTS[picks], return_counts=True)
    assert len(picks) == 12 and counts.max() == 2
    unbound = query(X, Y, policy="margin", batch_size=3, groups=PATIENTS)
    assert np.array_equal(unbound, query(X, Y, policy="margin", batch_size=3)), "groups alone change nothing"


def test_a_batch_ends_where_all_groups_have_enough() -> None:
    groups = PATIENTS.copy()
    groups[50:] = None  # ten items that stand alone
    with pytest.warns(UserWarning, match="18 of 40 items are chosen; the budget and per_group allow no more"):
        picks = query(X, Y, batch_size=40, groups=groups, per_group=1)
    assert sorted(picks)[-10:] == list(range(50, 60))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"costs": COSTS[:5]}, InputError, r"costs has shape \(5,\); give one price per item: \(60,\)"),
        (
            {"costs": np.where(np.arange(60) == 7, 0, COSTS)},
            InputError,
            r"costs\[7\]=0.0 must be a number above 0",
        ),
        ({"costs": ["dear"] * 60}, InputTypeError, "costs is not an array of numbers"),
        ({"groups": ["a"]}, InputError, "groups has shape"),
        ({"per_group": 1}, InputError, "per_group=1 has no effect without groups"),
        ({"groups": PATIENTS, "per_group": 0}, InputError, "per_group=0 must be at least 1"),
        ({"groups": PATIENTS, "per_group": 1.5}, InputTypeError, "per_group=1.5 must be a whole number"),
        ({"costs": COSTS, "candidates": X[:3] + 9}, InputError, "have no costs and groups; give positions"),
        ({"budget": 12.5}, InputTypeError, "budget=12.5 must be a whole number of labels"),
        ({"budget": "12", "costs": COSTS}, InputTypeError, "budget='12' must be a number, the money in all"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        query(X, Y, **options)
