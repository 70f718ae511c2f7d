"""Multi-class support vector machine as a head (MetaOptNet-SVM, Lee et al. 2019)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from metaal_env.learners.base import LEARNERS
from metaal_env.learners.linear import LinearHead


@LEARNERS.register("svm")
class SVM(LinearHead):
    """Solves the Crammer–Singer SVM over the seen classes in its dual (Lee et al. 2019, eq. 8).

    Minimises λ/2 ‖W‖² + Σ_n max_k (w_k·x_n + 1[k ≠ y_n] − w_{y_n}·x_n). The dual weights are A = (Y − Q)/λ with
    each row of Q in the simplex; Q minimises ½ tr(AᵀGA)·λ − Σ_n (1 − Q_{n, y_n}). Accelerated projected
    gradient with restarts (Beck & Teboulle 2009; O'Donoghue & Candès 2015) finds it outside the graph. The
    meta-gradient passes through a few plain steps at the solution, which do not move it: a truncated Neumann
    series of the implicit gradient (Bolte et al. 2023). Its cost is linear in the labels, while MetaOptNet's
    implicit system is cubic in labels × classes.

    A single seen class scores 0 everywhere, as with logistic regression.

    Args:
        iterations: steps to the solution.
        unrolled: steps that the meta-gradient passes through.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        regularisation: float = 0.3,
        scale: float = 4.7,
        unseen_logit: float = 0.5,
        iterations: int = 100,
        unrolled: int = 10,
        **options: Any,
    ):
        super().__init__(
            input_shape, regularisation=regularisation, scale=scale, unseen_logit=unseen_logit, **options
        )
        self.iterations, self.unrolled = iterations, unrolled

    def solve(self, gram: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        penalty = self.log_regularisation.exp()
        allowed = seen.unsqueeze(1) & (targets.sum(-1, keepdim=True) > 0)

        def step(q: Tensor, gram: Tensor, penalty: Tensor) -> Tensor:
            # The row sums bound the largest eigenvalue.
            size = gram.abs().sum(-1).amax(-1)[:, None, None].clamp(min=1e-6)
            return project_to_simplex(q - (gram @ (q - targets) + penalty * targets) / size, allowed)

        with torch.no_grad():
            q = momentum = targets
            speed = torch.ones(len(gram), 1, 1, device=gram.device, dtype=gram.dtype)
            for _ in range(self.iterations):
                new = step(momentum, gram, penalty)
                # Restart an episode's momentum as soon as it points uphill.
                uphill = ((momentum - new) * (new - q)).sum((1, 2), keepdim=True) > 0
                next_speed = (1 + (1 + 4 * speed.square()).sqrt()) / 2
                push = torch.where(uphill, 0.0, (speed - 1) / next_speed)
                speed = torch.where(uphill, 1.0, next_speed)
                q, momentum = new, new + push * (new - q)
        if torch.is_grad_enabled():
            for _ in range(self.unrolled):
                q = step(q, gram, penalty)
        return (targets - q) / penalty * seen.unsqueeze(1)


def project_to_simplex(x: Tensor, allowed: Tensor) -> Tensor:
    """Projects to the probability simplex on the allowed entries of the last axis (Duchi et al. 2008).

    Args:
        x: (…, K).
        allowed: (…, K) bool; the other entries become 0. A row without allowed entries becomes 0.
    """
    low = torch.finfo(x.dtype).min / 4
    ordered = torch.where(allowed, x, low).sort(-1, descending=True).values
    rank = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
    real = ordered > low / 2
    excess = torch.where(real, ordered, 0.0).cumsum(-1) - 1
    size = (real & (ordered * rank > excess)).sum(-1, keepdim=True).clamp(min=1)
    shift = excess.gather(-1, size - 1) / size
    return torch.where(allowed, (x - shift).clamp(min=0), 0.0)


LEARNERS["metaoptnet"] = partial(SVM, body="conv4")
