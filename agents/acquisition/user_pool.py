"""A user's arrays to a `PoolView` of bounded size: the items to score, their geometry and their probabilities."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.arrays import Features
from agents.acquisition.classifier import known_classes, predictions
from agents.acquisition.labels import Labels, class_list
from agents.acquisition.options import QueryOptions
from agents.acquisition.pool_items import PoolItems
from agents.strategies.base import Strategy
from metaal_env.learners import build_learner
from metaal_env.learners.base import InnerLearner
from metaal_env.pool.distances import Geometry
from metaal_env.pool.view import PoolView

MAX_SCORED = 4096
"""Unlabelled items that are scored; a larger pool is represented by this many, drawn uniformly."""
MAX_CELLS = 2**20
"""Items times classes that are scored by strategies whose cost grows with both; at least `MIN_SCORED` items are."""
MIN_SCORED = 256
MAX_SUPPORT = 1024
"""Labelled items that the view holds; of more, this many are drawn. A classifier sees them all."""
MAX_COLUMNS = 2048
"""Columns in use of sparse vectors up to which distances are exact."""
SVD_DIMENSIONS = 64
"""Dimensions to which an SVD brings sparse vectors of more columns."""
HORIZON = 20
"""Labels still to buy where the caller does not say."""
HEAD = "logistic"
"""metaal's own head. Prototypes, calibrated on small tasks, misled `uherding` in pools of 1,000 texts: AULC .469 for
.562 on validation classes of CLINC150, .527 for .586 on BANKING77 (row 66 of docs/experiments.md)."""
ITERATIONS = 50
"""Steps in which the head is fitted; fewer where labels² × classes exceed `MAX_FIT`, but at least `MIN_ITERATIONS`."""
MIN_ITERATIONS = 10
MAX_FIT = 2**27
MANY_CLASSES = 128
"""Beyond this many classes the head is fitted to those that have a label; the others share one column."""
CENTRE_ABOVE = 10.0
"""The head looks at directions; a mean this many times larger than the variance would hide them all."""


@dataclass(frozen=True)
class Pool:
    """What is scored.

    Attributes:
        rows: (M,) ascending positions in the caller's X of the items in the view.
        classes: the caller's name of each of the K classes; the last of the K may be «not seen yet».
    """

    view: PoolView
    rows: np.ndarray
    classes: list[Any]


def build_pool(
    items: PoolItems,
    labels: Labels,
    options: QueryOptions,
    strategy: Strategy,
    *,
    batch_size: int = 1,
    seed: int = 0,
) -> Pool:
    """Builds the pool as strategies see it.

    Args:
        items: N checked items.
        strategy: asked whether it re-adapts a learner, so that the view must hold metaal's own head.

    Raises:
        InputError, InputTypeError: see `agents.acquisition.query`.
    """
    known = [options.classes, *known_classes(options.clf, options.fit_clf)]
    names, closed = class_list(labels.seen, *known)
    n = len(items)
    heavy = strategy.per_class or strategy.needs_learner
    most = max(MIN_SCORED, MAX_CELLS // max(1, len(names))) if heavy else MAX_SCORED
    rows = _representatives(labels.known, np.random.default_rng([seed, n]), min(most, MAX_SCORED))
    predicted = predictions(items, labels, rows, options, names, closed)
    if predicted is not None and not set(predicted[1]) <= set(names):  # a part of it was fitted before
        names, closed = class_list(labels.seen, *known, predicted[1])
    k = max(2, len(names) + (not closed))
    code = {name: i for i, name in enumerate(names)}
    y = np.full(n, -1)
    y[labels.known] = [code[value] for value in labels.values.tolist()]
    probs = None if predicted is None else _in_order(*predicted, code, k)
    z = scaled(dense(items.vectors[rows]))
    view = _view(z, y[rows], k, seed, probs, strategy.needs_learner)
    n_labels = int(labels.known.sum())
    budget = None if options.budget is None else int(options.budget)
    left = max(batch_size, HORIZON if budget is None else budget - n_labels)
    total = view.seed.new_tensor([left + n_labels if budget is None else max(budget, left)])
    view = replace(
        view,
        budget=total,
        budget_left=view.seed.new_tensor([left]),
        geometry=_remembered(view.geometry),
    )
    return Pool(view, rows, names)


def _in_order(raw: np.ndarray, columns: list[Any], code: dict[Any, int], k: int) -> np.ndarray:
    """(M, C) probabilities of named columns → (M, K), 0 for classes that are not among them."""
    probs = np.zeros((len(raw), k))
    probs[:, [code[name] for name in columns]] = raw
    return probs


_last = threading.local()  # a geometry holds scratch memory, so threads must not share one


def _remembered(geometry: Geometry) -> Geometry:
    """The geometry of this thread's last query if that was about the same vectors, else this one, remembered.

    Between two queries of a loop only labels change: distances, kernels and clusters are most of a query's time.
    Exact pools only, so that what is held stays below 50 MB.
    """
    if not geometry.exact or torch.is_inference_mode_enabled():  # what is made in that mode stays in it
        return geometry
    last: Geometry | None = getattr(_last, "geometry", None)
    if last is None or not torch.equal(last.embeddings, geometry.embeddings):
        _last.geometry = last = geometry
    return last


def head_for(z: Tensor, iterations: int = ITERATIONS) -> InnerLearner:
    """metaal's own head for vectors, no training needed."""
    return _head(z.shape[1], iterations)


@lru_cache(maxsize=8)
def _head(dimensions: int, iterations: int) -> InnerLearner:
    return build_learner(HEAD, (dimensions,), iterations=iterations).eval()


def _view(
    z: Tensor, y: np.ndarray, k: int, seed: int, probs: np.ndarray | None, with_learner: bool
) -> PoolView:
    """(M, D) vectors as they are, or embedded by the head for strategies that re-adapt it."""
    if probs is not None and not with_learner:
        return PoolView.from_arrays(z, probs, y, seed=seed)
    if not with_learner:  # only the head's probabilities; distances are those of the vectors as they are
        own = _few_classes(z, y, k, seed)
        geometry = Geometry(z.unsqueeze(0), own.valid)
        return replace(
            own, embeddings=geometry.embeddings, geometry=geometry, learner=None, features=None, adapted=None
        )
    own = _own_view(z, y, k, seed)
    if probs is None:
        return own
    return replace(own, logits=torch.from_numpy(np.log(np.maximum(probs, 1e-30))).float().unsqueeze(0))


def _few_classes(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """The view under metaal's own head, fitted without the classes that have no label where there are many.

    The head gives all of these the same logit, so one column serves them all.
    """
    seen = np.unique(y[y >= 0])
    if k <= max(MANY_CLASSES, len(seen) + 1):
        return _own_view(z, y, k, seed)
    own = _own_view(z, np.where(y >= 0, np.searchsorted(seen, y), -1), len(seen) + 1, seed)
    column = torch.full((k,), len(seen))
    column[torch.from_numpy(seen)] = torch.arange(len(seen))
    return replace(
        own,
        logits=own.logits[..., column],
        labels=torch.from_numpy(y).unsqueeze(0),
        class_mask=torch.ones(1, k, dtype=torch.bool),
    )


def _own_view(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """The view under metaal's own head, with room for classes without a label."""
    z = centred(z)
    uniform = torch.full((len(z), k), 1 / k)
    work = max(1, int((y >= 0).sum()) ** 2 * k)
    iterations = max(MIN_ITERATIONS, min(ITERATIONS, ITERATIONS * MAX_FIT // work))
    view = PoolView.from_arrays(z, uniform, y, seed=seed, learner=head_for(z, iterations))
    assert view.learner is not None and view.adapted is not None and view.features is not None
    with torch.no_grad():
        return replace(view, logits=view.learner.predict(view.adapted, view.features))


def centred(z: Tensor) -> Tensor:
    """(M, D) as it is, or less its mean where that would hide all differences of direction."""
    mean = z.mean(0)
    apart = z - mean
    return apart if float(mean.square().sum()) > CENTRE_ABOVE * float(apart.square().sum(1).mean()) else z


def dense(x: Features) -> np.ndarray:
    """(M, D) rows as an array. Of sparse ones only columns in use are kept; more than `MAX_COLUMNS` of them are brought
    to (M, ≤ `SVD_DIMENSIONS`) by an SVD, as in latent semantic analysis (Deerwester et al. 1990).
    """
    if isinstance(x, np.ndarray):
        return x
    used = np.unique(x.indices)
    if len(used) <= MAX_COLUMNS:
        return x[:, used].toarray() if len(used) else np.zeros((x.shape[0], 1))
    from sklearn.decomposition import TruncatedSVD

    size = min(SVD_DIMENSIONS, x.shape[0] - 1)
    if size < 2:
        return x[:, used].toarray()
    # arpack works on the shorter side; the randomised solver would hold a dense matrix of all columns.
    svd = TruncatedSVD(size, algorithm="arpack", random_state=0)
    return np.asarray(svd.fit_transform(x[:, used].astype(np.float64)))


def scaled(x: np.ndarray) -> Tensor:
    """(M, D) float32 with mean squared length 1: every rule is relative, and no square may overflow."""
    largest = float(np.abs(x.astype(np.float64)).max())
    z = x.astype(np.float64) / (largest if largest > 0 else 1.0)
    length = np.sqrt(np.square(z).sum(1).mean())
    return torch.from_numpy((z / (length if length > 0 else 1.0)).astype(np.float32))


def _representatives(known: np.ndarray, rng: np.random.Generator, most_scored: int) -> np.ndarray:
    """(M,) ascending positions: labelled items and unlabelled ones, each up to their bound."""
    parts = []
    for positions, most in ((np.flatnonzero(known), MAX_SUPPORT), (np.flatnonzero(~known), most_scored)):
        if len(positions) > most:
            positions = rng.choice(positions, most, replace=False)
        parts.append(positions)
    return np.sort(np.concatenate(parts))
