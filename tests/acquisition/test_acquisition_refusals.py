"""What `query` refuses: wrong types as `TypeError`, wrong values, numbers that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.queries import N, data
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import InputTypeError, query
from metaal_env.errors import InputError


@pytest.mark.parametrize(
    "change",
    [
        {"X": None},
        {"X": "text"},
        {"X": [["a", "b"]] * N},
        {"y": None},
        {"y": [["a"]] * 3 + [1] * (N - 3)},
        {"missing_label": []},
        {"missing_label": "?"},
        {"clf": "logistic"},
        {"clf": LogisticRegression},
        {"fit_clf": "yes"},
        {"return_utilities": 1.5},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"candidates": "all"},
        {"candidates": [0.5, 1.5]},
        {"random_state": "seed"},
        {"policy": 3},
        {"budget": "many"},
        {"budget": True},
        {"sample_weight": ["a"] * N, "clf": GaussianNB()},
    ],
)
def test_wrong_types_raise(change: dict[str, Any]) -> None:
    x, y, _ = data()
    arguments = {"X": x, "y": y} | change
    with pytest.raises(InputTypeError):
        query(**arguments)
    with pytest.raises(TypeError):
        query(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((N, 0))}, "shape"),
        ({"X": np.zeros(N)}, "shape"),
        ({"y": np.zeros(3)}, "one label per item"),
        ({"y": np.zeros(N)}, "nothing left"),
        ({"batch_size": 0}, "at least 1"),
        ({"candidates": [N]}, "positions"),
        ({"candidates": [20, 20]}, "different"),
        ({"candidates": []}, "empty"),
        ({"candidates": np.ones(N - 1, dtype=bool)}, "one per item"),
        ({"candidates": np.zeros(N, dtype=bool)}, "without any True"),
        ({"candidates": np.zeros((2, 3))}, "features"),
        ({"policy": "uherdin"}, "did you mean 'uherding'"),
        ({"policy": ""}, "policy='' is empty"),
        ({"policy": "greedy_lookahead"}, "hidden labels"),
        ({"classes": [0, 1]}, "not among the classes"),
        ({"classes": []}, "classes is empty"),
        ({"sample_weight": np.ones(N), "policy": "uherding"}, "give the classifier"),
        ({"sample_weight": np.zeros(N)}, "0 at every label"),
        ({"sample_weight": -np.ones(N)}, r"sample_weight\[0\]=-1.0 must be a number of at least 0"),
        ({"sample_weight": np.full(N, np.nan)}, r"sample_weight\[0\]=nan must be"),
        ({"sample_weight": np.full(N, np.inf), "clf": GaussianNB()}, r"sample_weight\[0\]=inf must be"),
        ({"random_state": -1}, "negative"),
        ({"budget": -1}, "budget=-1 must be at least 0"),
        ({"budget": np.nan, "costs": np.ones(N)}, "budget=nan must be at least 0"),
    ],
)
def test_wrong_values_raise(change: dict[str, Any], message: str) -> None:
    x, y, _ = data()
    with pytest.raises(InputError, match=message):
        query(**({"X": x, "y": y} | change))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    x, y, _ = data()
    x[17, 3] = bad
    with pytest.raises(InputError, match=r"X\[17, 3\]"):
        query(x, y)


@pytest.mark.parametrize("extra", [{"budget": 10**30}, {"budget": np.inf, "costs": np.ones(N)}])
def test_a_budget_beyond_the_pool_is_one_for_the_whole_pool(extra: dict[str, Any]) -> None:
    x, y, _ = data()
    whole = {**extra, "budget": N}
    assert query(x, y, policy="uherding", **extra) == query(x, y, policy="uherding", **whole)
