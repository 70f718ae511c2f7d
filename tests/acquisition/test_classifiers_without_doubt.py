"""Learned policies leave the choice to a coverage rule under classifiers that tell nothing but classes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from agents.acquisition.batch import Selection
from agents.acquisition.policies import Coverage
from agents.acquisition.query import select
from agents.policy.reasons import in_words, reasons

X = np.random.default_rng(0).normal(size=(80, 4))
Y = np.full(80, np.nan)
Y[:8] = np.arange(8) % 3


def chosen(clf: Any, **options: Any) -> Selection:
    return select(X, Y, clf=clf, **options)


@pytest.mark.parametrize("clf", [KNeighborsClassifier(1), DecisionTreeClassifier(random_state=0)])
def test_max_herding_chooses_and_says_so(clf: Any) -> None:
    with pytest.warns(UserWarning, match="max_herding"):
        found = chosen(clf, batch_size=3)
    assert isinstance(found.strategy, Coverage)
    assert found.picks.tolist() == select(X, Y, policy="max_herding", batch_size=3).picks.tolist()
    assert "max_herding" in in_words(reasons(found.strategy, found.views[0], found.places[0]))


class SureAtFirst(KNeighborsClassifier):
    """Doubts from the ninth label on, also where that is only believed."""

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        probs = np.asarray(super().predict_proba(x))
        return probs if self.n_samples_fit_ == 8 else 0.9 * probs + 0.1 / probs.shape[1]


def test_one_rule_chooses_the_whole_batch() -> None:
    with pytest.warns(UserWarning, match="max_herding"):
        found = chosen(SureAtFirst(1), batch_size=3)
    assert isinstance(found.strategy, Coverage)
    assert found.picks.tolist() == select(X, Y, policy="max_herding", batch_size=3).picks.tolist()


def test_classifiers_that_may_doubt_are_left_to_the_policy() -> None:
    with pytest.warns(UserWarning, match="logistic regression"):
        found = chosen(GaussianNB(var_smoothing=1e-9))  # sure of most items, but not of all
    assert not isinstance(found.strategy, Coverage)
    assert not isinstance(chosen(KNeighborsClassifier(5)).strategy, Coverage)


@pytest.mark.parametrize("known", ["a rule", "a fitted classifier", "a prior"])
def test_who_knows_more_is_asked(known: str) -> None:
    clf = KNeighborsClassifier(1).fit(X[:8], Y[:8])
    options: dict[str, dict[str, Any]] = {
        "a rule": {"policy": "margin"},
        "a fitted classifier": {"fit_clf": False},
        "a prior": {"prior": np.full((80, 3), 1 / 3), "classes": [0, 1, 2]},
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*max_herding")
        assert not isinstance(chosen(clf, **options[known]).strategy, Coverage)
