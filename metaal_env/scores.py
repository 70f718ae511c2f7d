"""Scores predictions for the reward set, in a compiled loop where that serves."""

from __future__ import annotations

from torch import Tensor

from metaal_env.metrics import Metrics, score_class_first
from metaal_env.pool import compiled


def score(logits: Tensor, labels: Tensor, begin: int = 0) -> Metrics:
    """Computes the (B·C,) metrics of predictions; see `metaal_env.metrics.score_class_first`.

    Args:
        logits: (B·C, K, `begin` + R), of which the last R items count.
        labels: (B, R), −1 at padding; C consecutive logits share them.
    """
    if fast := compiled.loops_for(logits):
        return Metrics(*fast.score(logits, labels, begin))
    each = len(logits) // max(len(labels), 1)
    return score_class_first(logits[:, :, begin:], labels if each == 1 else labels.repeat_interleave(each, 0))
