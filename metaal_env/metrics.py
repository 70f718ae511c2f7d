"""How good predictions are: accuracy, likelihood, log-loss and calibration, for rewards and evaluation alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class Metrics(NamedTuple):
    """How good the adapted learner is on a balanced labelled set."""

    accuracy: Tensor  # (B,) in [0, 1]
    likelihood: Tensor  # (B,) mean probability of the true class
    log_loss: Tensor  # (B,) nats


def score_logits(logits: Tensor, labels: Tensor) -> Metrics:
    """(B, n, K) logits and (B, n) labels (−1 = padding) → mean accuracy, likelihood and log-loss, (B,) each."""
    mask = labels >= 0
    count = mask.sum(1).clamp(min=1)
    hit = (logits.argmax(-1) == labels) & mask
    # Classes second: the softmax over a handful of classes is vectorised over items.
    losses = cross_entropy(logits.transpose(1, 2).contiguous(), labels.clamp(min=0), reduction="none")
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
