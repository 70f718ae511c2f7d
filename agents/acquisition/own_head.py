"""metaal's own head, which stands in for a classifier, and vectors as it and distances take them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from agents.acquisition.arrays import CHUNK, Features, doubt_of
from agents.acquisition.labels import Labels
from metaal_env.learners import build_learner
from metaal_env.learners.base import InnerLearner
from metaal_env.pool.view import PoolView

MAX_COLUMNS = 2048
"""Columns in use of sparse vectors up to which distances are exact."""
SVD_DIMENSIONS = 64
"""Dimensions to which an SVD brings sparse vectors of more columns."""
HEAD = "logistic"
"""metaal's own head. Prototypes, calibrated on small tasks, misled `uherding` in pools of a thousand texts (row 66 of
docs/log/2026-11.md)."""
MANY_CLASSES = 128
"""Beyond this many classes the head is fitted to those that have a label; the others share one column."""
FAR = 1e15
"""Bound of a coordinate, in units of the largest that is scored, so that no square overflows."""
CENTRE_ABOVE = 10.0
"""The head looks at directions; a mean this many times larger than the variance would hide them all."""


def head_for(z: Tensor) -> InnerLearner:
    """Returns metaal's own head for (M, D) vectors; it needs no training."""
    return _head(z.shape[1])


@lru_cache(maxsize=8)
def _head(dimensions: int) -> InnerLearner:
    return build_learner(HEAD, (dimensions,)).eval()


def view_of_few_classes(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """Builds the view under metaal's own head, fitted without the classes that have no label where there are many.

    The head gives all of these the same logit, so one column serves them all.
    """
    seen = np.unique(y[y >= 0])
    if k <= max(MANY_CLASSES, len(seen) + 1):
        return own_view(z, y, k, seed)
    own = own_view(z, np.where(y >= 0, np.searchsorted(seen, y), -1), len(seen) + 1, seed)
    column = torch.full((k,), len(seen))
    column[torch.from_numpy(seen)] = torch.arange(len(seen))
    return replace(
        own,
        logits=own.logits[..., column],
        labels=torch.from_numpy(y).unsqueeze(0),
        class_mask=torch.ones(1, k, dtype=torch.bool),
    )


def own_view(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """Builds the view under metaal's own head, with room for classes without a label."""
    z = centred(z)
    uniform = torch.full((len(z), k), 1 / k)
    view = PoolView.from_arrays(z, uniform, y, seed=seed, learner=head_for(z))
    assert view.learner is not None and view.adapted is not None and view.prepared is not None
    with torch.no_grad():
        return replace(view, logits=view.learner.predict(view.adapted, view.prepared))


def own_doubt(x: Features, rows: np.ndarray, labels: Labels) -> np.ndarray | None:
    """Returns the (N,) doubts of every item of a large pool under metaal's own head, see `doubt_of`.

    Returns None where nothing is known: with fewer than two classes, or for sparse vectors, which the head does not
    take as they are.

    Args:
        rows: (M,) positions of labelled and other items, by which vectors are centred.
    """
    if len(labels.seen) < 2 or not isinstance(x, np.ndarray):
        return None
    y = np.full(len(x), -1)
    y[labels.known] = np.searchsorted(labels.seen, labels.values)
    some = x[rows].astype(np.float64)
    unit = float(np.abs(some).max()) or 1.0
    z = torch.from_numpy((some / unit).astype(np.float32))
    shift = (z - centred(z))[:1]
    view = own_view(z, y[rows], len(labels.seen), 0)
    assert view.learner is not None and view.adapted is not None
    found = []
    for start in range(0, len(x), CHUNK):
        part = (x[start : start + CHUNK].astype(np.float64) / unit).clip(-FAR, FAR).astype(np.float32)
        with torch.no_grad():
            prepared = view.learner.prepare(torch.from_numpy(part) - shift)
            probs = view.learner.predict(view.adapted, prepared.unsqueeze(0))[0].softmax(-1)
        found.append(doubt_of(probs.numpy()))
    return np.concatenate(found)


def centred(z: Tensor) -> Tensor:
    """Takes the mean from (M, D) vectors where it would hide all differences of direction."""
    mean = z.mean(0)
    apart = z - mean
    return apart if float(mean.square().sum()) > CENTRE_ABOVE * float(apart.square().sum(1).mean()) else z


def dense(x: Features) -> np.ndarray:
    """Returns (M, D) rows as an array.

    Of sparse rows the columns in use are kept. More than `MAX_COLUMNS` of them are brought to (M, `SVD_DIMENSIONS`) by
    an SVD, as in latent semantic analysis (Deerwester et al. 1990).
    """
    if isinstance(x, np.ndarray):
        return x
    used = np.unique(x.indices)
    if len(used) <= MAX_COLUMNS:
        return x[:, used].toarray() if len(used) else np.zeros((x.shape[0], 1))
    return by_svd(x, used)


def by_svd(x: sparse.csr_array, used: np.ndarray) -> np.ndarray:
    """Returns (M, ≤ `SVD_DIMENSIONS`) projections of sparse rows, of which only the columns `used` hold something."""
    from sklearn.decomposition import TruncatedSVD

    size = min(SVD_DIMENSIONS, x.shape[0] - 1)
    if size < 2:
        return x[:, used].toarray()
    # arpack works on the shorter side; the randomised solver would hold a dense matrix of all columns.
    svd = TruncatedSVD(size, algorithm="arpack", random_state=0)
    return np.asarray(svd.fit_transform(x[:, used].astype(np.float64)))


def scaled(x: np.ndarray) -> Tensor:
    """Scales (M, D) rows to float32 of mean squared length 1: every rule is relative, and no square may overflow."""
    largest = float(np.abs(x.astype(np.float64)).max())
    z = x.astype(np.float64) / (largest if largest > 0 else 1.0)
    length = np.sqrt(np.square(z).sum(1).mean())
    return torch.from_numpy((z / (length if length > 0 else 1.0)).astype(np.float32))
