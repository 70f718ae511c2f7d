"""Linear heads for given embeddings, solved in the dual: cost grows with the labels, not with the dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metaal_env.learners.base import EXCLUDED_LOGIT, LEARNERS, Adapted, InnerLearner, one_hot_support
from metaal_env.learners.networks import Body


class LinearHead(InnerLearner):
    """Shared ground of the linear heads: unit-norm inputs and a constant logit for label-less classes.

    The weights are W = Xᵀ A for the support X, so everything is computed from the Gram matrix X Xᵀ
    (B, S, S), to which 1 is added for an unpenalised-in-spirit bias. Nothing needs meta-training; the scalars
    can be meta-trained like any learner's.

    Args:
        input_shape: (C, H, W) or (D,).
        regularisation: weight of ½‖W‖² against the summed loss.
        scale: factor from solved scores to logits.
        unseen_logit: logit of a class without a label, against scores that are 0 at no evidence.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float,
        scale: float,
        unseen_logit: float,
    ):
        super().__init__()
        self.body = Body("identity", input_shape, 1)
        self.log_regularisation = nn.Parameter(torch.tensor(math.log(regularisation)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.unseen_logit = nn.Parameter(torch.tensor(float(unseen_logit)))

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.log_regularisation, self.log_scale, self.unseen_logit]

    def prepare(self, inputs: Tensor) -> Tensor:
        return self.body.preprocess(inputs)

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        """Dual weights A of each class: (B, S, S) Gram matrix, (B, S, K) one-hot targets → (B, S, K)."""
        raise AssertionError("abstract")  # pragma: no cover

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        hot = one_hot_support(labels, mask, class_mask.shape[1])  # (B, S, K)
        seen = hot.sum(1) > 0  # (B, K)
        support = support * mask.unsqueeze(-1)
        gram = support @ support.transpose(1, 2) + 1.0
        gram = gram * (mask.unsqueeze(1) & mask.unsqueeze(2))
        dual = self.solve(gram, hot, seen) * mask.unsqueeze(-1)
        return {
            "weight": dual.transpose(1, 2) @ support,  # (B, K, D)
            "bias": dual.sum(1),  # (B, K)
            "seen": seen,
            "class_mask": class_mask,
        }

    def predict(self, adapted: Adapted, features: Tensor) -> Tensor:
        scores = features @ adapted["weight"].transpose(1, 2) + adapted["bias"].unsqueeze(1)
        logits = torch.where(adapted["seen"].unsqueeze(1), self.log_scale.exp() * scores, self.unseen_logit)
        return logits.masked_fill(~adapted["class_mask"].unsqueeze(1), EXCLUDED_LOGIT)

    def embed(self, adapted: Adapted, features: Tensor) -> Tensor:
        return features


@LEARNERS.register("ridge")
class Ridge(LinearHead):
    """Least squares on one-hot targets: A = (G + λI)⁻¹ Y (R2D2, Bertinetto et al. 2019, eq. 6)."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float = 0.3,
        scale: float = 6.0,
        unseen_logit: float = 1.5,
    ):
        super().__init__(input_shape, regularisation=regularisation, scale=scale, unseen_logit=unseen_logit)

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        identity = torch.eye(gram.shape[1], device=gram.device)
        return torch.linalg.solve(gram + self.log_regularisation.exp() * identity, targets)


@LEARNERS.register("logistic")
class Logistic(LinearHead):
    """Multinomial logistic regression over the seen classes, by Böhning's bound: Newton with a fixed Hessian.

    Minimises Σ cross-entropy + λ/2 ‖W‖². The Hessian of the softmax is at most ½ (I − 11ᵀ/K) (Böhning 1992),
    so A ← A − (½G + λI)⁻¹ (P − Y + λA) decreases the loss at every step, one factorisation serves them all,
    and no step size is needed.

    Args:
        iterations: steps; 30 reach the optimum to about 1e-3 in the logits on unit-norm inputs.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float = 0.02,
        scale: float = 1.0,
        unseen_logit: float = 0.0,
        iterations: int = 30,
    ):
        super().__init__(input_shape, regularisation=regularisation, scale=scale, unseen_logit=unseen_logit)
        self.iterations = iterations

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        penalty = self.log_regularisation.exp()
        identity = torch.eye(gram.shape[1], device=gram.device)
        factor = torch.linalg.inv(0.5 * gram + penalty * identity)
        labelled = targets.sum(-1, keepdim=True)  # (B, S, 1)
        excluded = torch.where(seen, 0.0, EXCLUDED_LOGIT).unsqueeze(1)  # (B, 1, K)
        dual = torch.zeros_like(targets)
        for _ in range(self.iterations):
            probs = torch.softmax(gram @ dual + excluded, -1) * labelled
            dual = dual - factor @ (probs - targets + penalty * dual)
        return dual * seen.unsqueeze(1)
