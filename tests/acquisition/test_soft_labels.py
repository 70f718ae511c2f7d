"""Soft labels: (N, C) shares of the classes in place of one label per item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.queries import data
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from agents.acquisition import query
from agents.acquisition.labels import check_labels
from agents.acquisition.query import select
from agents.acquisition.soft_labels import read_soft_labels
from agents.acquisition.stand_in import stand_in
from metaal_env.errors import InputError

NAMES = ["ham", "scam", "spam"]


def soft(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, and the shares of three classes in the labels of the first items."""
    x, _, truth = data(labelled=0)
    shares = np.full((len(x), 3), np.nan)
    shares[:count] = 0.1
    shares[np.arange(count), truth[:count]] = 0.8
    return x, shares


def test_one_hot_rows_are_labels() -> None:
    x, shares = soft()
    y = np.array([None] * len(x), dtype=object)
    y[:8] = np.array(NAMES)[shares[:8].argmax(1)]
    one_hot = np.where(np.isnan(shares), np.nan, shares > 0.5)
    for policy in (None, "margin", "uherding"):
        for clf in (None, LogisticRegression()):
            arguments: dict[str, Any] = {"clf": clf, "policy": policy, "classes": NAMES, "batch_size": 3}
            np.testing.assert_array_equal(query(x, one_hot, **arguments), query(x, y, **arguments))


def test_a_classifier_is_fitted_to_the_shares() -> None:
    x, shares = soft()
    rows = np.repeat(np.arange(8), 3)
    model = LogisticRegression().fit(x[rows], np.tile(NAMES, 8), shares[:8].ravel())
    for clf in (LogisticRegression(), make_pipeline("passthrough", LogisticRegression())):
        view = select(x, shares, clf=clf, classes=NAMES, policy="margin").views[0]
        np.testing.assert_allclose(view.probs[0], model.predict_proba(x), atol=1e-4)
    found = stand_in(x, read_soft_labels(shares, NAMES, len(x)), np.arange(len(x)))
    hard = np.array([None] * len(x), dtype=object)
    hard[:8] = np.array(NAMES)[shares[:8].argmax(1)]
    sure = stand_in(x, check_labels(hard, len(x), None), np.arange(len(x)))
    assert found is not None and sure is not None and found.probs.max() < sure.probs.max()


def test_weights_and_new_candidates_go_with_them() -> None:
    x, shares = soft()
    weight = np.where(np.arange(len(x)) == 0, 9.0, 1.0)
    plain, weighted = (
        select(x, shares, sample_weight=w, classes=NAMES).views[0].probs for w in (None, weight)
    )
    assert not np.allclose(plain, weighted, atol=1e-2)
    assert len(query(x, shares, classes=NAMES, candidates=x[20:25] + 0.01)) == 1
    assert len(query(x, shares, classes=NAMES, batch_size=4)) == 4


def test_a_data_frames_columns_are_the_classes() -> None:
    pd = pytest.importorskip("pandas")
    x, shares = soft()
    table = pd.DataFrame(shares, columns=NAMES)
    expected = query(x, shares, classes=NAMES)
    np.testing.assert_array_equal(query(x, table), expected)
    np.testing.assert_array_equal(query(x, table[NAMES[::-1]], classes=NAMES), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.tile([0, 1, 2], (40, 1)), "classes": NAMES}, "sum to 1"),
        ({"classes": NAMES[:2]}, "several values per item"),
        ({"classes": ["ham", "ham", "spam"]}, "several values per item"),
        ({"classes": None}, "several values per item"),
        ({"clf": KNeighborsClassifier(1), "classes": NAMES}, "sample_weight"),
    ],
)
def test_what_is_no_share_of_a_class_is_said(change: dict[str, Any], message: str) -> None:
    x, shares = soft()
    arguments: dict[str, Any] = {"y": shares, "policy": "margin"} | change
    with pytest.raises(InputError, match=message):
        query(x[: len(arguments["y"])], **arguments)


def test_half_a_row_is_an_error() -> None:
    x, shares = soft()
    shares[3, 0] = np.nan
    with pytest.raises(InputError, match=r"y\[3\]"):
        query(x, shares, classes=NAMES)
