"""`query` and `MetaALQuery` on generated pools: valid picks and finite utilities, or one sentence; inputs stay."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import EXAMPLES, fuzz, refused
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from agents.acquisition import MetaALQuery, query
from metaal_env.errors import InputError

POLICIES = (None, "uherding", "random", "margin", "entropy", "k_center", "typiclust", "max_herding", "badge")
ARGUMENTS = (
    "X", "y", "candidates", "batch_size", "policy", "random_state", "classes", "missing_label", "budget", "clf",
    "sample_weight", "fit_clf", "return_utilities", "strategy",
)  # fmt: skip
KINDS = (
    "normal",
    "duplicates",
    "constant column",
    "identical",
    "zeros",
    "huge",
    "tiny",
    "one far away",
    "integers",
)
TYPES = ("f2", "f4", "f8", "i1", "i8", "u1", "?", ">f8", "f16")


LAYOUTS = ("fortran", "strided", "reversed", "read-only", "mapped", "image", "tensor", "csr", "csc", "masked")
CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "tensor": torch.tensor,
    "csr": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "masked": np.ma.masked_array,
}


def vectors(kind: str, n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if kind == "duplicates":
        return x[rng.integers(0, 1 + n // 3, n)]
    if kind == "constant column":
        x[:, 0] = 7
    elif kind in ("identical", "zeros"):
        x[:] = x[0] * (kind == "identical")
    elif kind == "one far away":
        x[-1] += 1e4
    scale = {"huge": 1e4, "tiny": 1e-4, "integers": 50}.get(kind, 1.0)
    return np.round(x * scale) if kind == "integers" else x * scale


@st.composite
def pools(draw: st.DrawFn, folder: Path) -> dict[str, Any]:
    """Keyword arguments of `query`, all valid."""
    n, d = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    x = vectors(draw(st.sampled_from(KINDS)), n, d, draw(st.integers(0, 99)))
    with np.errstate(all="ignore"):
        x = np.nan_to_num(x.astype(draw(st.sampled_from(TYPES))))
    layout = draw(st.sampled_from(["plain", "plain", *LAYOUTS]))
    if layout == "fortran":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    elif layout == "reversed":
        x = x[::-1]
    elif layout == "read-only":
        x.setflags(write=False)
    elif layout == "mapped":
        np.save(folder / "x.npy", x)
        x = np.load(folder / "x.npy", mmap_mode="r")
    elif layout == "image":
        x = np.repeat(x[:, :, None], 2, axis=2)
    known = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    known[draw(st.integers(0, n - 1))] = False
    classes = draw(st.integers(1, 4))
    labels = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    style = draw(st.sampled_from(["nan", "none", "minus one", "text", "list"]))
    y: Any = np.where(known, labels, np.nan)
    dense = np.array(x).reshape(n, -1)
    if layout in CONTAINERS:
        x = CONTAINERS[layout](dense.astype(np.float64))
    arguments: dict[str, Any] = {"X": x, "y": y}
    if style in ("none", "text"):
        values = [f"c{c}" if style == "text" else c for c in labels]
        y = np.array([v if k else None for v, k in zip(values, known, strict=True)], dtype=object)
        arguments |= {"y": y, "missing_label": None}
    elif style == "minus one":
        arguments |= {"y": np.where(known, labels, -1), "missing_label": -1}
    elif style == "list":
        arguments["y"] = y.tolist()
    open_ = np.flatnonzero(~known)
    among = draw(st.sampled_from(["all", "all", "positions", "features"]))
    if among == "positions":
        arguments["candidates"] = np.array(draw(st.permutations(open_.tolist())))[
            : draw(st.integers(1, len(open_)))
        ]
    elif among == "features":
        arguments["candidates"] = dense[open_]
    arguments |= {
        "batch_size": draw(st.integers(1, 4)),
        "return_utilities": draw(st.booleans()),
        "policy": draw(st.sampled_from(POLICIES)),
        "random_state": draw(st.sampled_from([None, 0, 7, 2**31])),
    }
    if draw(st.integers(0, 4)) == 0:
        arguments["budget"] = draw(st.integers(0, 30))
    return arguments


SPOILED = st.sampled_from(
    [
        *(("X", value) for value in (None, "abc", 3, [], [[]], [["a"]], [[1], [1, 2]], np.zeros(3), np.zeros((0, 3)),
                                     np.zeros((2, 0)), np.array([[None, 1]]), np.zeros((3, 2), complex))),
        *(("y", value) for value in (None, "abc", [], [1], [[1, 2]], ["a", 1], [object()], np.zeros((2, 2)))),
        *(("candidates", value) for value in ([], [-1], [99], [0, 0], [0.5], "0", [[np.nan]], np.zeros((1, 99)), 3)),
        *(("batch_size", value) for value in (0, -1, 1.5, None, True, "1", np.nan)),
        *(("policy", value) for value in ("", "margn", "gone.py:X", "no/where", 3, ["margin"], "\0")),
        ("policy", "greedy_lookahead"),
        *(("random_state", value) for value in (-1, 0.5, "0", True)),
        *(("classes", value) for value in ([], [99], ["a", 1], 3, [[0]])),
        *(("missing_label", value) for value in ([], {}, object())),
        *(("budget", value) for value in (0.5, "3", np.nan)),
        *(("sample_weight", value) for value in ([1], "a", np.ones(5))),
        *(("return_utilities", value) for value in (None, 2, "yes")),
    ]
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, folder: Path) -> dict[str, Any]:
    arguments = draw(pools(folder))
    if draw(st.booleans()):
        x = np.array(plain(arguments["X"]), dtype=np.float64)
        x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        return arguments | {"X": x}
    return arguments | dict([draw(SPOILED)])


def ask(arguments: dict[str, Any], as_estimator: bool) -> Any:
    if not as_estimator:
        return query(**arguments)
    own = {"policy", "classes", "budget", "missing_label", "random_state"}
    estimator = MetaALQuery(**{k: v for k, v in arguments.items() if k in own})
    return estimator.query(**{k: v for k, v in arguments.items() if k not in own})


def known_of(arguments: dict[str, Any]) -> np.ndarray:
    missing = arguments.get("missing_label", np.nan)
    return np.array(
        [v is not None and v == v and (missing != missing or v != missing) for v in arguments["y"]]
    )


def check_answer(arguments: dict[str, Any], answer: Any) -> None:
    picks, utilities = answer if arguments["return_utilities"] else (answer, None)
    n, known, candidates = arguments["X"].shape[0], known_of(arguments), arguments.get("candidates")
    by_features = candidates is not None and candidates.ndim == 2
    allowed = np.zeros(len(candidates) if by_features else n, dtype=bool)
    allowed[slice(None) if by_features else np.flatnonzero(~known) if candidates is None else candidates] = (
        True
    )
    assert picks.dtype == np.int64 and len(picks) == min(arguments["batch_size"], int(allowed.sum()))
    assert len(set(picks.tolist())) == len(picks), "an item twice"
    assert allowed[picks].all(), "an item that is labelled or no candidate"
    if utilities is None:
        return
    assert utilities.shape == (len(picks), len(allowed))
    for row, pick in enumerate(picks):
        free = allowed.copy()
        free[picks[:row]] = False
        assert np.isfinite(utilities[row][free]).all(), "utilities that are no numbers"
        assert np.isnan(utilities[row][~free]).all()
        if arguments["policy"] != "badge":  # composes batches as a whole
            assert utilities[row][pick] == np.nanmax(utilities[row])


def plain(value: Any) -> Any:
    return value.toarray() if sparse.issparse(value) else np.asarray(value)


def contents(arguments: dict[str, Any]) -> dict[str, Any]:
    found = {key: plain(value) if hasattr(value, "shape") else value for key, value in arguments.items()}
    return {
        key: value.tobytes() if isinstance(value, np.ndarray) and value.dtype != object else repr(value)
        for key, value in found.items()
    }


@pytest.mark.parametrize("examples", EXAMPLES)
def test_valid_pools_give_valid_picks(examples: int, tmp_path: Path) -> None:
    @fuzz(examples * 3 // 4)
    @given(pools(tmp_path), st.booleans())
    def check(arguments: dict[str, Any], as_estimator: bool) -> None:
        before = contents(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an overflow or a division by zero is no way to a pick
            warnings.filterwarnings("ignore", message=".*exceeds the")
            answer = ask(arguments, as_estimator)
        check_answer(arguments, answer)
        assert contents(arguments) == before, "an argument was changed"

    check()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_spoiled_arguments_are_named(examples: int, tmp_path: Path) -> None:
    refusals = []

    @fuzz(examples // 4)
    @given(spoiled(tmp_path), st.booleans())
    def check(arguments: dict[str, Any], as_estimator: bool) -> None:
        before = contents(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ask(arguments, as_estimator)
            except InputError as error:
                refusals.append(1)
                refused(error, *ARGUMENTS)
        assert contents(arguments) == before, "an argument was changed"

    check()
    assert len(refusals) > examples // 8
