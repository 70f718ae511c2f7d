"""Measures: scores of predictions on a labelled set, and numbers derived from curves of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from agents.evaluation.episodes import Episodes
from metaal_env.metrics import calibration_error, score_logits
from metaal_env.registry import Registry


def quality(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Scores predictions on a labelled set.

    Args:
        logits: (B, n, K).
        labels: (B, n) int64; −1 at padding.

    Returns:
        (B,) each: accuracy, balanced accuracy (mean recall of the classes present), log-loss in nats and
        expected calibration error. With n items per task the latter is biased upwards by about
        ``sqrt(bins / n)``: compare it between strategies, not with 0.
    """
    metrics = score_logits(logits, labels)
    mask = (labels >= 0).to(logits.dtype)  # (B, n)
    probs = torch.softmax(logits, -1)
    confidence, predicted = probs.max(-1)  # (B, n)
    hit = (predicted == labels).to(logits.dtype) * mask

    member = one_hot(labels.clamp(min=0), logits.shape[-1]).to(logits.dtype) * mask.unsqueeze(-1)  # (B, n, K)
    per_class = member.sum(1)  # (B, K)
    recall = (member * hit.unsqueeze(-1)).sum(1) / per_class.clamp(min=1)
    present = (per_class > 0).to(logits.dtype)

    return {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": (recall * present).sum(1) / present.sum(1).clamp(min=1),
        "log_loss": metrics.log_loss,
        "ece": calibration_error(confidence, hit, mask),
    }


def area(curve: np.ndarray) -> np.ndarray:
    """Computes the mean over label counts 1…T of an (E, T+1) curve, missing values left out; returns (E,).

    For accuracy this is the normalised area under the learning curve (AULC). NaN where an episode has no
    value at all.
    """
    after = curve[:, 1:]
    there = ~np.isnan(after)
    count = there.sum(1)
    return np.where(count > 0, np.where(there, after, 0).sum(1) / np.maximum(count, 1), np.nan)


def final(curve: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """Returns the (E,) values of an (E, T+1) curve when each episode's own budget is spent."""
    return curve[np.arange(len(curve)), budget]


def labels_to_target(accuracy: np.ndarray, target: float | np.ndarray) -> np.ndarray:
    """Returns the first label count whose accuracy is at least `target`: (E, T+1) → (E,).

    inf where the target is not reached within the budget: such episodes are censored, not missing, and order
    statistics treat them rightly. NaN where the curve is missing.
    """
    reached = accuracy >= np.asarray(target).reshape(-1, 1)
    first = np.where(reached.any(1), reached.argmax(1).astype(float), np.inf)
    return np.where(np.isnan(accuracy).all(1), np.nan, first)


Measure = Callable[[Episodes], np.ndarray]
MEASURES: Registry[Measure] = Registry("measure")
"""Name → one number per episode, (E,). Every measure here is oriented so that higher is better."""


@MEASURES.register("aulc")
def aulc(episodes: Episodes) -> np.ndarray:
    """Computes the area under the accuracy curve, normalised to [0, 1]."""
    return area(episodes.curves["accuracy"])


@MEASURES.register("balanced_aulc")
def balanced_aulc(episodes: Episodes) -> np.ndarray:
    """Computes the area under the balanced-accuracy curve."""
    return area(episodes.curves["balanced_accuracy"])


@MEASURES.register("final_accuracy")
def final_accuracy(episodes: Episodes) -> np.ndarray:
    """Returns the accuracy when the budget is spent."""
    return final(episodes.curves["accuracy"], episodes.budget)


@MEASURES.register("neg_log_loss")
def neg_log_loss(episodes: Episodes) -> np.ndarray:
    """Computes minus the mean log-loss over the curve, in nats."""
    return -area(episodes.curves["log_loss"])


@MEASURES.register("neg_ece")
def neg_ece(episodes: Episodes) -> np.ndarray:
    """Computes minus the mean expected calibration error over the curve."""
    return -area(episodes.curves["ece"])


@MEASURES.register("coverage")
def coverage(episodes: Episodes) -> np.ndarray:
    """Computes the mean share of the task's classes that have a label."""
    return area(episodes.curves["coverage"])
