"""Chooses the items that stand for a pool too large to be scored exactly: landmarks, doubtful items, drawn ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.acquisition.arrays import Features
from agents.acquisition.cover import Cover, cover
from agents.acquisition.options import Limits

Doubt = Callable[[np.ndarray], "np.ndarray | None"]
"""Maps (M,) positions that stand for the pool to (N,) doubts about every item; None where nothing is known."""


def scored_items(
    x: Features, known: np.ndarray, *, most: int, limits: Limits, seed: int, draw: int, doubt: Doubt
) -> np.ndarray:
    """Returns (M,) ascending positions of the items to score: labelled and unlabelled ones, each up to their bound.

    Of more unlabelled items than `most`, a quarter are landmarks that cover the pool, an eighth are the most doubtful
    items, at most one near each landmark, and the rest are drawn uniformly, so that densities stay those of the pool.

    Args:
        known: (N,) bool, items with a label.
        limits: bound of the labelled items, and numbers of landmarks.
        seed: of the landmarks, which stay the same during a session.
        draw: seed of what is drawn anew for every query.
    """
    rng = np.random.default_rng([draw, x.shape[0]])
    labelled, unlabelled = np.flatnonzero(known), np.flatnonzero(~known)
    if len(labelled) > limits.labelled:
        labelled = rng.choice(labelled, limits.labelled, replace=False)
    if len(unlabelled) > most:
        unlabelled = _chosen(cover(x, seed, limits), labelled, ~known, most, rng, doubt)
    return np.sort(np.concatenate([labelled, unlabelled]))


def _chosen(
    found: Cover, labelled: np.ndarray, open_: np.ndarray, most: int, rng: np.random.Generator, doubt: Doubt
) -> np.ndarray:
    taken = np.zeros(len(open_), dtype=bool)
    # In both kinds of landmarks the first ones matter most.
    rank = np.r_[np.arange(found.uniform), np.arange(len(found.landmarks) - found.uniform)]
    landmarks = found.landmarks[np.argsort(rank, kind="stable")]
    landmarks = landmarks[open_[landmarks]][: max(1, most // 4)]
    taken[landmarks] = True
    values = doubt(np.union1d(labelled, landmarks))
    if values is not None:
        taken[_champions(values, found.owner, open_ & ~taken, most // 8)] = True
    rest = np.flatnonzero(open_ & ~taken)
    taken[rng.choice(rest, most - int(taken.sum()), replace=False)] = True
    return np.flatnonzero(taken)


def _champions(values: np.ndarray, owner: np.ndarray, open_: np.ndarray, count: int) -> np.ndarray:
    """Returns up to `count` positions: of every landmark's items the one with the largest value, the largest first."""
    positions = np.flatnonzero(open_)
    order = positions[np.argsort(-values[positions], kind="stable")]
    first = np.sort(np.unique(owner[order], return_index=True)[1])
    return order[first[:count]]
