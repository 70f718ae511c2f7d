"""`query` and `MetaALQuery`: scikit-activeml's contract, every kind of array, large pools."""

from __future__ import annotations

import importlib.util
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import InputTypeError, MetaALQuery, query, shipped_policies
from agents.acquisition import batch as choose
from agents.acquisition import user_pool as pool_module
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies import STRATEGIES
from agents.strategies.base import PrivilegedStrategy
from metaal_env.errors import InputError

N = 40
OPEN_RULES = sorted(
    name for name in STRATEGIES if not issubclass(type(STRATEGIES[name](seed=0)), PrivilegedStrategy)
)


def data(n: int = N, labelled: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    x = rng.normal(size=(3, 5))[truth] + 0.7 * rng.normal(size=(n, 5))
    return x, np.where(np.arange(n) < labelled, truth.astype(float), np.nan), truth


def both(*args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    return query(*args, return_utilities=True, **options)  # type: ignore[return-value]


@pytest.mark.parametrize("policy", OPEN_RULES)
@pytest.mark.parametrize("clf", [None, GaussianNB()], ids=["own head", "clf"])
def test_every_rule_keeps_the_contract(policy: str, clf: Any) -> None:
    x, y, _ = data()
    before = x.copy(), y.copy()
    open_ = np.isnan(y)
    picks, utilities = both(x, y, clf=clf, policy=policy, batch_size=3)
    assert utilities.shape == (3, N) and len(set(picks)) == 3 and open_[picks].all()
    assert np.isfinite(utilities[0, open_]).all() and np.isnan(utilities[:, ~open_]).all()
    assert np.isnan(utilities[2, picks[:2]]).all()
    again = both(x, y, clf=clf, policy=policy, batch_size=3)
    np.testing.assert_array_equal(picks, again[0])
    np.testing.assert_array_equal(utilities, again[1])
    by_index = both(x, y, clf=clf, policy=policy, candidates=np.flatnonzero(open_)[::-1][:9])
    np.testing.assert_allclose(by_index[1][0, -9:], utilities[0, -9:])
    direct, values = both(x, y, clf=clf, policy=policy, candidates=x[-9:])
    np.testing.assert_allclose(values[0], utilities[0, -9:])
    assert 0 <= direct[0] < 9 and N - 9 + direct[0] == by_index[0][0]
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


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


@pytest.mark.parametrize(
    "change",
    [
        {"X": None},
        {"X": "text"},
        {"X": [["a", "b"]] * N},
        {"y": None},
        {"y": [["a"]] * 3 + [1] * (N - 3)},
        {"missing_label": []},
        {"missing_label": "?"},
        {"clf": "logistic"},
        {"clf": LogisticRegression},
        {"fit_clf": "yes"},
        {"return_utilities": 1.5},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"candidates": "all"},
        {"candidates": [0.5, 1.5]},
        {"random_state": "seed"},
        {"policy": 3},
        {"budget": "many"},
        {"budget": True},
        {"sample_weight": ["a"] * N, "clf": GaussianNB()},
    ],
)
def test_wrong_types_raise(change: dict[str, Any]) -> None:
    x, y, _ = data()
    arguments = {"X": x, "y": y} | change
    with pytest.raises(InputTypeError):
        query(**arguments)
    with pytest.raises(TypeError):
        query(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((N, 0))}, "shape"),
        ({"X": np.zeros(N)}, "shape"),
        ({"y": np.zeros(3)}, "one label per item"),
        ({"y": np.zeros(N)}, "nothing left"),
        ({"batch_size": 0}, "at least 1"),
        ({"candidates": [N]}, "positions"),
        ({"candidates": [20, 20]}, "different"),
        ({"candidates": []}, "empty"),
        ({"candidates": np.ones(N - 1, dtype=bool)}, "one per item"),
        ({"candidates": np.zeros(N, dtype=bool)}, "without any True"),
        ({"candidates": np.zeros((2, 3))}, "features"),
        ({"policy": "uherdin"}, "did you mean 'uherding'"),
        ({"policy": "greedy_lookahead"}, "hidden labels"),
        ({"classes": [0, 1]}, "not among the classes"),
        ({"sample_weight": np.ones(N)}, "classifier"),
        ({"random_state": -1}, "negative"),
    ],
)
def test_wrong_values_raise(change: dict[str, Any], message: str) -> None:
    x, y, _ = data()
    with pytest.raises(InputError, match=message):
        query(**({"X": x, "y": y} | change))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    x, y, _ = data()
    x[17, 3] = bad
    with pytest.raises(InputError, match=r"X\[17, 3\]"):
        query(x, y)


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


def test_array_kinds_agree(tmp_path: Path) -> None:
    x, y, _ = data()
    x = x.astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    wide = np.zeros((N, 10), dtype=np.float32)
    wide[:, ::2] = x
    expected = query(x, y, batch_size=5)
    for same in (x.astype(np.float64), np.load(tmp_path / "x.npy", mmap_mode="r"), wide[:, ::2], x.tolist(),
                 np.asfortranarray(x), x * np.float64(1e30), x * np.float64(1e-30)):  # fmt: skip
        np.testing.assert_array_equal(query(same, y, batch_size=5), expected)
    assert len(query(x.astype(np.float16), y, batch_size=5)) == 5
    images = np.random.default_rng(0).integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)
    assert np.isnan(y[query(images, y, clf=GaussianNB())[0]])


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((12, 3)),
        np.ones((12, 1)),
        np.repeat(np.eye(3), 4, 0),
        np.array([[1e9 + i, 1] for i in range(12)]),
    ],
    ids=["zeros", "constant", "duplicates", "large mean"],
)
def test_degenerate_pools(x: np.ndarray) -> None:
    for labels in ([], [0], [0, 0], [0, 1]):
        y = np.full(12, np.nan)
        y[: len(labels)] = labels
        for policy in ("uherding", "margin", "k_center", "typiclust"):
            picks, utilities = both(x, y, policy=policy, batch_size=12 - len(labels))
            assert sorted(picks) == list(range(len(labels), 12))
            assert np.isfinite(utilities[0, len(labels) :]).all()


def test_single_item() -> None:
    assert query([[1.0, 2.0]], [np.nan]) == [0]


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


def test_learned_policy_by_path_and_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents import pretrained as policies

    x, y, _ = data()
    LearnedStrategy(AcquisitionNetwork("uherding")).save(tmp_path / "metaal-general" / "policy", {})
    expected = query(x, y, policy="uherding")
    assert query(x, y, policy=tmp_path / "metaal-general") == expected
    assert query(x, y, policy=str(tmp_path / "metaal-general" / "policy.json"), batch_size=3)[0] == expected
    monkeypatch.setattr(policies, "SHIPPED", tmp_path)
    assert shipped_policies() == {"metaal-general": tmp_path / "metaal-general"}
    assert query(x, y, policy="metaal-general", budget=30) == query(x, y, budget=30) == expected
    with pytest.raises(InputError, match="did you mean 'metaal-general'") as error:
        query(x, y, policy="metaal-generl")
    assert "uherding" in str(error.value)
    (tmp_path / "metaal-general" / "policy.safetensors").unlink()  # half a policy is none
    assert shipped_policies() == {}
    with pytest.raises(InputError, match="metaal-general"):
        query(x, y, policy="metaal-general")


def test_a_pool_asked_about_again_gives_what_a_new_one_gives() -> None:
    """Distances of the last pool are kept; neither labels nor another pool in between may leave a trace."""
    learned = LearnedStrategy(AcquisitionNetwork())
    x, y, truth = data(60)
    later = np.where(np.arange(60) < 20, truth, np.nan)
    first = [both(x, labels, policy=learned) for labels in (y, later)]
    moved = x.copy()
    moved[30] += 3
    other = both(moved, y, policy=learned)
    assert not np.allclose(other[1][0, 8:], first[0][1][0, 8:])
    for (pick, utilities), labels in zip(reversed(first), (later, y), strict=True):
        again = both(x, labels, policy=learned)
        assert again[0] == pick
        np.testing.assert_array_equal(again[1], utilities)
    with torch.inference_mode():
        np.testing.assert_array_equal(both(x, y, policy=learned)[1], first[0][1])
    np.testing.assert_array_equal(both(x, y, policy=learned)[1], first[0][1])
    pool_module._last.__dict__.clear()
    np.testing.assert_array_equal(both(x, y, policy=learned)[1], first[0][1])


def test_large_pools_are_represented(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = data(600)
    exact = both(x, y, policy="max_herding")
    monkeypatch.setattr(pool_module, "MAX_SCORED", 200)
    monkeypatch.setattr(pool_module, "MAX_SUPPORT", 6)
    picks, utilities = both(x, y, policy="max_herding", batch_size=4)
    np.testing.assert_array_equal(picks, query(x, y, policy="max_herding", batch_size=4))
    open_ = np.isnan(y)
    assert np.isfinite(utilities[0, open_]).all() and len(set(picks)) == 4
    assert np.corrcoef(utilities[0, open_], exact[1][0, open_])[0, 1] > 0.6
    # Utilities stay close, the pick is among the best, and candidates change no utility.
    assert (exact[1][0, open_] > exact[1][0, picks[0]]).mean() < 0.02
    few = np.flatnonzero(open_)[:50]
    restricted, values = both(x, y, policy="max_herding", candidates=few, batch_size=50)
    np.testing.assert_allclose(values[0, few], utilities[0, few])
    assert sorted(restricted) == sorted(few)
    with pytest.warns(UserWarning):
        assert len(set(query(x, y, policy="margin", batch_size=700))) == open_.sum()


def test_large_batches_are_penalised_between_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = data(300)
    monkeypatch.setattr(choose, "EXACT_BATCHES", 100)
    monkeypatch.setattr(choose, "MAX_EVALUATIONS", 3)
    picks = query(x, y, policy=LearnedStrategy(AcquisitionNetwork()), batch_size=30)
    assert len(set(picks)) == 30


def test_estimator_clones_pickles_and_runs_in_scikit_activeml() -> None:
    x, y, _ = data()
    strategy = MetaALQuery(policy="uherding", random_state=3)
    assert clone(strategy).get_params()["policy"] == "uherding"
    assert (
        pickle.loads(pickle.dumps(strategy)).query(x, y)
        == strategy.query(x, y)
        == query(x, y, policy="uherding")
    )
    wrappers = pytest.importorskip("skactiveml.pool")
    from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    from skactiveml.classifier import SklearnClassifier

    assert isinstance(strategy, SingleAnnotatorPoolQueryStrategy)
    wrapped = wrappers.SubSamplingWrapper(strategy, max_candidates=10, random_state=0)
    assert np.isnan(y[wrapped.query(x, y)[0]])
    from skactiveml.pool.multiannotator import SingleAnnotatorWrapper

    two = np.column_stack([y, np.where(np.arange(N) < 3, y, np.nan)])
    pairs = SingleAnnotatorWrapper(strategy, random_state=0).query(x, two, batch_size=2)
    assert np.isnan(two[pairs[:, 0], pairs[:, 1]]).all()
    clf = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2], random_state=0)
    margin = wrappers.UncertaintySampling(method="margin_sampling").query(x, y, clf, return_utilities=True)[1]
    ours = MetaALQuery("margin").query(x, y, clf, return_utilities=True)[1]
    np.testing.assert_allclose(ours[0, 8:], margin[0, 8:], atol=1e-5)
    empty = np.full(N, np.nan)
    assert len(MetaALQuery("margin").query(x, empty, clf, batch_size=2)) == 2


def test_code_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "own_pool.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.S)
    assert len(blocks) == 6
    optional = {"agents.acquisition import MetaALQuery": "skactiveml", "small_text": "small_text"}
    for words, package in optional.items():
        if importlib.util.find_spec(package) is None:
            blocks = [block for block in blocks if words not in block]
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block, namespace)
    known = namespace["known"]
    assert known.sum() == 15 and namespace["rows"].max() < (~known).sum()
    if "learner" in namespace:
        assert len(namespace["learner"].indices_labeled) == 20
    assert {path.name for path in tmp_path.glob("*.png")} == {"why.png", "report.png"}
