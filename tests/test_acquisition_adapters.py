"""Adapters: modAL's and small-text's own learners run with a metaal policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from agents.acquisition import InputTypeError, modal_strategy, query
from metaal_env.errors import InputError


def pool(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(n) % 3
    return 2 * np.eye(3, 4)[truth] + 0.6 * np.random.default_rng(2).normal(size=(n, 4)), truth


@pytest.mark.parametrize("names", [None, np.array(["ape", "bee", "cat"])], ids=["numbers", "texts"])
def test_modal_strategy_picks_what_query_picks(names: np.ndarray | None) -> None:
    x, truth = pool()
    labels = truth if names is None else names[truth]
    fitted = LogisticRegression().fit(x[:6], labels[:6])
    y = np.array([*labels[:6], *[None] * 34], dtype=object)
    expected = query(x, y, clf=fitted, fit_clf=False, batch_size=2, policy="margin", missing_label=None) - 6
    learner = SimpleNamespace(estimator=fitted, X_training=x[:6], y_training=labels[:6])
    rows, utilities = modal_strategy("margin")(learner, x[6:], 2)
    np.testing.assert_array_equal(rows, expected)
    assert utilities.shape == (2,) and np.isfinite(utilities).all()
    own_loop = modal_strategy("margin")(fitted, x[6:], 2, X_training=x[:6], y_training=labels[:6])
    np.testing.assert_array_equal(own_loop[0], expected)
    cold, _ = modal_strategy("uherding")(LogisticRegression(), x, n_instances=3)
    np.testing.assert_array_equal(cold, query(x, np.full(40, np.nan), policy="uherding", batch_size=3))


def test_modal_learner_learns() -> None:
    models = pytest.importorskip("modAL.models")
    x, truth = pool()
    known = np.arange(3)
    for count in (1, 2, 5):  # two instances are not to be taken for (positions, metrics)
        left = np.setdiff1d(np.arange(40), known)
        # A new learner each round: the last modAL's teach fails with scikit-learn 1.8.
        learner = models.ActiveLearner(
            LogisticRegression().fit(x[known], truth[known]), query_strategy=modal_strategy("uherding")
        )
        learner.X_training, learner.y_training = x[known], truth[known]
        rows, items = learner.query(x[left], n_instances=count)
        assert len(set(rows)) == count
        np.testing.assert_array_equal(items, x[left[rows]])
        known = np.concatenate([known, left[rows]])
    assert LogisticRegression().fit(x[known], truth[known]).score(x, truth) > 0.8


class Reader:
    """A small-text classifier that knows every item's class, by its place in the data set."""

    num_classes = 3

    def __init__(self, proba: np.ndarray):
        self.proba = proba

    def predict_proba(self, dataset: Any) -> np.ndarray:
        return self.proba[dataset.rows]


class Texts:
    """What the adapter needs of a small-text data set of raw texts."""

    def __init__(self, texts: list[str], rows: np.ndarray):
        self.x, self.rows = texts, rows

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: np.ndarray) -> Texts:
        return Texts([self.x[i] for i in rows], self.rows[rows])


def test_small_text_strategy() -> None:
    errors = pytest.importorskip("small_text")
    from agents.acquisition.integrations.small_text import SmallTextQuery

    words = ("red fox runs", "blue bird sings", "old tree stands")
    texts = Texts([f"{words[i % 3]} at {i}" for i in range(30)], np.arange(30))
    proba = np.full((30, 3), 0.01)
    proba[np.arange(30), np.arange(30) % 3] = 0.98
    proba[[11, 17, 23]] = 1 / 3
    labelled, free = np.arange(5), np.delete(np.arange(5, 30), 6)  # 11 is ignored: neither one nor the other
    y = labelled % 3
    picks = SmallTextQuery("margin").query(Reader(proba), texts, free, labelled, y, n=2)
    assert set(picks) == {17, 23}
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    none = np.array([], dtype=int)
    cold = SmallTextQuery("uherding", embeddings=vectors).query(None, texts, np.arange(30), none, none, n=3)
    np.testing.assert_array_equal(cold, query(vectors, [None] * 30, policy="uherding", batch_size=3))
    strategy = SmallTextQuery("uherding", encoder="tfidf")
    np.testing.assert_array_equal(
        strategy.query(None, vectors, free, labelled, y, n=2),  # a representation
        SmallTextQuery("uherding", embeddings=vectors).query(None, texts, free, labelled, y, n=2),
    )
    assert strategy.query(None, texts, free, labelled, y, n=1)[0] in free
    with pytest.raises(errors.EmptyPoolException):
        strategy.query(None, texts, none, labelled, y, n=1)
    with pytest.raises(errors.PoolExhaustedException):
        strategy.query(None, texts, free, labelled, y, n=99)
    with pytest.raises(InputTypeError, match="several labels"):
        strategy.query(None, texts, free, labelled, csr_matrix(np.eye(5, 3)), n=1)
    with pytest.raises(InputError, match="2 rows for 30 items"):
        SmallTextQuery(embeddings=np.ones((2, 2))).query(None, texts, free, labelled, y, n=1)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_small_text_learner_learns(sparse: bool) -> None:
    small_text = pytest.importorskip("small_text")
    from agents.acquisition.integrations.small_text import SmallTextQuery

    x, truth = pool(60)
    x = np.abs(x)
    data = small_text.SklearnDataset(csr_matrix(x) if sparse else x, truth, target_labels=np.arange(3))
    factory = small_text.SklearnClassifierFactory(LogisticRegression(), 3)
    learner = small_text.PoolBasedActiveLearner(factory, SmallTextQuery("uherding", budget=15), data)
    start = np.array([0, 1])  # class 2 is not seen yet
    learner.initialize_data(start, truth[start])
    for _ in range(3):
        rows = learner.query(num_samples=4)
        assert len(set(rows)) == 4 and not set(rows) & set(learner.indices_labeled)
        learner.update(truth[rows])
    assert (learner.classifier.predict(data) == truth).mean() > 0.8
