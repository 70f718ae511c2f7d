"""How good predictions are: accuracy, likelihood, log-loss and calibration, for rewards and evaluation alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Metrics(NamedTuple):
    """How good the adapted learner is on a balanced labelled set."""

    accuracy: Tensor  # (B,) in [0, 1]
    likelihood: Tensor  # (B,) mean probability of the true class
    log_loss: Tensor  # (B,) nats


def score_logits(logits: Tensor, labels: Tensor) -> Metrics:
    """(B, n, K) logits and (B, n) labels (−1 = padding) → mean accuracy, likelihood and log-loss, (B,) each."""
    # Classes second: what is computed over a handful of classes is vectorised over items.
    return score_class_first(logits.transpose(1, 2).contiguous(), labels)


def score_class_first(logits: Tensor, labels: Tensor) -> Metrics:
    """The same of (B, K, n) logits."""
    mask = labels >= 0
    count = mask.sum(1).clamp(min=1)
    true = torch.take_along_dim(logits, labels.clamp(min=0).unsqueeze(1), 1).squeeze(1)
    top = logits.amax(1, keepdim=True)
    # The first of the largest, as argmax, which is slow over a dimension that is not the last.
    rank = torch.arange(logits.shape[1], 0, -1, device=logits.device, dtype=logits.dtype).view(-1, 1)
    first = logits.shape[1] - ((logits == top) * rank).amax(1)
    hit = (first == labels) & mask
    losses = (logits - top).exp_().sum(1).log_() + top.squeeze(1) - true
    return Metrics(
        accuracy=hit.sum(1) / count,
        likelihood=(torch.exp(-losses) * mask).sum(1) / count,
        log_loss=(losses * mask).sum(1) / count,
    )


def calibration_error(confidence: Tensor, hit: Tensor, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 5) of (n,) confidences and (n,) bool outcomes."""
    index = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, device=index.device).index_add_(0, index, hit.float() - confidence)
    return float(gap.abs().sum() / len(confidence))
