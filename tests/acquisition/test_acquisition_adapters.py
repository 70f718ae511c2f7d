"""Adapters: modAL's and small-text's own learners run with a metaal policy."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pytest
from helpers.clusters import clusters
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from agents.acquisition import InputTypeError, modal_strategy, query
from metaal_env.errors import InputError


def pool(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(n) % 3
    return clusters(truth, 4, apart=2, noise=0.6, on_axes=True, seed=2), truth


def joblib_dumps(value: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


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
        # A new learner each round: the last modAL's teach fails with scikit-learn 1.6 and later.
        learner = models.ActiveLearner(
            LogisticRegression(), modal_strategy("uherding"), X_training=x[known], y_training=truth[known]
        )
        rows, items = learner.query(x[left], n_instances=count)
        assert len(set(rows)) == count
        np.testing.assert_array_equal(items, x[left[rows]])
        known = np.concatenate([known, left[rows]])
    assert LogisticRegression().fit(x[known], truth[known]).score(x, truth) > 0.8


@pytest.mark.parametrize(
    "kind", [np.array, csr_matrix, "DataFrame", list], ids=["array", "csr", "DataFrame", "list"]
)
@pytest.mark.parametrize("store", [pickle.dumps, joblib_dumps], ids=["pickle", "joblib"])
def test_modal_learner_is_stored_with_its_strategy(kind: Any, store: Callable[[Any], bytes]) -> None:
    models = pytest.importorskip("modAL.models")
    kind = pytest.importorskip("pandas").DataFrame if kind == "DataFrame" else kind
    x, truth = pool()
    learner = models.ActiveLearner(
        LogisticRegression(), modal_strategy("margin"), X_training=kind(x[:6]), y_training=truth[:6]
    )
    expected = modal_strategy("margin")(learner.estimator, x[6:], 3, X_training=x[:6], y_training=truth[:6])[
        0
    ]
    again = joblib.load(io.BytesIO(store(learner))) if store is joblib_dumps else pickle.loads(store(learner))
    for one in (learner, again):
        np.testing.assert_array_equal(one.query(kind(x[6:]), n_instances=3)[0], expected)


def committee(models: Any, x: np.ndarray, truth: np.ndarray) -> Any:
    learners = [
        models.ActiveLearner(
            GaussianNB(), X_training=x[start : start + 9], y_training=truth[start : start + 9]
        )
        for start in (0, 6)  # three items are known to both
    ]
    return models.Committee(learners, query_strategy=modal_strategy("least_confident"))


def test_modal_committee_is_asked_itself() -> None:
    models = pytest.importorskip("modAL.models")
    x, truth = pool()
    both = committee(models, x, truth)
    rows, _, utilities = both.query(x[15:], n_instances=1, return_metrics=True)
    doubt = 1 - both.predict_proba(x[15:]).max(1)
    assert rows[0] == doubt.argmax()
    np.testing.assert_allclose(utilities, doubt.max(), atol=1e-6)
    # The labels of all its learners count, those of several learners once.
    y = np.array([*truth[:15], *[None] * 25], dtype=object)
    both.query_strategy = modal_strategy("max_herding")
    expected = query(x, y, policy="max_herding", batch_size=3, missing_label=None) - 15
    np.testing.assert_array_equal(both.query(x[15:], n_instances=3)[0], expected)


def test_modal_committee_without_training_data_of_its_own() -> None:
    models = pytest.importorskip("modAL.models")
    x, truth = pool()
    learners = [models.ActiveLearner(GaussianNB().fit(x[i : i + 9], truth[i : i + 9])) for i in (0, 6)]
    both = models.Committee(learners, query_strategy=modal_strategy("margin"))
    proba = np.sort(both.predict_proba(x), 1)
    assert both.query(x)[0][0] == (proba[:, -1] - proba[:, -2]).argmin()
    assert (
        models.Committee([models.ActiveLearner(GaussianNB())], query_strategy=modal_strategy()).query(x)[0]
        < 40
    )


TEXTS = [("red fox runs", "blue bird sings", "old tree stands")[i % 3] + f" at {i * 7}" for i in range(40)]


@pytest.mark.parametrize("on_transformed", [True, False])
@pytest.mark.parametrize("kind", [list, np.array], ids=["list", "array"])
def test_modal_learner_of_texts(kind: Any, on_transformed: bool) -> None:
    models = pytest.importorskip("modAL.models")
    truth = np.arange(40) % 3
    steps = TfidfVectorizer(), LogisticRegression()
    learner = models.ActiveLearner(
        make_pipeline(*steps),
        modal_strategy("max_herding"),
        X_training=kind(TEXTS[:3]),
        y_training=truth[:3],
        on_transformed=on_transformed,
    )
    vectors = learner.estimator[:-1].transform(TEXTS)
    y = np.array([*truth[:3], *[None] * 37], dtype=object)
    expected = query(vectors, y, policy="max_herding", batch_size=4, missing_label=None) - 3
    np.testing.assert_array_equal(learner.query(kind(TEXTS[3:]), n_instances=4)[0], expected)


def test_modal_learner_that_has_too_few_labels_is_not_asked() -> None:
    x, truth = pool()
    learner = pytest.importorskip("modAL.models").ActiveLearner(
        KNeighborsClassifier(9), modal_strategy("margin"), X_training=x[:6], y_training=truth[:6]
    )
    with pytest.warns(UserWarning, match="KNeighborsClassifier needs more labels"):
        picks, _ = learner.query(x[6:])
    y = np.where(np.arange(len(x)) < 6, truth.astype(float), np.nan)
    assert picks[0] + 6 == query(x, y, policy="margin", classes=[0, 1, 2])[0]


class Tempered(LogisticRegression):
    def predict_proba(self, X: Any, power: float = 1.0) -> np.ndarray:
        probs = super().predict_proba(X) ** power
        return probs / probs.sum(1, keepdims=True)


def test_modal_keywords_reach_predict_proba() -> None:
    x, truth = pool()
    model = Tempered().fit(x[:6], truth[:6])
    known = {"X_training": x[:6], "y_training": truth[:6]}
    for power in (1.0, 0.2):
        _, utilities = modal_strategy("least_confident")(model, x[6:], 1, power=power, **known)
        np.testing.assert_allclose(utilities, 1 - model.predict_proba(x[6:], power).max(1).min(), atol=1e-6)
    for keywords, message in (
        ({"powr": 2.0}, "cannot predict .*powr"),
        ({"random_tie_break": True}, "ties go to the first item"),
        ({"y_training": None}, "y_training=None"),
        ({"X_training": x[:6, :2]}, "X_training does not fit X_pool"),
    ):
        with pytest.raises(InputError, match=message):
            modal_strategy()(model, x[6:], 1, **(known | keywords))
    picks, _ = modal_strategy("metaal-general", classes=[0, 1, 2, 3])(model, x[6:], 1, **known)
    assert 0 <= picks[0] < 34
    with pytest.raises(InputError, match="not among the classes 0"):
        modal_strategy(classes=[0])(LogisticRegression(), x[6:], 1, **known)


class Reader:
    """A small-text classifier that knows every item's class, by its place in the data set."""

    num_classes = 3

    def __init__(self, proba: np.ndarray) -> None:
        self.proba = proba

    def predict_proba(self, dataset: Any) -> np.ndarray:
        return self.proba[dataset.rows]


class Texts:
    """What the adapter needs of a small-text data set of raw texts."""

    def __init__(self, texts: list[str], rows: np.ndarray) -> None:
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


def test_small_text_strategy_uses_its_classifier_before_any_label() -> None:
    pytest.importorskip("small_text")
    from agents.acquisition.integrations.small_text import SmallTextQuery

    proba = np.full((30, 3), 0.01)
    proba[np.arange(30), np.arange(30) % 3] = 0.98
    proba[17] = 1 / 3
    none = np.array([], dtype=int)
    for seed in (0, 1):
        strategy = SmallTextQuery("margin", embeddings=np.eye(30), random_state=seed)
        texts = Texts([str(i) for i in range(30)], np.arange(30))
        assert strategy.query(Reader(proba), texts, np.arange(30), none, none, n=1)[0] == 17


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
