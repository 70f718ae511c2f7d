"""Pools of every kind: arrays, degenerate ones, one item, thousands, the same one again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.queries import N, both, data
from sklearn.naive_bayes import GaussianNB

from agents.acquisition import batch as choose
from agents.acquisition import cover, query
from agents.acquisition import user_pool as pool_module
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
    # Utilities stay close, picks are among the best, and candidates change no utility.
    draws = [both(x, y, policy="max_herding", random_state=seed) for seed in range(8)]
    exactly = exact[1][0, open_]
    assert np.mean([np.corrcoef(values[0, open_], exactly)[0, 1] for _, values in draws]) > 0.4
    assert np.mean([exactly > exact[1][0, first[0]] for first, _ in draws]) < 0.2
    few = np.flatnonzero(open_)[:50]
    restricted, values = both(x, y, policy="max_herding", candidates=few, batch_size=50)
    np.testing.assert_allclose(values[0, few], utilities[0, few])
    assert sorted(restricted) == sorted(few)
    with pytest.warns(UserWarning):
        assert len(set(query(x, y, policy="margin", batch_size=700))) == open_.sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_of_a_large_pool_is_reached(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 3 items of 6,000, so 200 items that are drawn uniformly mostly hold none of it."""
    for name, value in {"UNIFORM": 50, "ROUNDS": 4, "PER_ROUND": 12}.items():
        monkeypatch.setattr(cover, name, value)
    monkeypatch.setattr(pool_module, "MAX_SCORED", 200)
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, 6000)
    rare = rng.choice(6000, 3, replace=False)
    truth[rare] = 8
    x = 3 * rng.normal(size=(9, 16))[truth] + rng.normal(size=(6000, 16))
    picks = query(x, np.full(6000, np.nan), policy="k_center", batch_size=50, random_state=seed)
    assert np.isin(picks, rare).any()
    found = cover.cover(x, seed)
    assert len(np.unique(found.landmarks)) == len(found.landmarks)
    nearest = np.square(x[:100, None] - x[found.landmarks]).sum(-1)
    np.testing.assert_array_equal(found.owner[:100], nearest.argmin(1))


def test_the_doubtful_items_of_a_large_pool_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three items in 2,000 lie between the classes; a uniform sample of 200 mostly holds none of them."""
    monkeypatch.setattr(pool_module, "MAX_SCORED", 200)
    rng = np.random.default_rng(0)
    truth = np.arange(2000) % 2
    x = np.c_[np.where(truth, 4.0, -4.0) + rng.normal(size=2000), rng.normal(size=2000)]
    doubtful = [500, 1000, 1501]
    y = np.where(np.arange(2000) < 40, truth, np.nan)
    x[np.abs(x[:, 0]) < 0.9, 0] = 4.0
    x[doubtful, 0] = [0.0, 0.02, -0.02]
    for clf in (GaussianNB(), None):
        assert query(x, y, clf=clf, policy="margin")[0] in doubtful


def test_large_batches_are_penalised_between_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = data(300)
    monkeypatch.setattr(choose, "EXACT_BATCHES", 100)
    monkeypatch.setattr(choose, "MAX_EVALUATIONS", 3)
    picks = query(x, y, policy=LearnedStrategy(AcquisitionNetwork()), batch_size=30)
    assert len(set(picks)) == 30
