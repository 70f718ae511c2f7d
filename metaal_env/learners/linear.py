"""Linear heads solved in the dual: cost grows with the labels, not with the dimension.

On given embeddings they need no meta-training. Over Conv4 they are R2D2 and MetaOptNet, which meta-train the body
through the solution.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from metaal_env.learners.base import (
    EXCLUDED_LOGIT,
    LEARNERS,
    Adapted,
    BodyLearner,
    Labelled,
    linear_logits,
    one_hot_support,
    outside_logits,
    products,
)
from metaal_env.learners.bodies import Kind


class LinearHead(BodyLearner):
    """Adapts a linear head; subclasses solve for its dual weights.

    The weights are W = Xᵀ A for the support X, so all is computed from the (B, S, S) Gram matrix X Xᵀ. Without an
    intercept, a seen class scores near 0 far from its labels, and a label-less class has the constant logit u
    against that. The default was chosen on validation tasks, see docs/log/2026-11.md.

    Args:
        input_shape: (C, H, W) or (D,).
        body: see `BodyLearner`.
        width: see `BodyLearner`.
        regularisation: weight of ½‖W‖² against the summed loss.
        scale: factor from solved scores to logits.
        unseen_logit: logit of a class without a label, against scores that are 0 at no evidence.
        intercept: whether to add a constant feature 1 to every item, penalised like the others.
    """

    products = "inner"

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        body: Kind = "identity",
        width: int = 32,
        regularisation: float,
        scale: float,
        unseen_logit: float,
        intercept: bool = False,
    ):
        super().__init__(input_shape, body, width, unseen_logit)
        self.intercept = intercept
        self.log_regularisation = nn.Parameter(torch.tensor(math.log(regularisation)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.log_regularisation, self.log_scale, self.unseen_logit]

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        """Returns the dual weights A of each class.

        Args:
            gram: (B, S, S); rows and columns of padding are 0.
            targets: (B, S, K) one-hot; 0 at padding.
            seen: (B, K) bool.

        Returns:
            (B, S, K).
        """
        raise AssertionError("abstract")  # pragma: no cover

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        support = support * mask.unsqueeze(-1)
        dual, seen = self._dual(support @ support.transpose(1, 2), labels, mask, class_mask.shape[1])
        return {
            "weight": dual.transpose(1, 2) @ support,  # (B, K, D)
            "bias": dual.sum(1) * float(self.intercept),  # (B, K)
            "seen": seen,
            "class_mask": class_mask,
        }

    def _dual(self, gram: Tensor, labels: Tensor, mask: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
        """Maps (B, S, S) products of the support to (B, S, K) dual weights, and the (B, K) mask of classes seen."""
        hot = one_hot_support(labels, mask, n_classes)  # (B, S, K)
        seen = hot.sum(1) > 0
        gram = (gram + float(self.intercept)) * (mask.unsqueeze(1) & mask.unsqueeze(2))
        return self.solve(gram, hot, seen) * mask.unsqueeze(-1) if hot.shape[1] else hot, seen

    def predict_products(self, labelled: Labelled) -> Tensor:
        n_classes = labelled.class_mask.shape[1]
        dual, seen = self._dual(labelled.gram, labelled.labels, labelled.mask, n_classes)
        weights = self.log_scale.exp() * dual.transpose(1, 2)  # (B, K, S)
        return linear_logits(
            labelled,
            seen.unsqueeze(2),
            outside_logits(labelled.class_mask, self.unseen_logit),
            weights=weights,
            constant=weights.sum(2, keepdim=True) * float(self.intercept),
            squares=weights.new_zeros(*seen.shape, 1),
        )

    def predict(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        scores = products(prepared, adapted["weight"]) + adapted["bias"].unsqueeze(1)
        return self.finish(self.log_scale.exp() * scores, adapted)

    def predict_each(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        return self.predict(adapted, prepared)


@LEARNERS.register("ridge")
class Ridge(LinearHead):
    """Solves least squares on one-hot targets, A = (G + λI)⁻¹ Y (R2D2, Bertinetto et al. 2019, eq. 6)."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float = 0.04,
        scale: float = 4.7,
        unseen_logit: float = 1.3,
        **options: Any,
    ):
        super().__init__(
            input_shape, regularisation=regularisation, scale=scale, unseen_logit=unseen_logit, **options
        )

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        identity = torch.eye(gram.shape[1], device=gram.device)
        # Positive definite, so not checked: on a GPU the host would wait for the answer.
        return torch.linalg.solve_ex(gram + self.log_regularisation.exp() * identity, targets)[0]


@LEARNERS.register("logistic")
class Logistic(LinearHead):
    """Fits multinomial logistic regression over the seen classes by Newton steps with a fixed Hessian.

    Minimises Σ cross-entropy + λ/2 ‖W‖². The Hessian of the softmax is at most ½ (I − 11ᵀ/K) (Böhning 1992), so
    A ← A − (½G + λI)⁻¹ (P − Y + λA) decreases the loss at every step. One factorisation serves all steps, and no
    step size is needed; Nesterov's momentum speeds it up. The meta-gradient passes through all steps. A single
    seen class scores 0 everywhere: with one class, logistic regression has no notion of novelty.

    Args:
        iterations: steps; the default is near convergence, see docs/log/2026-11.md.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float = 0.01,
        scale: float = 1.0,
        unseen_logit: float = 0.5,
        iterations: int = 50,
        **options: Any,
    ):
        super().__init__(
            input_shape, regularisation=regularisation, scale=scale, unseen_logit=unseen_logit, **options
        )
        self.iterations = iterations

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        penalty = self.log_regularisation.exp()
        identity = torch.eye(gram.shape[1], device=gram.device)
        factor = torch.linalg.inv_ex(0.5 * gram + penalty * identity)[0]
        excluded = torch.where(seen, 0.0, EXCLUDED_LOGIT).unsqueeze(1)  # (B, 1, K)
        factor = factor * targets.sum(-1).unsqueeze(1)  # padding has no probabilities
        dual = momentum = torch.zeros_like(targets)
        for step in range(self.iterations):
            probs = torch.softmax(torch.baddbmm(excluded, gram, momentum), -1)
            gradient = torch.addcmul(probs - targets, penalty, momentum)
            new = torch.baddbmm(momentum, factor, gradient, alpha=-1)
            dual, momentum = new, torch.lerp(dual, new, 1 + step / (step + 3))
        return dual * seen.unsqueeze(1)


LEARNERS["r2d2"] = partial(Ridge, body="conv4")
LEARNERS["metaoptnet_logistic"] = partial(Logistic, body="conv4", regularisation=0.02)
