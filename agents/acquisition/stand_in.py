"""Logistic regression, which stands in where a policy wants a classifier and the caller gives none."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from agents.acquisition.arrays import Features
from agents.acquisition.classifier import Predictions
from agents.acquisition.labels import Labels
from metaal_env.errors import InputError

LENGTH = 2.0
"""Root mean squared length to which vectors are brought, so that their unit does not matter; it was chosen on
validation pools (entry 77 of docs/log/2026-11.md)."""

ITERATIONS = 500
"""Most iterations of a fit."""


def stand_in(
    x: Features, labels: Labels, rows: np.ndarray, weight: np.ndarray | None = None
) -> Predictions | None:
    """Returns what logistic regression, fitted to the labels, says of the (M,) `rows`; None with labels of one class.

    Args:
        x: (N, D) vectors of the pool.
        weight: (N,) weights of the items' labels; all count alike by default.

    Raises:
        InputError: weights under which it cannot be fitted.
    """
    if len(labels.seen) < 2:
        return None
    known, values, weight = labels.to_fit(weight)
    if weight is not None and not weight.sum() > 0:
        raise InputError(
            "sample_weight is 0 at every label; give the labels that should count a positive weight."
        )
    unit = float(abs(x[rows]).max()) or 1.0  # in which no square overflows
    shown = x[rows].astype(np.float64) / unit
    length = float(np.sqrt((shown * shown).sum(1).mean()))
    factor = LENGTH / length if length > 0 else 1.0
    classes, code = np.unique(values, return_inverse=True)
    fitted = fit_logistic(x[known].astype(np.float64) / unit * factor, np.eye(len(classes))[code], weight)

    def ask(some: np.ndarray) -> np.ndarray:
        return probabilities(x[some].astype(np.float64) / unit * factor, fitted)

    return Predictions(probabilities(shown * factor, fitted), classes.tolist(), ask)


def fit_logistic(x: Features, hot: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Fits logistic regression as scikit-learn does by default, whose checks of its input take longer than the fit.

    Args:
        x: (L, D) float64 vectors.
        hot: (L, K) one-hot classes, all of which occur.
        weight: (L,) weights, not all of them 0; all count alike by default.

    Returns:
        (D + 1, K) weights, the last row of which is the intercept; (D + 1, 1) of two classes, of the second over the
        first.
    """
    weight = np.ones(len(hot)) if weight is None else weight
    total, columns = weight.sum(), 1 if hot.shape[1] == 2 else hot.shape[1]
    share = weight / total

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(-1, columns)
        probs = probabilities(x, weights)
        penalised = weights[:-1] / total
        error = (probs - hot)[:, -columns:] * share[:, None]
        slope = np.concatenate([x.T @ error + penalised, error.sum(0, keepdims=True)])
        likelihood = np.log(np.maximum((probs * hot).sum(1), 1e-300)) @ share
        return float((weights[:-1] * penalised).sum() / 2 - likelihood), slope.ravel()

    options: dict[str, Any] = {
        "maxiter": ITERATIONS,
        "maxls": 50,
        "gtol": 1e-4,
        "ftol": 64 * np.finfo(float).eps,
    }
    start = np.zeros((x.shape[1] + 1) * columns)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x).reshape(-1, columns)


def probabilities(x: Features, weights: np.ndarray) -> np.ndarray:
    """Returns (M, K) probabilities of the classes by the weights of `fit_logistic`."""
    logits = x @ weights[:-1] + weights[-1]
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], 1)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))
