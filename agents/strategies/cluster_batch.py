"""Batch rules that cluster the candidates: CLUE, DropQuery, cluster-margin.

For a single item they would degenerate: CLUE, for example, would take the item nearest to the pool's weighted mean.
So a single query is the next pick of the batch that the rest of the budget would buy. The clusters are computed anew,
and those with labels have had their turn.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, masked_scores, random_if_cold, stack_picks
from agents.strategies.lookahead import learner_of
from metaal_env.batched import as_tie_break
from metaal_env.features import rules
from metaal_env.oracle import LabelOracle
from metaal_env.pool.clusters import Clusters, class_clusters, k_means
from metaal_env.pool.view import PoolView


def descending_rank(scores: Tensor) -> Tensor:
    """Returns the (B, N) rank of each score, 0 for the highest."""
    return (-scores).argsort(dim=1, stable=True).argsort(dim=1)


class Plan(NamedTuple):
    """Describes how a batch is distributed over clusters."""

    clusters: Clusters
    priority: Tensor  # (B, K) the cluster with the highest goes first
    scores: Tensor  # (B, N) the item of a cluster with the highest goes first
    allowed: Tensor  # (B, N) bool, items that take part; the others come last


class ClusterBatch(Strategy):
    """Clusters the candidates; clusters take turns, and each gives its best item."""

    def horizon(self, view: PoolView) -> Tensor:
        """Returns the (B,) size of the batch that a single query starts: the rest of the budget."""
        return torch.minimum(view.budget_left, view.selectable.sum(1)).clamp(min=1)

    @abstractmethod
    def plan(self, view: PoolView, size: Tensor) -> Plan:
        """Returns the plan for batches of (B,) `size` items."""

    def score(self, view: PoolView) -> Tensor:
        return turns(view, self.plan(view, self.horizon(view)), view.labelled & view.valid)

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        plan = self.plan(view, torch.minimum(view.selectable.sum(1), view.seed.new_tensor(size)).clamp(min=1))
        before, picks = view.labelled, []
        for _ in range(size):
            pick = masked_scores(turns(view, plan, view.labelled & ~before), view).argmax(1)
            picks.append(torch.where(view.selectable.any(1), pick, -1))
            view = view.with_pending(picks[-1])
        return stack_picks(picks, view)


def turns(view: PoolView, plan: Plan, taken: Tensor) -> Tensor:
    """Ranks items by fewest (B, N) `taken` items in their cluster, then priority, then score; (B, N) double."""
    asked = cluster_mass(plan.clusters, taken.double())  # (B, K)
    priority = plan.priority.masked_fill(~plan.clusters.real, -torch.inf)
    order = (priority.unsqueeze(1) > priority.unsqueeze(2)).sum(-1).double()  # (B, K), 0 for the first
    n_clusters = plan.clusters.real.sum(1, keepdim=True)
    rank = -(asked * n_clusters + order)
    ranked = torch.take_along_dim(rank, plan.clusters.assignment, 1) + as_tie_break(
        plan.scores, view.selectable
    )
    last = n_clusters * (taken.sum(1, keepdim=True) + 2.0)
    return torch.where(plan.allowed, ranked, ranked - last)


def cluster_mass(clusters: Clusters, weight: Tensor) -> Tensor:
    """Returns the (B, K) sums of the (B, N) weights in each cluster."""
    # Not `scatter_add_`, which adds in no fixed order on a GPU.
    hot = weight.new_zeros(*weight.shape, clusters.real.shape[1])
    return hot.scatter_(2, clusters.assignment.unsqueeze(-1), weight.unsqueeze(-1)).sum(1)


@STRATEGIES.register("clue")
class Clue(ClusterBatch):
    """Labels the items nearest to the centres of an uncertainty-weighted k-means (Prabhu et al. 2021, CLUE).

    Candidates are weighted by their entropy and clustered into as many clusters as items are wanted; the
    cluster with the most entropy goes first. Cost O(b·N·(C + D)).
    """

    def plan(self, view: PoolView, size: Tensor) -> Plan:
        weight = rules.entropy(view) * view.selectable
        # Where nothing is uncertain, all candidates count equally.
        certain = weight.sum(1, keepdim=True) <= 1e-12
        weight = torch.where(certain, view.selectable.to(weight.dtype), weight)
        clusters = k_means(view.embeddings, weight, size)
        return Plan(clusters, cluster_mass(clusters, weight), -clusters.sq_dist, view.selectable)


@STRATEGIES.register("dropquery")
class DropQuery(ClusterBatch):
    """Clusters the items with predictions that flip when features are dropped (Gupte et al. 2024, DropQuery).

    Makes `samples` predictions with features dropped at `rate`. Candidates where more than half of these disagree with
    the full prediction are clustered, and the item nearest to each centre is taken. If there are too few of them, the
    candidates with most disagreement follow. The rate is lower than the paper's .75, which leaves too little of small
    embeddings (`benchmarks/strategies/strategy_choices.py`). Cost: `samples`·N predictions and the k-means.
    """

    stochastic = True
    needs_learner = True

    def __init__(self, *, rate: float = 0.25, samples: int = 3, seed: int = 0):
        super().__init__(seed=seed)
        self.rate, self.samples = rate, samples

    def plan(self, view: PoolView, size: Tensor) -> Plan:
        rate = self.disagreement(view)
        flipped = (rate > 0.5) & view.selectable
        rank = descending_rank(masked_scores(rate, view))
        flipped = flipped | ((rank < size.unsqueeze(1)) & view.selectable)
        weight = flipped.to(view.embeddings.dtype)
        clusters = k_means(view.embeddings, weight, size)
        return Plan(clusters, cluster_mass(clusters, weight), -clusters.sq_dist, flipped)

    def disagreement(self, view: PoolView) -> Tensor:
        """Returns the (B, N) share of the perturbed predictions that name another class."""
        learner, features = learner_of(view, self)
        assert view.adapted is not None  # comes with the learner
        n, size = features.shape[1], features[0, 0].numel()
        guess = view.logits.argmax(-1)
        weight = (view.valid / view.valid.sum(1, keepdim=True).clamp(min=1)).to(features.dtype)
        mean = torch.einsum("bn,bnf->bf", weight, features.flatten(2)).view(len(view), 1, *features.shape[2:])
        # Dropped features take the pool's mean, because zero has no meaning for a learner of distances. The
        # others are stretched so that items keep their distance from the mean.
        centred = (features - mean) / (1 - self.rate) ** 0.5
        wrong = torch.zeros_like(features.flatten(2)[..., 0])
        for sample in range(self.samples):
            keep = view.random(lambda rng: rng.random((n, size)) >= self.rate, self.seed + sample)
            logits = learner.predict(view.adapted, mean + centred * keep.view(features.shape))
            wrong = wrong + (logits.argmax(-1) != guess)
        return wrong / self.samples


@STRATEGIES.register("cluster_margin")
class ClusterMargin(ClusterBatch):
    """Labels the most uncertain items, distributed over clusters (Citovsky et al. 2021, alg. 2).

    The `excess` × b items of smallest margin are the candidates. Clusters take turns, those with fewest candidates
    first. The pool is clustered by k-means with two clusters per class instead of agglomeratively, which would be
    cubic. Cost O(K·N·(C + D)).
    """

    def __init__(self, *, excess: float = 2.0, seed: int = 0):
        super().__init__(seed=seed)
        self.excess = excess

    def horizon(self, view: PoolView) -> Tensor:
        """Returns at most five, because over a longer horizon most candidates would not be uncertain."""
        return super().horizon(view).clamp(max=5)

    def plan(self, view: PoolView, size: Tensor) -> Plan:
        clusters = class_clusters(view, per_class=2)
        unsure = random_if_cold(rules.margin(view), view, self.seed)
        rank = descending_rank(masked_scores(unsure, view))
        allowed = (rank < (self.excess * size).ceil().unsqueeze(1)) & view.selectable
        return Plan(clusters, -cluster_mass(clusters, allowed.to(unsure.dtype)), unsure, allowed)
