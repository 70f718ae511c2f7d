"""`prior=`: class probabilities from before the first label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.clusters import clusters
from sklearn.linear_model import LogisticRegression

from agents.acquisition import InputTypeError, query
from agents.acquisition.options import Limits
from agents.acquisition.prior import Prior
from agents.acquisition.query import select
from metaal_env.errors import InputError

N, NAMES = 60, ["ham", "spam", "scam"]
TRUTH = np.arange(N) % 3
X = clusters(TRUTH, 5, noise=0.7, seed=0)
GOOD = np.where(np.arange(3) == TRUTH[:, None], 0.8, 0.1)
UNKNOWN: np.ndarray = np.full(N, None, dtype=object)


def labels(count: int, names: Any = NAMES) -> np.ndarray:
    y = UNKNOWN.copy()
    y[:count] = [names[TRUTH[i]] for i in range(count)]
    return y


def test_before_the_first_label_the_prior_is_the_classifier() -> None:
    doubtful = GOOD.copy()
    doubtful[17] = [0.45, 0.45, 0.1]
    for clf in (None, LogisticRegression()):
        for y in (UNKNOWN, labels(1)):
            assert query(X, y, clf=clf, policy="margin", prior=doubtful, classes=NAMES).tolist() == [17]
    view = select(X, UNKNOWN, policy="margin", prior=doubtful, classes=NAMES).views[0]
    order = np.argsort(NAMES)  # the view sorts its classes
    np.testing.assert_allclose(view.probs[0], (0.98 * doubtful + 0.02 / 3)[:, order], atol=1e-5)


def test_columns_follow_the_classes_in_the_order_given() -> None:
    pd = pytest.importorskip("pandas")
    prior = GOOD.copy()
    prior[7] = [0.5, 0.3, 0.2]
    expected = query(X, labels(6), policy="margin", prior=prior, classes=NAMES)
    swapped = [2, 0, 1]
    names = [NAMES[i] for i in swapped]
    np.testing.assert_array_equal(
        query(X, labels(6), policy="margin", prior=prior[:, swapped], classes=names), expected
    )
    table = pd.DataFrame(100 * prior, columns=NAMES)
    np.testing.assert_array_equal(query(X, labels(6), policy="margin", prior=table), expected)
    turned = table[names]
    np.testing.assert_array_equal(Prior.read(turned, NAMES, N).probs, Prior.read(prior, NAMES, N).probs)
    with pytest.raises(InputError, match="prior has the columns 'p', 'q', 'r' but classes names"):
        Prior.read(table.set_axis(["p", "q", "r"], axis=1), NAMES, N)
    with pytest.raises(InputError, match="two columns for the class 'p'"):
        Prior.read(table.set_axis(["p", "p", "r"], axis=1), None, N)


def test_labels_take_over_and_unforeseen_ones_sooner() -> None:
    start = Prior.read(GOOD, NAMES, N)
    known = np.arange(9)
    foreseen = [NAMES[i] for i in TRUTH[:9]]
    wrong = [NAMES[(i + 1) % 3] for i in TRUTH[:9]]
    assert start.trust(known[:0], []) == start.trust(known, foreseen) == 1
    assert start.trust(known[:3], wrong[:3]) > start.trust(known, wrong)
    assert start.trust(known, wrong) < 0.2
    assert start.weight(0) == 1 > start.weight(6) == 0.5 > start.weight(60)

    def right(count: int, prior: np.ndarray | None) -> float:
        view = select(X, labels(count), policy="margin", prior=prior, classes=NAMES).views[0]
        return float((np.asarray(sorted(NAMES))[view.probs[0].argmax(1)] == np.array(NAMES)[TRUTH]).mean())

    assert right(3, GOOD) > right(3, None)
    assert right(48, GOOD[:, [1, 2, 0]]) == right(48, None)


def test_new_candidates_and_large_pools_have_a_prior_too() -> None:
    new = X[:3] + 5
    picks = query(X, labels(6), candidates=new, policy="margin", prior=GOOD, classes=NAMES)
    assert picks[0] in range(3)
    doubtful = GOOD.copy()
    doubtful[40] = 1 / 3
    limits = Limits(scored=20, drawn_landmarks=5, rounds=2, landmarks_per_round=4)
    for y in (UNKNOWN, labels(1)):
        picks = select(X, y, policy="margin", prior=doubtful, classes=NAMES, limits=limits).picks
        assert picks.tolist() == [40]


@pytest.mark.parametrize(
    ("prior", "classes", "kind", "match"),
    [
        (GOOD, None, InputError, "prior is given but classes is not"),
        (GOOD[:5], NAMES, InputError, r"prior has shape \(5, 3\); give .*\(60, 3\)"),
        (np.where(np.arange(N)[:, None] == 4, -1, GOOD), NAMES, InputError, r"prior\[4\] is"),
        (np.where(np.arange(N)[:, None] == 4, np.nan, GOOD), NAMES, InputError, r"prior\[4\] is"),
        (np.zeros((N, 3)), NAMES, InputError, r"prior\[0\] is .* positive sum"),
        ("gpt", NAMES, InputTypeError, "prior is not an array of numbers"),
    ],
)
def test_unusable_priors_are_refused(prior: Any, classes: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        query(X, labels(6), prior=prior, classes=classes)
