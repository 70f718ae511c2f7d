"""Labelling sessions played on data whose labels are known: what a policy would have been worth there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import query
from metaal_env.errors import InputError

MEASURES = ("accuracy", "balanced", "precision")
"""Accuracy, balanced accuracy, and average precision of the rarest class."""
HELD_OUT = 1000
"""Most items on which a session's classifier is judged; they are never in the pool."""


class OwnPool(NamedTuple):
    """Holds a pool and the items on which its labels are judged."""

    x: np.ndarray  # (N, D) float
    truth: np.ndarray  # (N,) numbers from 0
    held_x: np.ndarray  # (H, D)
    held_truth: np.ndarray  # (H,)


def split_pool(
    x: np.ndarray, truth: np.ndarray, *, size: int, seed: int, groups: np.ndarray | None = None
) -> OwnPool:
    """Draws a pool of `size` items, at most two thirds, and up to `HELD_OUT` others to judge on.

    Where items have groups, the others are whole groups, at least a third of the items in all.

    Args:
        x: (M, D) vectors.
        truth: (M,) numbers from 0.
        groups: (M,) what each item belongs to.

    Raises:
        InputError: fewer than two groups.
    """
    rng = np.random.default_rng(seed)
    items = rng.permutation(len(x))
    stop = min(size, len(x) * 2 // 3)
    pool, held = items[:stop], items[stop : stop + HELD_OUT]
    if groups is not None:
        names = rng.permutation(np.unique(groups))
        if len(names) < 2:
            raise InputError(f"groups: all {len(x)} items are of one; a pool and what judges it need two.")
        up_to = np.cumsum([np.sum(groups == name) for name in names[:-1]])
        apart = np.isin(groups, names[: 1 + int(np.searchsorted(up_to, len(x) - len(x) * 2 // 3))])
        pool, held = items[~apart[items]][:size], items[apart[items]][:HELD_OUT]
    return OwnPool(x[pool], truth[pool], x[held], truth[held])


def play(
    pool: OwnPool,
    policy: PolicySpec,
    make: Callable[[], Any],
    *,
    labels: int,
    batch: int = 1,
    seed: int = 0,
    guide: bool = True,
    classes: np.ndarray | None = None,
    start: np.ndarray | None = None,
    judge_at: Collection[int] | None = None,
) -> dict[str, np.ndarray]:
    """Plays one session, and returns each measure as (labels + 1,) values by number of labels.

    Values are NaN where the classifier was not judged: between batches, and before the first label.

    Args:
        policy: see `agents.acquisition.load_policy`.
        make: builds the classifier that is fitted to the labels and judged. One with a method `given`, as
            `agents.acquisition.semi_supervised` has, learns from the pool's vectors, too.
        labels: labels in all, those of `start` included; at most the whole pool is labelled.
        batch: labels to buy at a time.
        guide: whether the policy is given the classifier, too.
        classes: all classes, where the policy is told them in advance.
        start: positions of the items that are labelled before the policy chooses.
        judge_at: numbers of labels after which the classifier is judged; after every batch by default.

    Raises:
        ValueError: the classifier cannot be fitted to all labels of the session. While there are fewer, the most
            frequent class stands in.
    """
    y = np.full(len(pool.truth), np.nan)
    curves = {name: np.full(labels + 1, np.nan) for name in MEASURES}
    first = np.array([], dtype=int) if start is None else start[:labels]
    y[first] = pool.truth[first]
    last = min(labels, len(y))
    bought = len(first)
    while True:
        if bought and (judge_at is None or bought in judge_at):
            for name, value in judged(pool, y, make, strict=bought >= last).items():
                curves[name][bought] = value
        if bought >= last:
            return curves
        picks = query(
            pool.x,
            y,
            clf=_built(make, pool.x) if guide else None,
            policy=policy,
            batch_size=min(batch, last - bought),
            random_state=seed,
            classes=classes,
            budget=labels,
        )
        y[picks] = pool.truth[picks]
        bought += len(picks)


def judged(pool: OwnPool, y: np.ndarray, make: Callable[[], Any], *, strict: bool = True) -> dict[str, float]:
    """Returns `MEASURES` of the classifier fitted to the labels, on the items that are held out.

    Args:
        y: (N,) labels, NaN where unknown.
        strict: whether a classifier that cannot be fitted is an error; else the most frequent class stands in.
    """
    from sklearn.metrics import average_precision_score

    known = np.flatnonzero(~np.isnan(y))
    labels = y[known].astype(int)
    names, counts = np.unique(pool.held_truth, return_counts=True)
    rare = names[counts.argmin()]
    score = np.zeros(len(pool.held_truth))
    predicted = np.full(len(pool.held_truth), np.bincount(labels).argmax())
    if len(np.unique(labels)) >= 2:
        try:
            model = _built(make, pool.x).fit(pool.x[known], labels)
            predicted = model.predict(pool.held_x)
            if rare in model.classes_:
                score = model.predict_proba(pool.held_x)[:, list(model.classes_).index(rare)]
        except ValueError:  # e.g. five neighbours of three labels
            if strict:
                raise
    recall = [float(np.mean(predicted[pool.held_truth == name] == name)) for name in names]
    return {
        "accuracy": float(np.mean(predicted == pool.held_truth)),
        "balanced": float(np.mean(recall)),
        "precision": float(average_precision_score(pool.held_truth == rare, score)),
    }


def _built(make: Callable[[], Any], vectors: np.ndarray) -> Any:
    """Builds the classifier; one that is semi-supervised is given the pool's vectors, never its labels."""
    model = make()
    return model.given(vectors) if hasattr(model, "given") else model
