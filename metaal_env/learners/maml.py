"""MAML with a prototypical head: the default inner learner (Finn et al. 2017; Triantafillou et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from metaal_env.learners.base import (
    LEARNERS,
    Adapted,
    Labelled,
    class_first_support,
    linear_logits,
    outside_logits,
    products,
)
from metaal_env.learners.columns import Columns, HeadScalars
from metaal_env.learners.gradient import GradientLearner

UNIT_NORM = (7.0, 0.75, 0.2, -5.5)
"""s, κ, b and u for unit-norm inputs without a network, where nobody meta-trains them.

Fitted jointly to six spaces of validation tasks, see docs/log/2026-11.md.
"""


@LEARNERS.register("maml")
class MAML(GradientLearner):
    """Adapts an embedding network by gradient from a head of the support's shrunk prototypes.

    For a class c with n_c > 0 labels and mean embedding p_c the head starts as

        logit_c(h) = −s · ‖h − p_c‖² / (1 + κ / n_c) + b · log n_c ,

    and every class without a label has the constant logit u. The scalars s, κ, b and u are meta-learned with the
    body, so the learner is calibrated from the first label on and serves any number of classes. Gradient steps then
    adapt the prototypes, the class biases and, by `depth`, the last block or all of the body. With ``steps=0`` this
    is a calibrated prototypical network (Snell et al. 2017).

    Args:
        input_shape, options: as in `GradientLearner`.
    """

    def __init__(self, input_shape: tuple[int, ...], **options: Any):
        super().__init__(input_shape, **options)
        # Distances of untrained embeddings grow with their mean square; this starts at logits of order one.
        start = (10.0 / self.size, 0.5, 0.1, -5.0) if len(self.body.blocks) else UNIT_NORM
        scale, shrink, count_weight, unseen = start
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_shrink = nn.Parameter(torch.tensor(math.log(shrink)))
        self.count_weight = nn.Parameter(torch.tensor(count_weight))
        self.unseen_logit.data.fill_(unseen)
        self.shares_items = self.depth == "head"
        own_rule = type(self).update_rule is not GradientLearner.update_rule
        if self.depth == "head" and not (self.steps and (own_rule or self.lr)):
            self.products = "centred"

    def head_shapes(self) -> dict[str, torch.Size]:
        return {"prototypes": torch.Size([self.size]), "bias": torch.Size([])}

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.log_scale, self.log_shrink, self.count_weight, *super().calibration_parameters()]

    def start_head(self, weights: Adapted, support: Tensor, hot: Tensor) -> Adapted:
        counts = hot.sum(1)  # (B, K)
        if support.shape[1]:
            h = self._embed(weights, support)  # (B, S, D)
            prototypes = torch.einsum("bsk,bsd->bkd", hot, h) / counts.clamp(min=1).unsqueeze(-1)
        else:
            prototypes = support.new_zeros(*counts.shape, self.size)
        return {"prototypes": prototypes, "bias": self.count_weight * counts.clamp(min=1).log()}

    def head_logits(self, adapted: Adapted, h: Tensor) -> Tensor:
        p = adapted["prototypes"]  # (B, K, D), or C · B of them
        # ‖h‖² + ‖p‖² − 2h·p without a copy of h, by far the largest tensor here.
        squares = torch.linalg.vecdot(h, h).repeat_interleave(len(p) // len(h), 0)
        squares = squares.unsqueeze(2) + p.square().sum(-1).unsqueeze(1)
        if len(p) == len(h):
            distance = torch.baddbmm(squares, h, p.transpose(1, 2), alpha=-2)  # (B, n, K)
        else:
            distance = squares.sub_(products(h, p), alpha=2)
        counts = adapted["counts"].unsqueeze(1)  # (B, 1, K)
        precision = self.log_scale.exp() / (1 + self.log_shrink.exp() / counts.clamp(min=1))
        return adapted["bias"].unsqueeze(1) - precision * distance

    def predict_products(self, labelled: Labelled) -> Tensor:
        """Adapts and predicts as `adapt` and `predict`; prototypes are weighted sums of the labelled items throughout.

        With g the gradient of the loss in the logits, a prototype p moves along 2 · precision · Σ_i gᵢ (hᵢ − p).
        """
        gram, outside = labelled.gram, outside_logits(labelled.class_mask, self.unseen_logit)
        hot = class_first_support(labelled)  # (B, K, S)
        counts = hot.sum(2, keepdim=True)  # (B, K, 1)
        seen, some = counts > 0, counts.clamp(min=1)
        weights, bias = hot / some, self.count_weight * some.log()
        precision = self.log_scale.exp() / (1 + self.log_shrink.exp() / some)
        # The mean over an episode's labels, and nothing for classes without any.
        share = labelled.mask / labelled.mask.sum(1, keepdim=True).clamp(min=1)
        share = share.unsqueeze(1) * seen
        for step in range(self.steps if hot.shape[2] else 0):
            dots = weights @ gram  # (B, K, S) prototypes with labelled items
            constant = bias - precision * (dots * weights).sum(2, keepdim=True)
            own = constant + precision * torch.sub(2 * dots, labelled.own_squares.unsqueeze(1))
            gradient = (torch.softmax(torch.where(seen, own, outside), 1) - hot) * share
            total = gradient.sum(2, keepdim=True)
            move = self.log_lr["prototypes"][step].exp() * 2 * precision
            weights = weights - move * (gradient - total * weights)
            bias = bias - self.log_lr["bias"][step].exp() * total
        norms = ((weights @ gram) * weights).sum(2, keepdim=True)
        return linear_logits(
            labelled,
            seen,
            outside,
            weights=2 * precision * weights,
            constant=bias - precision * norms,
            squares=-precision,
        )

    def columns(self, adapted: Adapted, candidates: Tensor, evaluated: Tensor) -> Columns | None:
        if self.steps:  # gradient steps move every prototype
            return None
        head = HeadScalars(self.log_scale.exp(), self.log_shrink.exp(), self.count_weight)
        return Columns(head, adapted, candidates, evaluated)

    def predict_each(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        if not self.static_embedding:
            return super().predict_each(adapted, prepared)
        return self.predict(adapted, prepared)


@LEARNERS.register("prototype")
def prototype(input_shape: tuple[int, ...], **options: Any) -> MAML:
    """Builds a calibrated nearest-centroid learner on unit-norm inputs; without a network it needs no training."""
    return MAML(input_shape, **({"body": "identity", "steps": 0} | options))


@LEARNERS.register("protonet")
def protonet(input_shape: tuple[int, ...], **options: Any) -> MAML:
    """Builds a prototypical network (Snell et al. 2017), calibrated as MAML's start is."""
    return MAML(input_shape, **({"steps": 0} | options))


@LEARNERS.register("meta_sgd")
def meta_sgd(input_shape: tuple[int, ...], **options: Any) -> MAML:
    """Builds Meta-SGD (Li et al. 2017) from the prototypical start: all layers, one step, a rate per parameter."""
    return MAML(input_shape, **({"depth": "all", "rates": "parameter"} | options))
