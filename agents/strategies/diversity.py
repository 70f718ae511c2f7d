"""Diversity: distributes the labels over the clusters of the pool, independent of the learner's predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.batched import as_tie_break
from metaal_env.features import rules
from metaal_env.pool.clusters import Clusters, k_means, uncovered_first
from metaal_env.pool.gaussian_mixture import gaussian_mixture
from metaal_env.pool.remembered import remembered
from metaal_env.pool.typicality import typicality
from metaal_env.pool.view import PoolView


@STRATEGIES.register("k_center")
class KCenter(Strategy):
    """Scores by the distance to the nearest labelled item: farthest-first traversal (Sener & Savarese 2018, alg. 1).

    Without labels it starts at the item nearest to the pool's mean, which is deterministic and no outlier.
    Cost O(N·S·D).
    """

    diversifies = True

    def score(self, view: PoolView) -> Tensor:
        return rules.kcenter_distance(view)


def total_labels(view: PoolView) -> tuple[int, ...]:
    """Returns the B numbers of labels at the end of the episode: present and still to buy."""
    return tuple((view.labelled.sum(1) + view.budget_left).tolist())


@remembered("pool")
def _label_clusters(view: PoolView, clusters: tuple[int, ...]) -> Clusters:
    weight = view.valid.to(view.embeddings.dtype)
    return k_means(view.embeddings, weight, torch.tensor(clusters, device=view.device))


@remembered("pool")
def _label_mixture(view: PoolView, clusters: tuple[int, ...]) -> tuple[Clusters, Tensor]:
    weight = view.valid.to(view.embeddings.dtype)
    return gaussian_mixture(view.embeddings, weight, torch.tensor(clusters, device=view.device))


@STRATEGIES.register("k_means_centers")
class KMeansCenters(Strategy):
    """Labels the item nearest to the centre of the largest cluster without a label.

    There is one cluster per label of the whole episode, so the centres do not change as they are used up (Bae et al.
    2024, arXiv 2311.02879). Cost O(T·N·(C + D)) with T labels and C ≤ 128 starts.
    """

    diversifies = True

    def score(self, view: PoolView) -> Tensor:
        clusters = _label_clusters(view, total_labels(view))
        return uncovered_first(view, clusters) + as_tie_break(-clusters.sq_dist, view.valid)


@STRATEGIES.register("gmm_centers")
class GMMCenters(Strategy):
    """Labels the likeliest item of the largest mixture component without a label (Bae et al. 2024, 2311.02879).

    There is one spherical Gaussian per label of the whole episode. Cost O(T·N·D) per EM iteration.
    """

    diversifies = True

    def score(self, view: PoolView) -> Tensor:
        clusters, log_density = _label_mixture(view, total_labels(view))
        return uncovered_first(view, clusters) + as_tie_break(log_density, view.valid)


@STRATEGIES.register("typiclust")
class TypiClust(Strategy):
    """Labels the most typical item of the largest cluster without a label (Hacohen et al. 2022, alg. 1).

    There is one cluster more than labels. Typicality is the inverse mean distance to the 20 nearest neighbours in the
    cluster. When every cluster has a label, those with the fewest go first. Cost O(S·N·(C + D) + N·L).
    """

    diversifies = True

    def score(self, view: PoolView) -> Tensor:
        weight = view.valid.to(view.embeddings.dtype)
        clusters = k_means(view.embeddings, weight, view.labelled.sum(1) + 1)
        typical = typicality(view, clusters.assignment)
        return uncovered_first(view, clusters) + as_tie_break(typical, view.valid)


@STRATEGIES.register("information_density")
class InformationDensity(Strategy):
    """Scores by entropy × (mean similarity to the pool)^β (Settles & Craven 2008), Gaussian similarity, β = 1.

    Without labels the entropy is constant, so the densest item goes first. Cost O(N·L).
    """

    def __init__(self, *, beta: float = 1.0, width: float = rules.HERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.beta, self.width = beta, width

    def score(self, view: PoolView) -> Tensor:
        return rules.entropy(view) * view.geometry.density(self.width).pow(self.beta)


@STRATEGIES.register("discriminative")
class DiscriminativeAL(Strategy):
    """Scores by the probability of being unlabelled under a logistic regression of labelled against unlabelled.

    Gissin & Shalev-Shwartz 2019 (arXiv 1907.06347). Features are in units of the pool's root mean squared distance.
    The loss is summed over items plus ‖w‖² / (2C). It is minimised by Newton's method in the span of the data, at
    cost O(N·m² + m³) per iteration with m = min(N, D). Without labels the most central item goes first.

    Args:
        c: inverse regularisation.
        iterations: most Newton steps.
        tolerance: relative decrease of the loss below which the iteration ends.
    """

    diversifies = True

    def __init__(self, *, c: float = 1.0, iterations: int = 12, tolerance: float = 1e-6, seed: int = 0):
        super().__init__(seed=seed)
        self.c, self.iterations, self.tolerance = c, iterations, tolerance

    def score(self, view: PoolView) -> Tensor:
        x = span(view)
        target = (~view.labelled).to(x.dtype)
        unlabelled = logistic_regression(x, target, view.valid, self.c, self.iterations, self.tolerance)
        cold = ~(view.labelled & view.valid).any(1, keepdim=True)
        return torch.where(cold, rules.kcenter_distance(view).double(), unlabelled)


def span(view: PoolView) -> Tensor:
    """Returns (B, N, m) double coordinates of the pool, m = min(N, D), in units of its root mean squared distance.

    Their inner products are those of the embeddings around the pool's mean, which suffices for linear models.
    """
    weight = view.valid.double() / view.valid.sum(1, keepdim=True).clamp(min=1)
    mean = torch.einsum("bn,bnd->bd", weight, view.embeddings.double())
    x = view.embeddings - mean.unsqueeze(1)  # double, as the mean
    x *= (view.valid / view.geometry.mean_sq_dist.double().sqrt().unsqueeze(1)).unsqueeze(-1)
    if x.shape[2] <= x.shape[1]:
        return x
    values, vectors = torch.linalg.eigh(x @ x.transpose(1, 2))
    return vectors * values.clamp(min=0).sqrt().unsqueeze(1)


def logistic_regression(
    x: Tensor, target: Tensor, mask: Tensor, c: float, iterations: int, tolerance: float
) -> Tensor:
    """Fits a regularised logistic regression of (B, N) `target` on (B, N, m) `x` and returns its (B, N) logits.

    It runs damped Newton from the intercept alone. A step is halved, per episode, until the loss falls.

    `metaal_env.learners.linear.Logistic` solves another problem: several classes, in the dual of a few labelled items,
    differentiable, with a fixed number of steps.
    """
    x = torch.nn.functional.pad(x, (0, 1), value=1.0).mul_(mask.unsqueeze(-1))
    m = x.shape[2]
    ridge = torch.full((m,), 1 / c, dtype=x.dtype, device=x.device)
    ridge[-1] = 1e-9  # the intercept is not regularised, only kept finite
    w = x.new_zeros(len(x), m)
    positive = (target * mask).sum(1)
    w[:, -1] = ((positive + 0.5) / (mask.sum(1) - positive + 0.5)).log()
    # The Hessian, most of the cost, only directs the step, so single precision in reused memory suffices.
    single = x.float()
    scaled = torch.empty_like(single)

    def loss(w: Tensor) -> Tensor:
        logits = torch.einsum("bnm,bm->bn", x, w)
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (each * mask).sum(1) + 0.5 * (ridge * w.square()).sum(1)

    current = loss(w)
    for _ in range(iterations):
        p = torch.sigmoid(torch.einsum("bnm,bm->bn", x, w))
        gradient = torch.einsum("bnm,bn->bm", x, (p - target) * mask) + ridge * w
        curvature = (p * (1 - p)).clamp(min=1e-9) * mask
        torch.mul(single, curvature.float().unsqueeze(-1), out=scaled)
        hessian = (scaled.transpose(1, 2) @ single).to(x.dtype) + torch.diag(ridge)
        step = torch.linalg.solve(hessian, gradient)
        # Half the Newton decrement is about the remaining gain; converged episodes do not change.
        active = (gradient * step).sum(1, keepdim=True) > tolerance * current.unsqueeze(1)
        if not bool(active.any()):
            break
        step = torch.where(active, step, 0.0)
        for halving in range(6):
            moved = w - step * 0.5**halving
            new = loss(moved)
            better = new < current
            w = torch.where(better.unsqueeze(1), moved, w)
            step = torch.where(better.unsqueeze(1), 0.0, step)
            current = torch.where(better, new, current)
            if bool((better | ~active.squeeze(1)).all()):
                break
    return torch.einsum("bnm,bm->bn", x, w)
