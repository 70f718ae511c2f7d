"""A user's arrays to a `PoolView` of bounded size: the items to score, their geometry and their probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.arrays import InputTypeError, Labels, class_list
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.learners.base import InnerLearner
from metaal_env.view import PoolView

MAX_SCORED = 4096
"""Unlabelled items that are scored; a larger pool is represented by this many, drawn uniformly."""
MAX_SUPPORT = 1024
"""Labelled items that the view holds; of more, this many are drawn. A classifier sees them all."""
HORIZON = 20
"""Labels still to buy where the caller does not say."""
HEAD = "prototype"
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
        clf: a scikit-learn classifier for the probabilities, or None for metaal's own calibrated prototypes.
        budget: labels that will be bought in all; unknown by default.
        with_learner: the strategy re-adapts a learner, so the view holds metaal's own head.

    Raises:
        InputError, InputTypeError: see `agents.acquisition.query`.
    """
    fitted = _fit(clf, fit_clf, x, labels, sample_weight)
    known = [classes, getattr(clf, "classes", None), getattr(fitted, "classes_", None)]
    if fit_clf and classes is None and known[1] is None:
        known[2] = None  # fitted to these labels: it knows no further class
    names, closed = class_list(labels.seen, *known)
    k = max(2, len(names) + (not closed))
    code = {name: i for i, name in enumerate(names)}
    rows = _representatives(labels.known, np.random.default_rng([seed, len(x)]))
    y = np.full(len(x), -1)
    y[labels.known] = [code[value] for value in labels.values.tolist()]
    z = scaled(x[rows])
    probs = None if fitted is None else _probabilities(fitted, x[rows], code, k)
    view = _view(z, y[rows], k, seed, probs, with_learner)
    n_labels = int(labels.known.sum())
    left = max(batch_size, HORIZON if budget is None else budget - n_labels)
    total = view.seed.new_tensor([left + n_labels if budget is None else max(budget, left)])
    return Pool(replace(view, budget=total, budget_left=view.seed.new_tensor([left])), rows, names)


def head_for(z: Tensor) -> InnerLearner:
    """metaal's own head for vectors: calibrated prototypes, no training needed."""
    return build_learner(HEAD, (z.shape[1],)).eval()


def _view(
    z: Tensor, y: np.ndarray, k: int, seed: int, probs: np.ndarray | None, with_learner: bool
) -> PoolView:
    """(M, D) vectors as they are, or embedded by the head for strategies that re-adapt it."""
    if probs is not None and not with_learner:
        return PoolView.from_arrays(z, probs, y, seed=seed)
    own = _own_view(z, y, k, seed)
    if not with_learner:
        return PoolView.from_arrays(z, own.probs[0], y, seed=seed)
    if probs is None:
        return own
    return replace(own, logits=torch.from_numpy(np.log(np.maximum(probs, 1e-30))).float().unsqueeze(0))


def _own_view(z: Tensor, y: np.ndarray, k: int, seed: int) -> PoolView:
    """The view under metaal's own head, with room for classes without a label."""
    z = centred(z)
    uniform = torch.full((len(z), k), 1 / k)
    view = PoolView.from_arrays(z, uniform, y, seed=seed, learner=head_for(z))
    assert view.learner is not None and view.adapted is not None and view.features is not None
    with torch.no_grad():
        return replace(view, logits=view.learner.predict(view.adapted, view.features))


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


def _fit(clf: Any, fit_clf: bool, x: np.ndarray, labels: Labels, weight: np.ndarray | None) -> Any:
    """A fitted copy of the caller's classifier; None where metaal's own head has to serve."""
    if clf is None:
        return None
    if isinstance(clf, type) or not (hasattr(clf, "fit") and hasattr(clf, "predict_proba")):
        raise InputTypeError(f"clf={clf!r} must be a classifier object with fit and predict_proba.")
    if not fit_clf:
        return clf
    # scikit-activeml's classifiers fit one class; scikit-learn's refuse it.
    least = 1 if hasattr(clf, "missing_label") else 2
    if len(labels.seen) < least:
        return None
    from sklearn.base import clone

    options = {} if weight is None else {"sample_weight": weight[labels.known]}
    return clone(clf).fit(x[labels.known], labels.values, **options)


def _probabilities(fitted: Any, x: np.ndarray, code: dict[Any, int], k: int) -> np.ndarray:
    """(M, K) probabilities of the caller's classifier, its columns put where our classes are."""
    raw = np.asarray(fitted.predict_proba(x), dtype=np.float64)
    columns = [code[value] for value in np.asarray(fitted.classes_).tolist()]
    if raw.shape != (len(x), len(columns)) or not np.isfinite(raw).all() or raw.min() < 0:
        raise InputError(
            f"clf.predict_proba gave shape {raw.shape} or unusable values for {len(x)} items and "
            f"{len(columns)} classes; give one finite probability per item and class."
        )
    probs = np.zeros((len(x), k))
    probs[:, columns] = raw
    return probs
