"""Finds labels that are probably wrong, and how often classes occur, from cross-validated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.acquisition.tool.progress import MAX_PREDICTED
from agents.acquisition.tool.refits import refitted

FOLDS = 10
LEAST = 20
"""Labels below which none is doubted."""
MAX_LABELS = 2000
"""Labels that are judged; of more, this many drawn at random."""


class Doubt(NamedTuple):
    """Holds a label that the others contradict."""

    position: int
    label: str
    likely: str
    chance: float  # cross-validated probability of the likely class
    own: float  # … and of the label


def doubted_labels(x: np.ndarray, y: np.ndarray, *, groups: Sequence[str] | None = None) -> list[Doubt]:
    """Finds labels that other labels contradict with confidence, the worst first.

    Confident learning (Northcutt, Jiang & Chuang, 2021): a label is doubted where another class is likelier, and at
    least as likely as it is on average for the items of that class. Probabilities are those of metaal's own head,
    fitted without the item's fold. A class of one label, or of one fold, is never doubted.

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        groups: (N,) group of each item; none is split between folds.
    """
    known = np.flatnonzero([label is not None for label in y])
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(known)[:MAX_LABELS])
    names = np.unique([str(y[i]) for i in rows])
    if len(rows) < LEAST or len(names) < 2:
        return []
    codes = np.searchsorted(names, [str(y[i]) for i in rows])
    fold = folds(codes, rng, None if groups is None else np.array([groups[i] for i in rows]))
    probs = held_out_probabilities(x[rows], codes, len(names), fold)
    own = probs[np.arange(len(rows)), codes]
    usual = np.array([own[codes == k].mean() for k in range(len(names))])
    confident = np.where(probs >= usual, probs, 0.0)
    likely = confident.argmax(1)
    chance = confident[np.arange(len(rows)), likely]
    counts = np.zeros((fold.max() + 1, len(names)), dtype=int)
    np.add.at(counts, (fold, codes), 1)
    single = counts.sum(0)[codes] == counts[fold, codes]  # no label of the class lies outside the fold
    wrong = np.flatnonzero((likely != codes) & (chance > own) & ~single)
    worst = wrong[np.argsort(own[wrong] - chance[wrong], kind="stable")]
    return [
        Doubt(int(rows[i]), str(names[codes[i]]), str(names[likely[i]]), float(chance[i]), float(own[i]))
        for i in worst
    ]


def folds(codes: np.ndarray, rng: np.random.Generator, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns (n,) numbers of folds, of which none takes all of a class, or splits a group.

    Args:
        codes: (n,) classes.
        groups: (n,) where given, whole groups are dealt out, and a class may lie in one fold.
    """
    n = len(codes)
    if groups is not None:
        from sklearn.model_selection import GroupKFold

        fold, several = np.zeros(n, dtype=int), min(FOLDS, len(np.unique(groups)))
        for k, (_, held) in enumerate(GroupKFold(several).split(codes, codes, groups) if several > 1 else []):
            fold[held] = k
        return fold
    # Within a class folds take turns, so that no fold takes all of a class.
    order = rng.permutation(n)
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(n, dtype=int)
    fold[order] = np.arange(n) % min(FOLDS, n)
    return fold


def held_out_probabilities(x: np.ndarray, codes: np.ndarray, classes: int, fold: np.ndarray) -> np.ndarray:
    """Returns (n, C) probabilities of each label by a head that is fitted to the other folds.

    Args:
        x: (n, D) labelled items.
        codes: (n,) their classes, in 0…C − 1.
        fold: (n,) as of `folds`.
    """
    n = len(codes)
    rows = np.arange(n)
    probs = refitted(x, rows, codes, fold != np.arange(fold.max() + 1)[:, None], rows)  # (folds, n, C)
    found = np.zeros((n, classes))
    found[:, : probs.shape[2]] = probs[fold, rows]
    return found


def predicted_shares(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Returns the share of the pool that metaal's own head gives to each class that has a label.

    The shares are mean probabilities over the pool, or over `MAX_PREDICTED` of its items drawn at random. They are
    empty with fewer than two classes. Of more than `MAX_LABELS` labels as many are drawn at random; a class of which
    none is drawn has no share.
    """
    rng = np.random.default_rng(0)
    train = rng.permutation(np.flatnonzero([label is not None for label in y]))[:MAX_LABELS]
    names = np.unique([str(y[i]) for i in train])
    if len(names) < 2:
        return {}
    rows = np.concatenate([train, rng.permutation(len(x))[:MAX_PREDICTED]])
    codes, n = np.searchsorted(names, [str(y[i]) for i in train]), len(train)
    probs = refitted(x[rows], np.arange(n), codes, np.ones((1, n), bool), np.arange(n, len(rows)))
    return dict(zip(names.tolist(), probs[0].mean(0).tolist(), strict=True))
