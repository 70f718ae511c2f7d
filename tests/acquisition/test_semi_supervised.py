"""Semi-supervised classifiers: they learn from vectors without labels, in `query` and in played sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.clusters import clusters
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier

from agents.acquisition import query
from agents.acquisition.named_classifiers import CLASSIFIERS
from agents.acquisition.played_sessions import OwnPool, play
from agents.acquisition.semi_supervised import MOST, SemiSupervised

TRUTH = np.arange(90) % 3


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return clusters(TRUTH, 3, apart=4, on_axes=True)


def bent() -> tuple[np.ndarray, np.ndarray]:
    """Two half circles; the inner end of each is nearer to the outer end of the other than to its own."""
    angle = np.linspace(0, np.pi, 60)
    x = np.r_[np.c_[np.cos(angle), np.sin(angle)], np.c_[1 - np.cos(angle), -np.sin(angle)]]
    return x, np.repeat(["a", "b"], 60)


def test_items_without_a_label_say_where_classes_end() -> None:
    x, names = bent()
    known = [59, 119]  # an end of each
    alone = SemiSupervised().fit(x[known], names[known])
    assert alone.score(x, names) < 0.9
    model = SemiSupervised(x).fit(x[known], names[known])
    assert model.score(x, names) > alone.score(x, names) + 0.05
    assert model.classes_.tolist() == ["a", "b"]
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_vectors_does_not_matter(factor: float, x: np.ndarray) -> None:
    known = np.arange(9)
    one, other = (
        SemiSupervised(x * f).fit(x[known] * f, TRUTH[known]).predict_proba(x * f) for f in (1.0, factor)
    )
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_an_item_beyond_reach_has_the_shares_of_the_classes(x: np.ndarray) -> None:
    model = SemiSupervised(x).fit(x[:4], TRUTH[:4])
    np.testing.assert_allclose(model.predict_proba(x.max(0, keepdims=True) + 1e4), [[0.5, 0.25, 0.25]])


def test_labels_alone_and_equal_vectors_do(x: np.ndarray) -> None:
    assert SemiSupervised(x[:3]).fit(x[:3], TRUTH[:3]).predict(x[:3]).tolist() == [0, 1, 2]
    same = np.ones((5, 2))
    assert np.isfinite(SemiSupervised(same).fit(same[:2], [0, 1]).predict_proba(same)).all()


def test_of_large_pools_a_part_is_learned_from(x: np.ndarray) -> None:
    pool = np.repeat(x, 40, 0) + np.random.default_rng(0).normal(size=(3600, 3)) * 0.1
    model = SemiSupervised(pool).fit(x[:6], TRUTH[:6])
    assert len(model.model_.transduction_) == 6 + MOST and model.score(x, TRUTH) > 0.9


def test_any_semi_supervised_estimator_serves_a_query(x: np.ndarray) -> None:
    y = np.full(90, np.nan)
    y[:6] = TRUTH[:6]
    for estimator in (None, SelfTrainingClassifier(LogisticRegression())):
        clf = SemiSupervised(x, estimator)
        assert query(x, y, clf=clf, policy="margin")[0] >= 6 and not hasattr(clf, "classes_")


def test_a_session_gives_it_the_pool_but_no_label(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[np.ndarray, int]] = []
    fit = SemiSupervised.fit

    def watched(self: Any, X: Any, y: Any) -> Any:
        given.append((self.pool, len(y)))
        return fit(self, X, y)

    monkeypatch.setattr(SemiSupervised, "fit", watched)
    pool = OwnPool(x[:60], TRUTH[:60], x[60:], TRUTH[60:])
    curves = play(pool, "margin", CLASSIFIERS["label_spreading"], labels=6)
    assert curves["accuracy"][6] > 0.9
    assert max(count for _, count in given) == 6 and all(np.array_equal(seen, x[:60]) for seen, _ in given)
