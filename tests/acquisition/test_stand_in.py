"""Logistic regression stands in where a learned policy, as the default is, wants a classifier and gets none."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from helpers.queries import data
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from agents.acquisition import query
from agents.acquisition.labels import check_labels
from agents.acquisition.policies import DEFAULT_POLICY, load_policy
from agents.acquisition.query import select
from agents.acquisition.stand_in import LENGTH, fit_logistic, probabilities, stand_in
from agents.pretrained import shipped_policies


def test_the_default_is_a_shipped_policy_that_steps_back() -> None:
    x, y, _ = data(labelled=6)
    assert DEFAULT_POLICY in shipped_policies()
    np.testing.assert_array_equal(query(x, y, batch_size=3), query(x, y, batch_size=3, policy=DEFAULT_POLICY))
    assert load_policy().network.covered is not None  # type: ignore[attr-defined]


def test_it_is_scikit_learns_on_vectors_of_one_length() -> None:
    x, y, _ = data(labelled=8)
    known = ~np.isnan(y)
    z = x * LENGTH / np.sqrt(np.square(x).sum(1).mean())
    model = LogisticRegression(max_iter=500).fit(z[known], y[known])
    rows = np.arange(len(x))
    labels = check_labels(y, len(x), np.nan)
    for same in (x, x * 1e30, x * 1e-30, sparse.csr_array(x)):
        found = stand_in(same, labels, rows)
        assert found is not None and found.classes == model.classes_.tolist()
        np.testing.assert_allclose(found.probs, model.predict_proba(z), atol=1e-3)
        np.testing.assert_allclose(found.ask(rows[3:7]), found.probs[3:7])


@pytest.mark.parametrize("n_classes", [2, 3, 20])
@pytest.mark.parametrize("dimensions", [1, 64])
def test_its_fit_is_scikit_learns(n_classes: int, dimensions: int) -> None:
    rng = np.random.default_rng(n_classes)
    y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, 40)]
    x = rng.normal(size=(n_classes, dimensions))[y] + rng.normal(size=(len(y), dimensions))
    others = rng.normal(size=(50, dimensions))
    for weight in (None, rng.uniform(0.1, 5, len(y))):
        expected = LogisticRegression(max_iter=500).fit(x, y, weight).predict_proba(others)
        for same in (x, sparse.csr_array(x)):
            found = probabilities(others, fit_logistic(same, np.eye(n_classes)[y], weight))
            np.testing.assert_allclose(found, expected, atol=1e-9)


def test_weights_of_labels_reach_it() -> None:
    x, y, _ = data(labelled=8)
    weight = np.random.default_rng(0).uniform(0.1, 5, len(x))
    shown = select(x, y, sample_weight=weight).views[0].probs[0].numpy()
    found = stand_in(x, check_labels(y, len(x), np.nan), np.arange(len(x)), weight)
    assert found is not None and not np.allclose(
        found.probs, select(x, y).views[0].probs[0][:, :3], atol=1e-2
    )
    np.testing.assert_allclose(shown[:, :3], found.probs, atol=1e-4)


@pytest.mark.parametrize(("policy", "stands_in"), [(None, True), ("metaal-general", True), ("margin", False)])
def test_learned_policies_see_it_and_rules_do_not(policy: str | None, stands_in: bool) -> None:
    x, y, _ = data(labelled=8)
    shown = select(x, y, policy=policy).views[0].probs[0].numpy()
    found = stand_in(x, check_labels(y, len(x), np.nan), np.arange(len(x)))
    assert found is not None
    agrees = np.allclose(shown[:, : len(found.classes)], found.probs, atol=1e-4)
    assert agrees == stands_in


def test_labels_of_one_class_leave_metaals_own_head() -> None:
    x, y, _ = data(labelled=0)
    y[:3] = 1
    assert stand_in(x, check_labels(y, len(x), np.nan), np.arange(len(x))) is None
    assert query(x, y).shape == (1,)


def test_pixels_and_names_of_classes() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    answers = np.array(["cat", "dog", "owl", *[None] * 37], dtype=object)
    picks, utilities = query(images, answers, missing_label=None, batch_size=2, return_utilities=True)
    assert len(set(picks.tolist()) - {0, 1, 2}) == 2 and np.isfinite(utilities[0, 3:]).all()


@pytest.mark.parametrize(
    ("clf", "policy", "fit_clf", "stands_in"),
    [
        (KNeighborsClassifier(1), None, True, True),
        (KNeighborsClassifier(1), "margin", True, False),
        (KNeighborsClassifier(1), None, False, False),
        (LogisticRegression(C=0.1), None, True, False),
    ],
)
def test_it_stands_in_for_a_classifier_that_is_sure_of_everything(
    clf: Any, policy: str | None, fit_clf: bool, stands_in: bool
) -> None:
    x, y, _ = data(labelled=8)
    known = ~np.isnan(y)
    clf.fit(x[known], y[known])
    with pytest.warns(UserWarning, match="99% sure") if stands_in else nullcontext():
        shown = select(x, y, clf=clf, fit_clf=fit_clf, policy=policy).views[0].probs[0].numpy()
    found = stand_in(x, check_labels(y, len(x), np.nan), np.arange(len(x)))
    assert found is not None
    wanted = found.probs if stands_in else clf.predict_proba(x)
    np.testing.assert_allclose(shown[:, : wanted.shape[1]], wanted, atol=1e-4)
