"""`query` on what people hold their items in: pandas, SciPy's sparse matrices, torch, masked arrays, texts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from agents.acquisition import InputTypeError, query
from agents.acquisition.cover import Points
from agents.acquisition.options import Limits
from agents.acquisition.query import select
from metaal_env.errors import InputError

pd = pytest.importorskip("pandas")

N = 40
KNOWN = 8
TRUTH = np.arange(N) % 3
RNG = np.random.default_rng(0)
X = clusters(TRUTH, 5, noise=0.7, seed=RNG)
X[np.abs(X) < 0.2] = 0
Y = np.where(np.arange(N) < KNOWN, TRUTH.astype(float), np.nan)
FRAME = pd.DataFrame(X, columns=list("abcde"))
MIXED = FRAME.assign(city=[f"c{i}" for i in TRUTH])
TEXTS = [("red fox runs", "blue bird sings", "old tree stands")[i] + f" at {i * 7}" for i in TRUTH]


class Shapeless:
    """As torch's nested tensors."""

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError("NestedTensorImpl doesn't support sizes")


def ask(X: Any = X, y: Any = Y, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    return query(X, y, batch_size=3, return_utilities=True, **({"policy": "margin"} | options))  # type: ignore[return-value]


def assert_same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-6)


def nullable(y: np.ndarray) -> Any:
    return pd.Series(y).astype("Int64")


@pytest.mark.parametrize("clf", [None, LogisticRegression()], ids=["own head", "clf"])
@pytest.mark.parametrize(
    "x",
    [
        FRAME,
        FRAME.astype("Float64"),
        FRAME.astype(pd.SparseDtype("float", 0.0)),
        FRAME.set_index(pd.Index([f"id {i % 7}" for i in range(N)])),
        FRAME.astype(object),
        FRAME.map(lambda value: Decimal(repr(value))),
        pd.Series(list(X)),
        pd.Series(X.tolist()),
        np.ma.masked_array(X, mask=False),
        np.asmatrix(X),
        X.astype(object),
        torch.tensor(X, requires_grad=True),
        torch.tensor(X).to_sparse(),
        list(torch.tensor(X, requires_grad=True)),
        sparse.csr_matrix(X),
        sparse.csc_matrix(X),
        sparse.csr_array(X),
        sparse.coo_array(X),
        sparse.lil_matrix(X),
        sparse.dok_matrix(X),
    ],
    ids=lambda x: f"{type(x).__module__.split('.')[0]} {type(x).__name__}",
)
def test_every_kind_of_features_gives_the_same_answer(x: Any, clf: Any) -> None:
    assert_same(ask(x, clf=clf), ask(clf=clf))


def test_types_that_numpy_lacks_are_read() -> None:
    half = torch.tensor(X).bfloat16().requires_grad_()
    assert_same(ask(half), ask(half.detach().float().numpy()))
    quarter = torch.tensor(X).to(torch.float8_e4m3fn)
    assert_same(ask(quarter), ask(quarter.float().numpy()))


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(Y),
        pd.DataFrame({"label": Y}),
        Y[None],
        nullable(Y),
        nullable(Y).to_frame(),
        pd.Series(Y, index=[f"id {i % 7}" for i in range(N)]),
        pd.Series(pd.Categorical(nullable(Y))),
        np.ma.masked_array(np.nan_to_num(Y, nan=7).astype(int), mask=np.isnan(Y)),
        torch.tensor(Y, requires_grad=True),
        list(nullable(Y)),
    ],
    ids=lambda y: f"{type(y).__module__.split('.')[0]} {type(y).__name__}",
)
@pytest.mark.parametrize("missing", [np.nan, None, pd.NA], ids=str)
def test_every_kind_of_labels_gives_the_same_answer(y: Any, missing: Any) -> None:
    assert_same(ask(y=y, missing_label=missing), ask())
    assert_same(ask(FRAME, y, missing_label=missing, clf=LogisticRegression()), ask(clf=LogisticRegression()))


@pytest.mark.parametrize("clf", [None, LogisticRegression()], ids=["own head", "clf"])
def test_classes_may_be_what_unique_gives(clf: Any) -> None:
    """The marks of the unknown among them are no classes."""
    expected = ask(classes=[0, 1, 2], clf=clf)
    whole = np.nan_to_num(Y, nan=-1).astype(int)
    names = np.array(["ape", "bee", "cat", None], dtype=object)[whole]
    for y, classes, missing in (
        (Y, np.unique(Y), np.nan),
        (nullable(Y), nullable(Y).unique(), pd.NA),
        (whole, np.unique(whole), -1),
        (names, {*names}, None),
        (names, pd.Series(names).unique(), np.nan),
    ):
        assert_same(ask(y=y, classes=classes, missing_label=missing, clf=clf), expected)


@pytest.mark.parametrize("clf", [None, LogisticRegression()], ids=["own head", "clf"])
def test_polars(clf: Any) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X, schema=list("abcde"))
    y = pl.Series([None if np.isnan(value) else int(value) for value in Y])
    assert_same(ask(frame, y, clf=clf), ask(clf=clf))
    assert_same(ask(frame, y.to_frame(), clf=clf, candidates=y.is_null()), ask(clf=clf))
    rows = np.vstack([X[20:30], X[:2] + 3])
    some = frame[20:30].vstack(pl.DataFrame(X[:2] + 3, schema=list("abcde")))
    assert_same(ask(frame, y, clf=clf, candidates=some), ask(clf=clf, candidates=rows))


def test_text_labels_of_pandas() -> None:
    names = np.array(["ape", "bee", "cat"], dtype=object)[TRUTH]
    names[KNOWN:] = None
    for y in (pd.Series(names), pd.Series(names).astype("string"), pd.Series(names).astype("category")):
        assert_same(ask(y=y), ask())


@pytest.mark.parametrize(
    "candidates",
    [
        np.isnan(Y),
        pd.Series(np.isnan(Y)),
        pd.Series(np.isnan(Y)).astype("boolean"),
        pd.Series(np.flatnonzero(np.isnan(Y))).astype("Int64"),
        torch.tensor(np.isnan(Y)),
        torch.arange(KNOWN, N),
        range(KNOWN, N),
        {*range(KNOWN, N)},
        pd.RangeIndex(KNOWN, N),
    ],
    ids=lambda c: type(c).__name__,
)
def test_every_kind_of_candidates_gives_the_same_answer(candidates: Any) -> None:
    assert_same(ask(FRAME, candidates=candidates), ask())


@pytest.mark.parametrize("kind", [np.array, sparse.csr_matrix, sparse.csc_array, torch.tensor, pd.DataFrame])
@pytest.mark.parametrize("pool", [np.array, sparse.csr_array, pd.DataFrame])
def test_candidates_given_as_features(kind: Callable[..., Any], pool: Callable[..., Any]) -> None:
    rows = np.vstack([X[20:30], X[:2] + 3])  # of the pool, and new ones
    expected = ask(candidates=rows, clf=LogisticRegression())
    assert_same(ask(pool(X), candidates=kind(rows), clf=LogisticRegression()), expected)


def test_half_precision_candidates_of_a_sparse_pool() -> None:
    half = X.astype(np.float16)
    found = ask(sparse.csr_array(half.astype(np.float32)), candidates=half[20:30])
    assert_same(found, ask(half.astype(np.float32), candidates=half[20:30]))


def test_columns_of_candidates_are_found_by_name() -> None:
    turned = FRAME.iloc[20:30][list("edcba")]
    assert_same(ask(FRAME, candidates=turned), ask(candidates=X[20:30]))
    with pytest.raises(InputError, match="lack the column 'c' of X"):
        ask(FRAME, candidates=turned.drop(columns="c"))


@pytest.mark.parametrize("fit_clf", [True, False])
@pytest.mark.parametrize("labelled", [0, KNOWN])
def test_data_frames_reach_a_pipeline_as_data_frames(fit_clf: bool, labelled: int) -> None:
    columns = make_column_transformer((StandardScaler(), list("abcde")), (OneHotEncoder(), ["city"]))
    clf = make_pipeline(columns, LogisticRegression())
    y = np.where(np.arange(N) < labelled, TRUTH, np.nan)
    vectors = columns.fit_transform(MIXED)  # distances are those of the transformed columns
    model = LogisticRegression()
    if not fit_clf:
        clf.fit(MIXED, TRUTH)
        model.fit(vectors, TRUTH)
    for policy in ("uherding", "least_confident"):
        found = ask(MIXED, y, clf=clf, fit_clf=fit_clf, policy=policy)
        if labelled == 0 or not fit_clf:  # else the pipeline scales by the labelled rows, as it should
            assert_same(found, ask(vectors, y, clf=model, fit_clf=fit_clf, policy=policy))
        assert np.isnan(y[found[0]]).all()
    if fit_clf and labelled:
        probs = clf.fit(MIXED[:labelled], TRUTH[:labelled]).predict_proba(MIXED)
        np.testing.assert_allclose(found[1][0, labelled:], 1 - probs.max(1)[labelled:], atol=1e-6)
        some = ask(MIXED, y, clf=clf, candidates=MIXED.iloc[20:30].assign(a=9.0))
        assert set(some[0]) <= set(range(10))


@pytest.mark.parametrize("kind", [list, np.array, pd.Series], ids=["list", "array", "Series"])
def test_texts_are_read_through_a_pipeline(kind: Callable[..., Any]) -> None:
    clf = make_pipeline(TfidfVectorizer(), LogisticRegression())
    vectors = TfidfVectorizer().fit_transform(TEXTS)
    probs = clf.fit(TEXTS[:KNOWN], TRUTH[:KNOWN]).predict_proba(TEXTS)
    _, utilities = ask(kind(TEXTS), clf=clf, policy="least_confident")
    np.testing.assert_allclose(utilities[0, KNOWN:], 1 - probs.max(1)[KNOWN:], atol=1e-6)
    cold = ask(kind(TEXTS), np.full(N, np.nan), clf=clf, policy="uherding")
    assert_same(cold, ask(vectors, np.full(N, np.nan), policy="uherding"))


def test_values_that_a_pipeline_imputes_need_not_be_there() -> None:
    holes = FRAME.mask(np.random.default_rng(1).random((N, 5)) < 0.1)
    clf = make_pipeline(SimpleImputer(), LogisticRegression())
    filled = SimpleImputer().fit_transform(holes)
    cold = np.full(N, np.nan)
    assert_same(ask(holes, cold, clf=clf, policy="uherding"), ask(filled, cold, policy="uherding"))
    assert len(set(ask(holes, clf=clf)[0])) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": FRAME.astype("Float64").mask(FRAME > 1)}, r"X\[\d+, \d\] in column '[a-e]' is nan; impute"),
        ({"X": np.ma.masked_array(X, mask=X > 1)}, r"X\[\d+, \d\] is masked; impute"),
        ({"X": MIXED}, r"X holds 'c0' in column 'city'; encode text"),
        ({"X": FRAME.assign(when=pd.Timestamp("2026-01-01"))}, r"Timestamp.* in column 'when'"),
        ({"X": TEXTS}, "X holds texts; let clf be a Pipeline"),
        ({"X": sparse.csr_matrix(np.where(X > 2, np.inf, X))}, r"X\[\d+, \d\] is inf; impute"),
        ({"X": sparse.csr_matrix((N, 0))}, "not empty"),
        ({"X": sparse.csr_matrix(X).astype(complex)}, "complex"),
        ({"y": pd.DataFrame({"one": Y, "two": Y})}, "several values per item"),
        ({"y": np.eye(3)[TRUTH]}, "one-hot"),
        ({"y": np.where(np.isnan(Y), Y, Y + 0.37)}, "0.37, a measurement"),
        ({"y": np.where(Y == 2, np.inf, Y)}, "y holds inf, a measurement"),
        ({"X": FRAME, "y": pd.Series(Y)[::-1]}, r"y has the index of X in another order"),
        (
            {"X": FRAME, "y": Y, "prior": pd.DataFrame(np.full((len(Y), 2), 0.5))[::-1]},
            r"prior has the index of X in another order",
        ),
        ({"X": FRAME, "candidates": pd.Series(np.isnan(Y))[::-1]}, "candidates has the index of X"),
        ({"y": np.nan_to_num(Y, nan=-1)}, r"if -1.0 stands for unknown, give missing_label=-1.0"),
        ({"y": np.nan_to_num(Y, nan=-1).astype(int), "candidates": [20, 30]}, "all have a label; if -1 stands"),
        ({"y": np.where(np.isnan(Y), "nan", TRUTH.astype(str))}, "if 'nan' stands for unknown"),
        ({"y": np.where(np.isnan(Y), "", TRUTH.astype(str))}, "missing_label=''"),
        *(
            ({"X": FRAME, "clf": LogisticRegression(), name: pd.Series(np.ones(N))[::-1]}, f"{name} has the index of X")
            for name in ("sample_weight", "costs", "groups")
        ),
        ({"y": dict(enumerate(Y))}, "y is dict; give one label"),
        ({"X": Shapeless()}, "without a shape; give an array"),
        ({"X": {"a": X}}, "X is dict; give an array"),
        ({"candidates": pd.Index([f"id {i}" for i in range(5)])}, "integer positions"),
        ({"candidates": sparse.csr_matrix(np.ones((2, 3)))}, "3 features but X has 5"),
        ({"clf": make_pipeline(make_column_transformer((StandardScaler(), ["z"])), LogisticRegression()),
          "X": FRAME}, "clf=Pipeline could not be fitted or asked: .*z"),
        ({"clf": make_pipeline(make_column_transformer((StandardScaler(), ["z"])), LogisticRegression()),
          "X": MIXED}, "clf's steps cannot be fitted to X .*z"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ask(**change)
    assert "\n" not in str(error.value)


def test_minus_one_may_be_a_class() -> None:
    signs = np.where(TRUTH == 0, -1, 1)
    assert list(query(X, signs, candidates=[5])) == [5]
    assert_same(ask(y=np.where(np.isnan(Y), np.nan, signs)), ask(y=np.where(np.isnan(Y), np.nan, signs > 0)))


def test_a_text_pool_without_a_pipeline_is_a_type_error() -> None:
    with pytest.raises(InputTypeError):
        ask(TEXTS, clf=LogisticRegression())


@pytest.mark.parametrize("kind", [np.random.Generator, np.random.RandomState])
def test_generators_seed_and_are_not_advanced(kind: type) -> None:
    def make(seed: int) -> Any:
        return np.random.default_rng(seed) if kind is np.random.Generator else np.random.RandomState(seed)

    state = make(3)
    first, second = (ask(random_state=state, policy="random") for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[1], ask(random_state=make(4), policy="random")[1], equal_nan=True)


@pytest.mark.parametrize("words", [40, 4000], ids=["exact", "SVD"])
def test_wide_sparse_pools_stay_sparse(words: int) -> None:
    """As a matrix of numbers this one would take 8 GB."""
    rng = np.random.default_rng(0)
    n, d, length = 1000, 1_000_000, 12
    truth = rng.integers(0, 4, n)
    own = 10_000 * truth[:, None] + rng.integers(0, 20, (n, length))
    columns = np.where(np.arange(length) < 8, own, 50_000 + rng.integers(0, words, (n, length)))
    x = sparse.csr_matrix((np.ones(n * length), (np.repeat(np.arange(n), length), columns.ravel())), (n, d))
    y = np.full(n, np.nan)
    for _ in range(4):
        picks = query(x, y, policy="uherding")
        y[picks] = truth[picks]
    assert sorted(y[~np.isnan(y)]) == [0, 1, 2, 3]
    utilities = select(x, y, policy="uherding", limits=Limits(scored=300), return_utilities=True).utilities
    assert utilities is not None and np.isfinite(utilities[0, np.isnan(y)]).all()


def test_nearest_references_are_the_same_for_sparse_and_dense() -> None:
    references, rows = np.arange(10), np.arange(10, N)
    expected = np.square(X[rows, None] - X[None, references]).sum(-1)
    for x in (X, X.astype(np.float64), sparse.csr_array(X)):
        points = Points(x)
        place, distance = points.nearest(references, rows)
        np.testing.assert_array_equal(place, expected.argmin(1))
        np.testing.assert_allclose(
            distance / distance.max(), expected.min(1) / expected.min(1).max(), atol=1e-5
        )
        every = points.among(references)
        np.testing.assert_allclose(every[0, 1:] / every[0, 1], every[1:, 0] / every[1, 0], rtol=1e-5)


def test_numbers_that_may_be_measurements_are_named_unless_classes_are_given() -> None:
    x = RNG.normal(size=(120, 3))
    ages = np.full(120, np.nan)
    ages[:60] = 18 + RNG.permutation(80)[:60]
    with pytest.warns(UserWarning, match="60 different numbers in 60 labels, taken for classes"):
        query(x, ages, policy="uherding")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        query(x, ages, policy="uherding", classes=range(18, 98))
        query(x, np.where(np.isnan(ages), np.nan, np.arange(120) % 30), policy="uherding")
