"""Closed-form gains from statistics of the neighbourhood: McPAL and BAIT."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from agents.strategies.diversity import span
from metaal_env.batched import take_rows
from metaal_env.features import rules
from metaal_env.pool.view import PoolView


def label_frequencies(view: PoolView, width: float) -> Tensor:
    """Returns the (B, N) kernel-weighted number of labels around each item, Σ_{j labelled} k(x, x_j)."""
    if view.order.shape[1] == 0:
        return torch.zeros_like(view.embeddings[..., 0])
    chosen = take_rows(view.embeddings, view.order)
    kernel = torch.exp(
        -(torch.cdist(view.embeddings, chosen).square() / (width * view.geometry.mean_sq_dist).view(-1, 1, 1))
    )
    return (kernel * view.order_mask.unsqueeze(1)).sum(-1)


def cost_reduction(frequencies: Tensor, class_mask: Tensor, m_max: int, prior: float = 1e-3) -> Tensor:
    """Computes the expected drop in 0/1 cost per label for up to m labels (Kottke et al. 2016).

    The label counts k around an item give a Dirichlet(k + prior) posterior over its class probabilities. After l
    further labels the decision is argmax(k + l). The expected cost is the sum over all l of their
    Dirichlet-multinomial probability times the posterior risk, and the gain is max_m (cost_0 − cost_m) / m.

    Args:
        frequencies: (B, N, K) kernel frequencies times class probabilities.
        class_mask: (B, K) bool; other classes are ignored.
    """
    k = frequencies.shape[-1]
    real = class_mask.unsqueeze(1)
    alpha = (frequencies.double() + prior) * real  # (B, N, K)
    total = alpha.sum(-1)
    best_now = alpha_of(alpha, frequencies * real).div(total)
    cost = [1 - best_now]
    for m in range(1, m_max + 1):
        expected = torch.zeros_like(total)
        for combination in itertools.combinations_with_replacement(range(k), m):
            extra = torch.zeros(k, dtype=alpha.dtype, device=alpha.device)
            for y in combination:
                extra[y] += 1
            log_p = (
                torch.lgamma(alpha.clamp(min=1e-30) + extra) - torch.lgamma(alpha.clamp(min=1e-30))
            ) * real
            log_p = log_p.sum(-1) - torch.lgamma(total + m) + torch.lgamma(total)
            log_p = log_p + math.lgamma(m + 1) - torch.lgamma(extra + 1).sum()
            probability = log_p.exp() * real[..., list(combination)].all(-1)
            decided = alpha_of((alpha + extra) * real, (frequencies + extra) * real)
            expected = expected + probability * decided / (total + m)
        cost.append(1 - expected)
    gains = torch.stack([(cost[0] - cost[m]) / m for m in range(1, m_max + 1)], -1)
    return gains.amax(-1)


def alpha_of(alpha: Tensor, votes: Tensor) -> Tensor:
    """Returns the (…,) value of (…, K) `alpha` at the class with most votes, the first of equals."""
    return torch.take_along_dim(alpha, votes.argmax(-1, keepdim=True), -1).squeeze(-1)


@STRATEGIES.register("mcpal")
class McPAL(Strategy):
    """Scores by density × expected cost reduction of the next labels (multi-class PAL, Kottke et al. 2016).

    k(x) = p(·|x) · Σ_{j labelled} K(x, x_j), weighted by the pool's density. The look-ahead covers up to two further
    labels, or one beyond 12 classes, where pairs are too many. Cost O(N·K^{m+1}).

    Args:
        width: squared kernel radius, relative to the pool's mean squared distance.
        density: whether to weight by the pool's density, as the paper does; scikit-activeml leaves it to the user.
    """

    def __init__(self, *, width: float = rules.HERDING_WIDTH, density: bool = True, seed: int = 0):
        super().__init__(seed=seed)
        self.width, self.density = width, density

    def score(self, view: PoolView) -> Tensor:
        k = label_frequencies(view, self.width).unsqueeze(-1) * view.probs
        gain = cost_reduction(k, view.class_mask, 2 if k.shape[-1] <= 12 else 1)
        return gain * view.geometry.density(self.width) if self.density else gain


@STRATEGIES.register("bait")
class BAIT(Strategy):
    """Scores by the drop of tr((M + F_x)⁻¹ F): Bayesian V-optimal design of the head (Ash et al. 2021, BAIT).

    F and M are the Fisher information of a linear softmax head over the pool and over the labelled items (plus λ I).
    They are taken per class, with w_c(x) = p_c(1 − p_c), instead of as one K·D × K·D matrix. By Sherman–Morrison the
    drop is Σ_c w_c hᵀ M_c⁻¹ F_c M_c⁻¹ h / (1 + w_c hᵀ M_c⁻¹ h). Embeddings keep their first `components` principal
    components. Cost O(N·K·m²), m ≤ `components`.
    """

    diversifies = True

    def __init__(self, *, components: int = 32, ridge: float = 1.0, seed: int = 0):
        super().__init__(seed=seed)
        self.components, self.ridge = components, ridge

    def score(self, view: PoolView) -> Tensor:
        x = principal(span(view), self.components)  # (B, N, m)
        x = torch.cat([x, torch.ones_like(x[..., :1])], -1) * view.valid.unsqueeze(-1)
        w = (view.probs * (1 - view.probs)).double()  # (B, N, K)
        pool = view.valid.double() / view.valid.sum(1, keepdim=True).clamp(min=1)
        labelled = (view.labelled & view.valid).double()
        fisher = torch.einsum("bnm,bnk,bnl->bkml", x, w * pool.unsqueeze(-1), x)  # (B, K, m, m)
        known = torch.einsum("bnm,bnk,bnl->bkml", x, w * labelled.unsqueeze(-1), x)
        eye = torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
        inverse = torch.linalg.inv(known + self.ridge * eye)
        middle = inverse @ fisher @ inverse
        drop = torch.einsum("bnm,bkml,bnl->bnk", x, middle, x)
        stretch = torch.einsum("bnm,bkml,bnl->bnk", x, inverse, x)
        return (w * drop / (1 + w * stretch)).sum(-1)


def principal(x: Tensor, components: int) -> Tensor:
    """Projects (B, N, m) to (B, N, min(m, components)) coordinates on the first principal axes."""
    if x.shape[2] <= components:
        return x
    _, vectors = torch.linalg.eigh(x.transpose(1, 2) @ x)
    return x @ vectors[..., -components:]
