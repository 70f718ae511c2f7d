"""The contract of `query`, one property at a time, over every registered rule."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from helpers.queries import N, both, data
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import query
from agents.strategies import STRATEGIES
from agents.strategies.base import PrivilegedStrategy

KNOWN = 8
OPEN_RULES = sorted(
    name for name in STRATEGIES if not issubclass(type(STRATEGIES[name](seed=0)), PrivilegedStrategy)
)


CASES = pytest.mark.parametrize(
    ("policy", "clf"),
    [
        pytest.param(name, clf, id=f"{name}-{said}")
        for name in OPEN_RULES
        for clf, said in ((None, "own head"), (GaussianNB(), "clf"))
    ],
)
X, Y, _ = data(labelled=KNOWN)
FREE = np.arange(KNOWN, N)
LAST = FREE[-9:]


@functools.cache
def answer(policy: str, clf: Any) -> tuple[np.ndarray, np.ndarray]:
    """Three picks and their utilities; the properties below are of this one answer."""
    return both(X, Y, clf=clf, policy=policy, batch_size=3)


@CASES
def test_picks_are_different_items_without_a_label(policy: str, clf: Any) -> None:
    picks, _ = answer(policy, clf)
    assert len(set(picks)) == 3 and set(picks) <= set(FREE)


@CASES
def test_utilities_are_known_of_items_that_could_be_picked_alone(policy: str, clf: Any) -> None:
    picks, utilities = answer(policy, clf)
    assert utilities.shape == (3, N)
    assert np.isfinite(utilities[0, FREE]).all() and np.isnan(utilities[:, :KNOWN]).all()
    assert np.isnan(utilities[1, picks[0]]) and np.isnan(utilities[2, picks[:2]]).all()


@CASES
def test_the_same_question_has_the_same_answer(policy: str, clf: Any) -> None:
    again = both(X, Y, clf=clf, policy=policy, batch_size=3)
    for found, expected in zip(again, answer(policy, clf), strict=True):
        np.testing.assert_array_equal(found, expected)


@CASES
def test_candidates_by_position_have_the_utilities_of_the_whole_pool(policy: str, clf: Any) -> None:
    picks, utilities = both(X, Y, clf=clf, policy=policy, candidates=LAST[::-1])
    assert set(picks) <= set(LAST)
    np.testing.assert_allclose(utilities[0, LAST], answer(policy, clf)[1][0, LAST])


@CASES
def test_candidates_by_their_features_are_found_in_the_pool(policy: str, clf: Any) -> None:
    picks, utilities = both(X, Y, clf=clf, policy=policy, candidates=X[LAST])
    assert utilities.shape == (1, len(LAST)) and 0 <= picks[0] < len(LAST)
    np.testing.assert_allclose(utilities[0], answer(policy, clf)[1][0, LAST])


@CASES
def test_what_was_given_is_not_changed(policy: str, clf: Any) -> None:
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    query(x, y, clf=clf, policy=policy)
