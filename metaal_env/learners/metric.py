"""Metric learners: an item belongs to the classes with the labelled items that it is most similar to.

Label-less classes enter the comparison as one virtual item of constant similarity u, which is meta-learned.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from metaal_env.learners.base import LEARNERS, Adapted, BodyLearner, one_hot_support
from metaal_env.learners.bodies import Kind


class PairLearner(BodyLearner):
    """Sums exp(similarity) over each class's labelled items.

    With similarities a(x, x_i), a class with n_c > 0 labels has the logit

        log Σ_{i ∈ c} exp a(x, x_i) − (1 − b) · log n_c ,

    so with b = 1 the class probability is the attention that its items receive (Vinyals et al. 2016, eq. 1),
    with b = 0 it follows the mean and ignores the support's imbalance. b is meta-learned from 1.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, body: Kind | None = None, width: int = 32, unseen_logit: float
    ):
        super().__init__(input_shape, body, width, unseen_logit)
        self.count_weight = nn.Parameter(torch.tensor(1.0))

    def similarity(self, prepared: Tensor, support: Tensor) -> Tensor:
        """Maps (B, n, D), (B, S, D) to (B, n, S) log-odds that two items share their class."""
        raise AssertionError("abstract")  # pragma: no cover

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        hot = one_hot_support(labels, mask, class_mask.shape[1])  # (B, S, K)
        counts = hot.sum(1)  # (B, K)
        return {
            "support": support * mask.unsqueeze(-1),
            "hot": hot,
            "counts": counts,
            "seen": counts > 0,
            "class_mask": class_mask,
        }

    def predict(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        hot, counts = adapted["hot"], adapted["counts"].unsqueeze(1)
        if not hot.shape[1]:
            return self.finish(prepared.new_zeros(*prepared.shape[:2], hot.shape[2]), adapted)
        scores = self.similarity(prepared, adapted["support"])  # (B, n, S)
        scores = torch.where(hot.sum(-1).unsqueeze(1) > 0, scores, -math.inf)
        # One shift per item keeps exp in range; an item without any labelled one to compare with gets 0.
        shift = scores.detach().amax(-1, keepdim=True).nan_to_num(neginf=0.0)
        total = torch.exp(scores - shift) @ hot  # (B, n, K)
        logits = shift + total.clamp(min=1e-30).log()
        return self.finish(logits - (1 - self.count_weight) * counts.clamp(min=1).log(), adapted)


@LEARNERS.register("matching")
class MatchingNetwork(PairLearner):
    """Attends to the support by cosine similarity (Vinyals et al. 2016), without full-context embeddings.

    Full context makes an embedding depend on the order of the support, which acquisition decides. The paper found no
    gain from it on Omniglot. The scale of the logits is meta-learned.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, scale: float = 10.0, unseen_logit: float = 5.0, **options: Any
    ):
        super().__init__(input_shape, unseen_logit=unseen_logit, **options)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.log_scale, self.count_weight, self.unseen_logit]

    def similarity(self, prepared: Tensor, support: Tensor) -> Tensor:
        unit = torch.nn.functional.normalize
        return self.log_scale.exp() * unit(prepared, dim=-1) @ unit(support, dim=-1).transpose(1, 2)


@LEARNERS.register("siamese")
class SiameseNetwork(PairLearner):
    """Learns a pairwise similarity with log-odds β − Σ_j w_j |h_j − h'_j| (Koch et al. 2015, §3.1).

    The weights w are kept positive, so that a pair of equal items is the most similar one. Meta-training uses the
    loss of whole tasks, as for the other learners, rather than of single pairs.
    """

    def __init__(
        self, input_shape: tuple[int, ...], *, scale: float = 10.0, unseen_logit: float = -5.0, **options: Any
    ):
        super().__init__(input_shape, unseen_logit=unseen_logit, **options)
        self.log_weight = nn.Parameter(torch.full((self.size,), math.log(scale / self.size**0.5)))

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.count_weight, self.unseen_logit]

    def similarity(self, prepared: Tensor, support: Tensor) -> Tensor:
        weight = self.log_weight.exp()
        # β is common to all seen classes, so it equals minus `unseen_logit`.
        return -torch.cdist(prepared * weight, support * weight, p=1.0)
