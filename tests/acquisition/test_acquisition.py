"""`query`: labels and classifiers of every kind, candidates, batches, learned policies."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.queries import N, both, data
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import query, shipped_policies
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError


@pytest.mark.parametrize("labelled", [0, 1, 2, N - 1])
@pytest.mark.parametrize("clf", [None, LogisticRegression()], ids=["own head", "clf"])
def test_any_number_of_labels(labelled: int, clf: Any) -> None:
    x, y, _ = data(labelled=labelled)
    for policy in ("uherding", "margin", "eer_error"):
        picks, utilities = both(x, y, clf=clf, policy=policy)
        assert np.isnan(y[picks[0]]) and np.isfinite(utilities[0, np.isnan(y)]).all()


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("float", np.nan),
        ("int", -1),
        ("object", None),
        ("object nan", np.nan),
        ("str", "?"),
        ("list", np.nan),
    ],
)
def test_label_kinds_give_the_same_answer(kind: str, missing: Any) -> None:
    x, y, truth = data()
    known = ~np.isnan(y)
    names = np.array(["ape", "bee", "cat"])[truth]
    kinds: dict[str, Any] = {
        "float": y,
        "int": np.where(known, truth, -1),
        "object": np.array([n if k else None for n, k in zip(names, known, strict=True)], dtype=object),
        "object nan": np.array([n if k else np.nan for n, k in zip(names, known, strict=True)], dtype=object),
        "str": np.where(known, names, "?"),
        "list": [str(n) if k else np.nan for n, k in zip(names, known, strict=True)],
    }
    for clf in (None, GaussianNB()):
        expected = both(x, y, clf=clf, policy="margin")
        found = both(x, kinds[kind], clf=clf, policy="margin", missing_label=missing)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


def test_batch_larger_than_the_pool_warns_and_returns_all() -> None:
    x, y, _ = data(labelled=N - 3)
    with pytest.warns(UserWarning, match="exceeds the 3 candidates"):
        picks = query(x, y, batch_size=9)
    assert sorted(picks) == [N - 3, N - 2, N - 1]


def test_classifier_is_not_changed_and_may_be_given_fitted() -> None:
    x, y, truth = data()
    clf = LogisticRegression(C=3.0)
    query(x, y, clf=clf, policy="margin")
    assert not hasattr(clf, "coef_") and clf.C == 3.0
    fitted = LogisticRegression().fit(x, truth)
    state = pickle.dumps(fitted)
    _, utilities = both(x, y, clf=fitted, fit_clf=False, policy="least_confident")
    assert pickle.dumps(fitted) == state
    np.testing.assert_allclose(utilities[0, 8:], 1 - fitted.predict_proba(x)[8:].max(1), atol=1e-6)
    weights = np.where(np.arange(N) == 0, 50.0, 1.0)
    _, weighted = both(x, y, clf=clf, sample_weight=weights, policy="margin")
    assert not np.allclose(weighted[0, 8:], both(x, y, clf=clf, policy="margin")[1][0, 8:])


def test_a_classifier_is_not_asked_before_it_knows_two_classes() -> None:
    class Sure(GaussianNB):
        missing_label = np.nan  # scikit-activeml's mark: these fit one class, too

        def fit(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("fitted to one class")

    x, y, truth = data(labelled=0)
    y[:6] = np.where(truth[:6] == 0, 0, np.nan)
    for policy in ("uherding", "metaal-general"):
        own, asked = both(x, y, policy=policy), both(x, y, clf=Sure(), policy=policy)
        np.testing.assert_array_equal(own[0], asked[0])
        np.testing.assert_array_equal(own[1], asked[1])


def test_new_candidates_are_scored_beside_the_pool() -> None:
    x, y, _ = data()
    picks, utilities = both(x, y, candidates=np.vstack([x[20], x[20] + 0.01, x[3]]), batch_size=3)
    assert sorted(picks) == [0, 1, 2] and utilities.shape == (3, 3) and np.isfinite(utilities[0]).all()


def test_labelled_candidates_come_last() -> None:
    x, y, _ = data()
    picks, utilities = both(x, y, candidates=[0, 20, 3, 30], batch_size=4)
    assert set(picks[:2]) == {20, 30} and set(picks[2:]) == {0, 3}
    assert np.isfinite(utilities[0, [0, 3, 20, 30]]).all() and np.isfinite(utilities[0]).sum() == 4
    assert list(query(x, np.zeros(N), candidates=[5])) == [5]


def test_learned_policy_by_path_and_shipped_name(tmp_path: Path) -> None:
    x, y, _ = data()
    LearnedStrategy(AcquisitionNetwork("uherding")).save(tmp_path / "metaal-general" / "policy", {})
    expected = query(x, y, clf=LogisticRegression(max_iter=500), policy="uherding")  # which stands in below
    assert query(x, y, policy=tmp_path / "metaal-general") == expected
    assert query(x, y, policy=str(tmp_path / "metaal-general" / "policy.json"), batch_size=3)[0] == expected
    assert shipped_policies(tmp_path) == {"metaal-general": tmp_path / "metaal-general"}
    named, in_folder = (
        query(x, y, policy=spec, budget=30)
        for spec in ("metaal-general", shipped_policies()["metaal-general"])
    )
    assert named == in_folder
    with pytest.raises(InputError, match="did you mean 'metaal-general'") as error:
        query(x, y, policy="metaal-generl")
    assert "uherding" in str(error.value)
    (tmp_path / "metaal-general" / "policy.safetensors").unlink()  # half a policy is none
    assert shipped_policies(tmp_path) == {}
