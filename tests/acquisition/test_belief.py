"""Batches of learned policies: each pick's label is believed before the next pick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from agents.acquisition import query
from agents.acquisition.belief import made_up_class
from agents.acquisition.labels import Labels, check_labels
from agents.acquisition.options import Limits, QueryOptions
from agents.acquisition.query import select
from metaal_env.pool.partitions import class_shares
from metaal_env.pool.view import PoolView


def points(n_classes: int = 5, each: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of classes that are far apart, and their classes."""
    truth = np.arange(n_classes).repeat(each)
    return clusters(truth, 8, apart=4, noise=0.3), truth


def test_a_batch_from_nothing_shows_every_class() -> None:
    x, truth = points()
    picks = query(x, np.full(len(x), np.nan), batch_size=5)
    assert len(set(truth[picks])) == 5


def test_picks_are_those_of_single_queries_that_are_told_the_likely_labels() -> None:
    x, truth = points()
    y = np.full(len(x), np.nan)
    y[[0, 20]] = truth[[0, 20]]
    batch = query(x, y, batch_size=4, classes=range(5))
    for pick in batch:
        assert query(x, y, classes=range(5))[0] == pick
        y[pick] = truth[pick]  # clusters are so far apart that what is believed is true, or another new class
    assert len(set(batch)) == 4


@pytest.mark.parametrize(
    "kind", [str, bool, int, lambda value: str(value).encode(), lambda value: 2**62 + int(value)]
)
def test_labels_of_any_kind_are_believed(kind: Any) -> None:
    x, truth = points(2)
    y = np.full(len(x), None, dtype=object)
    y[0], y[1] = kind(truth[0]), kind(truth[1])
    picks, utilities = query(x, y, batch_size=4, missing_label=None, return_utilities=True)
    assert len(set(picks)) == 4 and not set(picks) & {0, 1}
    for row, pick in zip(utilities, picks, strict=True):
        assert np.nanargmax(row) == pick
    assert np.isnan(utilities[-1][picks[:-1]]).all()
    assert y[0] == kind(truth[0]) and sum(value is not None for value in y) == 2, "what is passed in stays"


def test_a_prior_tells_what_to_believe() -> None:
    x, truth = points()
    prior = np.eye(5)[truth]
    picks = query(x, np.full(len(x), np.nan), batch_size=5, prior=prior, classes=range(5))
    assert len(set(truth[picks])) >= 4


def test_large_pools_are_believed_in_parts_and_larger_ones_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from agents.acquisition import belief

    x, _ = points(each=30)
    built: list[int] = []
    whole = belief.build_pool
    monkeypatch.setattr(
        belief, "build_pool", lambda *args, **kwargs: built.append(1) or whole(*args, **kwargs)
    )
    y = np.full(len(x), np.nan)
    for limits, parts in (
        (Limits(exact_batches=50, evaluations=3), 3),
        (Limits(scored=40), 1),
        (Limits(), 6),
    ):
        built.clear()
        assert len(set(select(x, y, QueryOptions(limits=limits), batch_size=6).picks)) == 6
        assert len(built) == parts
    built.clear()
    select(x, y, replace(QueryOptions(), policy="uherding"), batch_size=6)
    assert len(built) == 1, "rules spread their picks themselves"


def test_a_made_up_class_is_new_and_of_the_same_kind() -> None:
    def labels(values: list[Any]) -> Labels:
        return check_labels(values, len(values), None)

    assert made_up_class(labels([3, 7, None])) == 8
    assert made_up_class(labels(["a", "beta", None])) == "beta+"
    assert made_up_class(labels([True, None])) is False
    assert made_up_class(labels([None, None])) == 0
    assert made_up_class(labels([2**63 - 1, None])) == 2**63 - 1, "no float64 above it is the next class"


def test_a_label_more_stands_in_the_order_of_the_pool() -> None:
    labels = check_labels(["b", None, "a", None], 4, None).with_label(1, "longer than those")
    assert labels.values.tolist() == ["b", "longer than those", "a"] and labels.known.tolist() == [1, 1, 1, 0]
    assert labels.seen == ["a", "b", "longer than those"]


def test_shares_of_classes_are_equal_in_torch_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    for each in (12, 80):  # the larger pool is clustered in part
        x, truth = points(each=each)
        y = np.full(len(x), -1)
        y[[0, 1, each]] = truth[[0, 1, each]]

        def view(x: np.ndarray = x, y: np.ndarray = y) -> PoolView:
            vectors = torch.from_numpy(x).float()
            return PoolView.from_arrays(vectors, np.full((len(x), 5), 0.2), y)

        monkeypatch.delenv("METAAL_COMPILED", raising=False)
        fast = class_shares(view())
        monkeypatch.setenv("METAAL_COMPILED", "0")
        torch.testing.assert_close(fast, class_shares(view()), atol=0.1, rtol=0)
        assert fast[0, truth == 0, 0].mean() > 0.9


@pytest.mark.parametrize("known", [0, 1])
def test_no_class_is_made_up_beside_the_only_one_that_there_is(known: int) -> None:
    x, _ = points()
    y = np.array(["a"] * known + [None] * (len(x) - known), dtype=object)
    assert len(set(query(x, y, batch_size=4, classes=["a"], missing_label=None))) == 4


class TwoOutputs(ClassifierMixin, BaseEstimator):
    """A classifier of the classes 0 and 1, like a network with as many outputs."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> TwoOutputs:
        if max(y) > 1:
            raise IndexError("Target 2 is out of bounds.")
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.inner_.predict_proba(X)  # type: ignore[no-any-return]


def test_a_classifier_without_room_for_made_up_classes_is_fitted_to_the_others() -> None:
    x, truth = points()
    y = np.full(len(x), np.nan)
    y[[0, 12]] = truth[[0, 12]]
    picks = query(x, y, TwoOutputs(), batch_size=5)
    assert len(set(truth[picks]) - {0, 1}) == 3, "what is believed still spreads the batch"


def test_labels_of_real_classes_leave_out_made_up_ones() -> None:
    labels = check_labels(["b", None, "a", None], 4, None).with_label(1, "c", made_up=True).with_label(3, "a")
    real = labels.of_real_classes()
    assert real.values.tolist() == ["b", "a", "a"] and real.known.tolist() == [1, 0, 1, 1]
    assert real.seen == ["a", "b"]


def test_a_batch_warns_of_a_classifier_once(recwarn: pytest.WarningsRecorder) -> None:
    x, truth = points()
    y = np.full(len(x), np.nan)
    y[[0, 12]] = truth[[0, 12]]
    query(x, y, KNeighborsClassifier(5), batch_size=3)
    assert len([w for w in recwarn if "needs more labels" in str(w.message)]) == 1
