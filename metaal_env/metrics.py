"""Quality of predictions for rewards and evaluation: accuracy, likelihood, log-loss and calibration."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaal_env.compiled import loops_for

CALIBRATION_BINS = 10


class Metrics(NamedTuple):
    """Holds the quality of B adapted learners, each on its own labelled set."""

    accuracy: Tensor  # (B,) in [0, 1]
    likelihood: Tensor  # (B,) mean probability of the true class
    log_loss: Tensor  # (B,) nats


def score_logits(logits: Tensor, labels: Tensor) -> Metrics:
    """Computes mean accuracy, likelihood and log-loss of (B, n, K) logits for (B, n) labels (−1 = padding)."""
    # Classes second: operations over a few classes are vectorised over items.
    return score_class_first(logits.transpose(1, 2).contiguous(), labels)


def score(logits: Tensor, labels: Tensor, begin: int = 0) -> Metrics:
    """Computes the (B·C,) metrics of predictions; see `score_class_first`.

    Args:
        logits: (B·C, K, `begin` + R), of which the last R items count.
        labels: (B, R), −1 at padding; C consecutive logits share them.
    """
    if fast := loops_for(logits):
        return Metrics(*fast.score(logits, labels, begin))
    each = len(logits) // max(len(labels), 1)
    return score_class_first(logits[:, :, begin:], labels if each == 1 else labels.repeat_interleave(each, 0))


def score_class_first(logits: Tensor, labels: Tensor) -> Metrics:
    """Computes the same of (B, K, n) logits."""
    mask = labels >= 0
    count = mask.sum(1).clamp(min=1)
    index = labels.clamp(min=0).unsqueeze(1)
    apart = logits - logits.amax(1, keepdim=True)
    # The first of the largest, as argmax, which is slow over a dimension that is not the last.
    rank = torch.arange(logits.shape[1], 0, -1, device=logits.device, dtype=logits.dtype).view(-1, 1)
    first = logits.shape[1] - torch.add(rank, apart, alpha=1e30).amax(1)
    hit = (first == labels) & mask
    losses = -torch.log_softmax(apart, 1).gather(1, index).squeeze(1)
    return Metrics(
        accuracy=hit.sum(1) / count,
        likelihood=(torch.exp(-losses) * mask).sum(1) / count,
        log_loss=(losses * mask).sum(1) / count,
    )


def calibration_error(
    confidence: Tensor, hit: Tensor, mask: Tensor | None = None, bins: int = CALIBRATION_BINS
) -> Tensor:
    """Computes the expected calibration error (Guo et al. 2017, eq. 5) of B sets of predictions.

    Args:
        confidence: (B, n) probabilities of the predicted classes.
        hit: (B, n) whether the prediction is right, as bool or number.
        mask: (B, n) items that count; all of them by default.
        bins: number of equal intervals of confidence.

    Returns:
        (B,) errors in [0, 1]; biased upwards by about ``sqrt(bins / n)``.
    """
    weight = torch.ones_like(confidence) if mask is None else mask.to(confidence.dtype)
    index = (confidence * bins).long().clamp(max=bins - 1)
    inside = one_hot(index, bins).to(confidence.dtype) * weight.unsqueeze(-1)  # (B, n, bins)
    gap = (inside * (confidence - hit.to(confidence.dtype)).unsqueeze(-1)).sum(1).abs()  # (B, bins)
    return gap.sum(1) / weight.sum(1).clamp(min=1)


def share_of_classes(labels: Tensor, class_mask: Tensor) -> Tensor:
    """Returns the (B,) share of the classes in (B, K) `class_mask` that occur in (B, N) `labels`; −1 is no label."""
    found = torch.zeros(len(labels), class_mask.shape[1] + 1, dtype=torch.bool, device=labels.device)
    return found.scatter_(1, labels + 1, True)[:, 1:].sum(1) / class_mask.sum(1)
