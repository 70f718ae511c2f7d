"""Pools of every kind: arrays, degenerate ones, one item, thousands, the same one again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.queries import N, both, data
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import query
from agents.acquisition.batch import Selection
from agents.acquisition.cover import cover
from agents.acquisition.options import Limits
from agents.acquisition.query import select
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy


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
    with ThreadPoolExecutor(1) as fresh:  # a thread remembers its own last pool
        _, utilities = fresh.submit(both, x, y, policy=learned).result()
    np.testing.assert_array_equal(utilities, first[0][1])


def test_large_pools_are_represented() -> None:
    x, y, _ = data(600)
    exact = both(x, y, policy="max_herding")

    def bounded(**options: Any) -> Selection:
        return select(x, y, limits=Limits(scored=200, labelled=6), **options)

    selection = bounded(policy="max_herding", batch_size=4, return_utilities=True)
    picks, utilities = selection.picks, selection.utilities
    assert utilities is not None
    np.testing.assert_array_equal(picks, bounded(policy="max_herding", batch_size=4).picks)
    open_ = np.isnan(y)
    assert np.isfinite(utilities[0, open_]).all() and len(set(picks)) == 4
    # Utilities stay close, picks are among the best, and candidates change no utility.
    exactly, alike, better = exact[1][0, open_], [], []
    for seed in range(8):
        drawn = bounded(policy="max_herding", random_state=seed, return_utilities=True)
        assert drawn.utilities is not None
        alike.append(np.corrcoef(drawn.utilities[0, open_], exactly)[0, 1])
        better.append((exactly > exact[1][0, drawn.picks[0]]).mean())
    # A draw of a third of the pool shifts every utility: over many seeds the means are about .5 and .09, with standard
    # errors of .06 and .04 for eight of them.
    assert np.mean(alike) > 0.4 and np.mean(better) < 0.2
    few = np.flatnonzero(open_)[:50]
    restricted = bounded(policy="max_herding", candidates=few, batch_size=50, return_utilities=True)
    assert restricted.utilities is not None
    np.testing.assert_allclose(restricted.utilities[0, few], utilities[0, few])
    assert sorted(restricted.picks) == sorted(few)
    with pytest.warns(UserWarning):
        assert len(set(bounded(policy="margin", batch_size=700).picks)) == open_.sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_of_a_large_pool_is_reached(seed: int) -> None:
    """It has 3 items of 6,000, so 200 items that are drawn uniformly mostly hold none of it."""
    limits = Limits(scored=200, drawn_landmarks=50, rounds=4, landmarks_per_round=12)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, 6000)
    rare = rng.choice(6000, 3, replace=False)
    truth[rare] = 8
    x = 3 * rng.normal(size=(9, 16))[truth] + rng.normal(size=(6000, 16))
    y = np.full(6000, np.nan)
    picks = select(x, y, policy="k_center", batch_size=50, random_state=seed, limits=limits).picks
    assert np.isin(picks, rare).any()
    found = cover(x, seed, limits)
    assert len(np.unique(found.landmarks)) == len(found.landmarks)
    nearest = np.square(x[:100, None] - x[found.landmarks]).sum(-1)
    np.testing.assert_array_equal(found.owner[:100], nearest.argmin(1))


def test_the_doubtful_items_of_a_large_pool_are_scored() -> None:
    """Three items in 2,000 lie between the classes; a uniform sample of 200 mostly holds none of them."""
    rng = np.random.default_rng(0)
    truth = np.arange(2000) % 2
    x = np.c_[np.where(truth, 4.0, -4.0) + rng.normal(size=2000), rng.normal(size=2000)]
    doubtful = [500, 1000, 1501]
    y = np.where(np.arange(2000) < 40, truth, np.nan)
    x[np.abs(x[:, 0]) < 0.9, 0] = 4.0
    x[doubtful, 0] = [0.0, 0.02, -0.02]
    for clf in (GaussianNB(), None):
        assert select(x, y, clf=clf, policy="margin", limits=Limits(scored=200)).picks[0] in doubtful


def test_large_batches_are_penalised_between_evaluations() -> None:
    x, y, _ = data(300)
    policy, limits = LearnedStrategy(AcquisitionNetwork()), Limits(exact_batches=100, evaluations=3)
    picks = select(x, y, policy=policy, batch_size=30, limits=limits).picks
    assert len(set(picks)) == 30
