"""The closed form of look-ahead for prototypical heads: a label for class y changes one logit column.

The label moves only the prototype of its class. By the identity

    ‖h − (n p + h_i)/(n + 1)‖² = (1 − λ)‖h − p‖² + λ‖h − h_i‖² − λ(1 − λ)‖p − h_i‖²,   λ = 1/(n + 1),

the new logit follows from known distances in O(1) per candidate, label and evaluated item.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import squared_distances
from metaal_env.learners.base import EXCLUDED_LOGIT, Adapted


class HeadScalars(NamedTuple):
    """Holds the meta-learned scalars of a prototypical head."""

    scale: Tensor  # s
    shrink: Tensor  # κ
    count_weight: Tensor  # b


class Columns:
    """Computes the new logits of class y on evaluated items if a candidate had label y.

    Args:
        head: scalars of the head.
        adapted: the learner before the label; prototypes (B, K, D), counts (B, K) and class mask (B, K).
        candidates: (B, N, D) embeddings of the items that may be labelled.
        evaluated: (B, E, D) embeddings of the items to predict.
    """

    def __init__(self, head: HeadScalars, adapted: Adapted, candidates: Tensor, evaluated: Tensor):
        prototypes, self.counts = adapted["prototypes"], adapted["counts"]
        self.class_mask, self.candidates, self.evaluated = adapted["class_mask"], candidates, evaluated
        self.to_prototype = squared_distances(evaluated, prototypes)  # (B, E, K)
        self.candidate_to_prototype = squared_distances(candidates, prototypes)  # (B, N, K)
        after = self.counts + 1
        self.share = 1 / after  # λ
        self.precision = head.scale / (1 + head.shrink / after)  # (B, K)
        self.bias = head.count_weight * after.log()
        self.bias_change = self.bias - head.count_weight * self.counts.clamp(min=1).log()

    def own(self) -> Tensor:
        """Returns (B, N, K) logits of class y on the candidate itself once it has that label."""
        moved = (1 - self.share).square().unsqueeze(1) * self.candidate_to_prototype
        logits = self.bias.unsqueeze(1) - self.precision.unsqueeze(1) * moved
        return logits.masked_fill(~self.class_mask.unsqueeze(1), EXCLUDED_LOGIT)

    def logits(self, part: slice, label: Tensor | None = None) -> Tensor:
        """Returns (B, c, K, E) logits for all labels of the candidates in `part`, or (B, c, E) for (B, c) `label`."""
        to_candidate = squared_distances(self.candidates[:, part], self.evaluated)  # (B, c, E)
        own = self.candidate_to_prototype[:, part]  # (B, c, K)
        near = self.to_prototype.transpose(1, 2)  # (B, K, E)
        if label is None:
            share, precision, bias = (x[:, None, :, None] for x in (self.share, self.precision, self.bias))
            far = to_candidate.unsqueeze(2)
            moved = (1 - share) * near.unsqueeze(1) + share * far - share * (1 - share) * own.unsqueeze(-1)
            return (bias - precision * moved.clamp(min=0)).masked_fill(
                ~self.class_mask[:, None, :, None], EXCLUDED_LOGIT
            )
        y = label.clamp(min=0)
        share, precision, bias = (
            torch.take_along_dim(x, y, 1).unsqueeze(-1) for x in (self.share, self.precision, self.bias)
        )
        own = torch.take_along_dim(own, y.unsqueeze(-1), 2)  # (B, c, 1)
        near = torch.take_along_dim(near, y.unsqueeze(-1), 1)  # (B, c, E)
        moved = (1 - share) * near + share * to_candidate - share * (1 - share) * own
        return bias - precision * moved.clamp(min=0)
