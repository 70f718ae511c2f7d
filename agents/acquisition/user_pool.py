"""A user's arrays to a `PoolView` of bounded size: the items to score, their geometry and their probabilities."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.arrays import Labels, class_list
from agents.acquisition.classifier import fitted, probabilities
from metaal_env.learners import build_learner
from metaal_env.learners.base import InnerLearner
from metaal_env.pool.distances import Geometry
from metaal_env.pool.view import PoolView

MAX_SCORED = 4096
"""Unlabelled items that are scored; a larger pool is represented by this many, drawn uniformly."""
MAX_SUPPORT = 1024
"""Labelled items that the view holds; of more, this many are drawn. A classifier sees them all."""
HORIZON = 20
"""Labels still to buy where the caller does not say."""
HEAD = "logistic"
"""metaal's own head. Prototypes, calibrated on small tasks, misled `uherding` in pools of 1,000 texts: AULC .469 for
.562 on validation classes of CLINC150, .527 for .586 on BANKING77 (row 66 of docs/experiments.md)."""
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
    x: np.ndarray,
    labels: Labels,
    *,
    clf: Any = None,
    fit_clf: bool = True,
    sample_weight: np.ndarray | None = None,
    classes: Any = None,
    seed: int = 0,
    budget: int | None = None,
    batch_size: int = 1,
    with_learner: bool = False,
) -> Pool:
    """The pool as strategies see it.

    Args:
        x: (N, D) checked features.
        clf: a scikit-learn classifier for the probabilities, or None for metaal's own logistic regression.
        budget: labels that will be bought in all; unknown by default.
        with_learner: the strategy re-adapts a learner, so the view holds metaal's own head.

    Raises:
        InputError, InputTypeError: see `agents.acquisition.query`.
    """
    model = fitted(clf, fit_clf, x, labels, sample_weight)
    known = [classes, getattr(clf, "classes", None), getattr(model, "classes_", None)]
    if fit_clf and classes is None and known[1] is None:
        known[2] = None  # fitted to these labels: it knows no further class
    names, closed = class_list(labels.seen, *known)
    k = max(2, len(names) + (not closed))
    code = {name: i for i, name in enumerate(names)}
    rows = _representatives(labels.known, np.random.default_rng([seed, len(x)]))
    y = np.full(len(x), -1)
    y[labels.known] = [code[value] for value in labels.values.tolist()]
    z = scaled(x[rows])
    probs = None if model is None else probabilities(model, x, rows, code, k)
    view = _view(z, y[rows], k, seed, probs, with_learner)
    n_labels = int(labels.known.sum())
    left = max(batch_size, HORIZON if budget is None else budget - n_labels)
    total = view.seed.new_tensor([left + n_labels if budget is None else max(budget, left)])
    view = replace(
        view,
        budget=total,
        budget_left=view.seed.new_tensor([left]),
        geometry=_remembered(view.geometry),
    )
    return Pool(view, rows, names)


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


def head_for(z: Tensor) -> InnerLearner:
    """metaal's own head for vectors, no training needed."""
    return _head(z.shape[1])


@lru_cache(maxsize=8)
def _head(dimensions: int) -> InnerLearner:
    return build_learner(HEAD, (dimensions,)).eval()


def _view(
    z: Tensor, y: np.ndarray, k: int, seed: int, probs: np.ndarray | None, with_learner: bool
) -> PoolView:
    """(M, D) vectors as they are, or embedded by the head for strategies that re-adapt it."""
    if probs is not None and not with_learner:
        return PoolView.from_arrays(z, probs, y, seed=seed)
    own = _own_view(z, y, k, seed)
    if not with_learner:  # only the head's probabilities; distances are those of the vectors as they are
        geometry = Geometry(z.unsqueeze(0), own.valid)
        return replace(
            own, embeddings=geometry.embeddings, geometry=geometry, learner=None, prepared=None, adapted=None
        )
    if probs is None:
        return own
    return replace(own, logits=torch.from_numpy(np.log(np.maximum(probs, 1e-30))).float().unsqueeze(0))


def _own_view(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """The view under metaal's own head, with room for classes without a label."""
    z = centred(z)
    uniform = torch.full((len(z), k), 1 / k)
    view = PoolView.from_arrays(z, uniform, y, seed=seed, learner=head_for(z))
    assert view.learner is not None and view.adapted is not None and view.prepared is not None
    with torch.no_grad():
        return replace(view, logits=view.learner.predict(view.adapted, view.prepared))


def centred(z: Tensor) -> Tensor:
    """(M, D) as it is, or less its mean where that would hide all differences of direction."""
    mean = z.mean(0)
    apart = z - mean
    return apart if float(mean.square().sum()) > CENTRE_ABOVE * float(apart.square().sum(1).mean()) else z


def scaled(x: np.ndarray) -> Tensor:
    """(M, D) float32 with mean squared length 1: every rule is relative, and no square may overflow."""
    largest = float(np.abs(x.astype(np.float64)).max())
    z = x.astype(np.float64) / (largest if largest > 0 else 1.0)
    length = np.sqrt(np.square(z).sum(1).mean())
    return torch.from_numpy((z / (length if length > 0 else 1.0)).astype(np.float32))


def _representatives(known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(M,) ascending positions: labelled items and unlabelled ones, each up to their bound."""
    parts = []
    for positions, most in ((np.flatnonzero(known), MAX_SUPPORT), (np.flatnonzero(~known), MAX_SCORED)):
        if len(positions) > most:
            positions = rng.choice(positions, most, replace=False)
        parts.append(positions)
    return np.sort(np.concatenate(parts))
