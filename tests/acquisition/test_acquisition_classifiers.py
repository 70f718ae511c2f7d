"""A user's classifier in `query`: with too few labels, unfitted, faulty, or trained before any label is known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from agents.acquisition import MetaALQuery, query
from agents.acquisition.options import Limits
from agents.acquisition.own_head import own_view, scaled, view_of_few_classes
from agents.acquisition.query import select
from metaal_env.errors import InputError

N = 60
TRUTH = np.arange(N) % 3
RNG = np.random.default_rng(0)
X = clusters(TRUTH, 4, apart=2, noise=0.7, on_axes=True, seed=RNG)


def labels(known: int, classes: int = 3) -> np.ndarray:
    y = np.full(N, np.nan)
    y[:known] = TRUTH[:known] % classes
    return y


def utilities(y: np.ndarray, **options: Any) -> np.ndarray:
    return query(X, y, return_utilities=True, **({"policy": "least_confident"} | options))[1][0]  # type: ignore[index]


NEED_MORE = [
    (KNeighborsClassifier(12), 12),
    (CalibratedClassifierCV(GaussianNB(), cv=3), 9),
    (GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3), 9),
    (LinearDiscriminantAnalysis(n_components=2), 12),
    (QuadraticDiscriminantAnalysis(), 30),
    (StackingClassifier([("a", GaussianNB()), ("b", KNeighborsClassifier(2))], cv=3), 12),
    (make_pipeline(SelectKBest(k=3), KNeighborsClassifier(10)), 12),
]


@pytest.mark.parametrize(
    ("clf", "enough"), NEED_MORE, ids=lambda v: type(v).__name__ if hasattr(v, "fit") else str(v)
)
def test_own_head_serves_until_the_classifier_can_be_fitted(clf: Any, enough: int) -> None:
    few = labels(3, classes=2)
    with pytest.warns(UserWarning, match="needs more labels or classes than there are so far") as caught:
        found = utilities(few, clf=clf)
    assert len(caught) == 1 and type(clf).__name__ in str(caught[0].message)
    np.testing.assert_array_equal(found, utilities(few))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".*least populated class")
        found = utilities(labels(enough), clf=clf)
    probs = clf.fit(X[:enough], TRUTH[:enough]).predict_proba(X)
    np.testing.assert_allclose(found[enough:], 1 - probs.max(1)[enough:], atol=1e-5)


@pytest.mark.parametrize(
    ("clf", "options", "message"),
    [
        (LogisticRegression(C=-1), {}, "clf=LogisticRegression could not be fitted or asked: .*'C' parameter"),
        (KNeighborsClassifier(3), {"sample_weight": np.ones(N)}, "sample_weight"),
        (make_pipeline(SelectKBest(k=-1), GaussianNB()), {}, "could not be fitted or asked: .*'k'"),
        (LogisticRegression(), {"fit_clf": False}, "is not fitted; fit it first"),
        (GridSearchCV(LogisticRegression(), {"C": [1]}), {"fit_clf": False}, "is not fitted"),
        (make_pipeline(LogisticRegression()), {"fit_clf": False}, "is not fitted"),
        (LogisticRegression().fit(X[:, :2], TRUTH), {"fit_clf": False}, "cannot predict .*4 features"),
        (LogisticRegression().fit(X, TRUTH % 2), {"fit_clf": False}, "label 2.0, which is not among the classes 0, 1"),
        (LogisticRegression().fit(X, TRUTH.astype(str)), {"fit_clf": False}, "not among the classes '0', '1', '2'"),
        (GaussianNB, {}, "clf=GaussianNB must be a classifier object"),
        (LinearSVC(), {}, "predict_proba; CalibratedClassifierCV"),
        (StackingClassifier([("a", GaussianNB())], LinearSVC()), {}, "predict_proba; CalibratedClassifierCV"),
        (StackingClassifier([("a", GaussianNB())]), {"fit_clf": False}, "predict_proba; CalibratedClassifierCV"),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "fit") else "",
)  # fmt: skip
def test_a_faulty_classifier_gets_one_sentence(clf: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        query(X, labels(9), clf=clf, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_the_last_step_of_a_pipeline(routing: bool) -> None:
    weight = np.random.default_rng(1).uniform(0.1, 5, N)
    expected = utilities(labels(9), clf=LogisticRegression(), sample_weight=weight)
    with config_context(enable_metadata_routing=routing):
        last = LogisticRegression().set_fit_request(sample_weight=True) if routing else LogisticRegression()
        clf = make_pipeline("passthrough", make_pipeline("passthrough", last))
        np.testing.assert_allclose(utilities(labels(9), clf=clf, sample_weight=weight), expected)


@pytest.mark.parametrize("policy", [None, "margin"])
def test_what_does_not_sum_to_1_is_no_probability(policy: str | None) -> None:
    class Sigmoids(GaussianNB):
        def predict_proba(self, X: Any) -> np.ndarray:
            return np.asarray(super().predict_proba(X) * 1.5)

    with pytest.raises(InputError, match=r"item \d+ probabilities that sum to 1.5; give"):
        query(X, labels(9), clf=Sigmoids(), policy=policy)


def test_labels_outside_the_classes_of_scikit_activeml() -> None:
    classifiers = pytest.importorskip("skactiveml.classifier")
    clf = classifiers.SklearnClassifier(GaussianNB(), classes=[0, 1])
    with pytest.raises(InputError, match=r"label 2.0, which is not among the classes 0, 1; add it"):
        query(X, labels(9), clf=clf)
    with pytest.raises(InputError, match="is not fitted"):
        query(X, labels(2), clf=clf, fit_clf=False)


def test_classifiers_of_other_makers() -> None:
    class Foreign:
        """Neither scikit-learn's parameters nor a return value of fit, and tensors for probabilities."""

        def fit(self, X: Any, y: Any) -> None:
            self.inner = GaussianNB().fit(X, y)
            self.classes_ = list(self.inner.classes_)

        def predict_proba(self, X: Any) -> torch.Tensor:
            return torch.tensor(self.inner.predict_proba(X), requires_grad=True)

    own = Foreign()
    np.testing.assert_allclose(utilities(labels(9), clf=own), utilities(labels(9), clf=GaussianNB()))
    assert not hasattr(own, "inner")
    frozen = FrozenEstimator(GaussianNB().fit(X, TRUTH))  # knows class 2 although no label names it
    found = utilities(labels(2), clf=frozen)
    np.testing.assert_allclose(found[2:], 1 - frozen.predict_proba(X).max(1)[2:], atol=1e-6)


UNSURE = ("margin", "least_confident", "entropy")


@pytest.mark.parametrize("policy", UNSURE)
def test_a_trained_classifier_counts_without_any_label(policy: str) -> None:
    clf = GaussianNB().fit(X, TRUTH)
    probs = np.sort(clf.predict_proba(X), 1)
    expected = {
        "margin": 1 - (probs[:, -1] - probs[:, -2]),
        "least_confident": 1 - probs[:, -1],
        "entropy": -(probs * np.log(np.maximum(probs, 1e-30))).sum(1) / np.log(3),
    }[policy]
    cold = labels(0)
    np.testing.assert_allclose(utilities(cold, clf=clf, fit_clf=False, policy=policy), expected, atol=1e-5)
    estimator = MetaALQuery(policy, random_state=3)
    assert estimator.query(X, cold, clf, fit_clf=False)[0] == expected.argmax()
    # Where it is as ignorant as metaal's own head there is nothing but chance.
    flat = LogisticRegression().fit(np.zeros((6, 4)), np.arange(6) % 3)
    first, second = (
        utilities(cold, clf=flat, fit_clf=False, policy=policy, random_state=seed) for seed in (0, 1)
    )
    assert len(np.unique(first)) == N and not np.array_equal(first, second)
    np.testing.assert_array_equal(first, utilities(cold, policy=policy))


@pytest.mark.parametrize("policy", ["cluster_margin", "dcom"])
def test_rules_that_contain_margin_use_the_trained_classifier(policy: str) -> None:
    clf = GaussianNB().fit(X, TRUTH)
    picks = [
        query(X, labels(0), clf=clf, fit_clf=False, policy=policy, batch_size=5, random_state=s)
        for s in (0, 1)
    ]
    np.testing.assert_array_equal(*picks)


@pytest.mark.parametrize("known", [0, 1, 20])
def test_classes_without_a_label_share_a_column_of_the_own_head(known: int) -> None:
    z, y = scaled(X), np.where(np.arange(N) < known, 70 * TRUTH, -1)
    view, whole = view_of_few_classes(z, y, 150, 0), own_view(z, y, 150, 0)
    torch.testing.assert_close(view.probs, whole.probs, rtol=1e-4, atol=1e-6)
    for name in ("labels", "class_mask", "counts", "seen", "order", "labelled"):
        assert torch.equal(getattr(view, name), getattr(whole, name)), name


def test_heavy_strategies_score_fewer_items_of_many_classes() -> None:
    limits = Limits(cells=1000, least_scored=10)
    for policy, scored in (("metaal-general", 20), ("eer_error", 20), ("uherding", N - 5)):
        view = select(X, labels(5), policy=policy, classes=np.arange(50), limits=limits).views[0]
        assert int(view.selectable.sum()) == scored
