"""Registers the pool features: what is known of a pool and its labels, and what its budget is."""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import masked_mean
from metaal_env.features import rules, shared
from metaal_env.features.catalogue import pool_feature
from metaal_env.features.shared import evenness
from metaal_env.pool.ball_cover import pure_radius
from metaal_env.pool.partitions import agreement, class_sizes, partition_novelty, variance_within
from metaal_env.pool.view import PoolView


def _way(view: PoolView) -> Tensor:
    return view.way.to(view.embeddings.dtype)


@pool_feature("labels_per_class", "log(1 + labels per class)")
def labels_per_class(view: PoolView) -> Tensor:
    return torch.log1p(view.counts.sum(1) / _way(view))


@pool_feature("classes_seen", "share of the classes that have a label")
def classes_seen(view: PoolView) -> Tensor:
    return view.seen.sum(1) / _way(view)


@pool_feature("count_evenness", "entropy of the labels' classes, 1 if all have equally many")
def count_evenness(view: PoolView) -> Tensor:
    return evenness(view.counts / view.counts.sum(1).clamp(min=1).unsqueeze(1), view)


@pool_feature("mean_margin", "mean of one minus the gap between the two largest class probabilities")
def mean_margin(view: PoolView) -> Tensor:
    return shared.mean_doubts(view)[:, 0]


@pool_feature("mean_entropy", "mean entropy of the class probabilities")
def mean_entropy(view: PoolView) -> Tensor:
    return shared.mean_doubts(view)[:, 1]


@pool_feature("mean_novelty", "mean probability that an item's class has no label")
def mean_novelty(view: PoolView) -> Tensor:
    return shared.mean_doubts(view)[:, 2]


@pool_feature("log_way", "log of the number of classes, over 3")
def log_way(view: PoolView) -> Tensor:
    return _way(view).log() / 3


@pool_feature("log_pool", "log of the number of items, over 5")
def log_pool(view: PoolView) -> Tensor:
    return view.valid.sum(1).to(view.embeddings.dtype).log() / 5


def _covered(view: PoolView, width: float) -> Tensor:
    return masked_mean(view.coverage(width).unsqueeze(-1), view.geometry.landmark_mask).squeeze(-1)


@pool_feature("covered_0", "mean similarity to the nearest label, narrow kernel")
def covered_0(view: PoolView) -> Tensor:
    return _covered(view, shared.WIDTHS[0])


@pool_feature("covered_1", "mean similarity to the nearest label, middle kernel")
def covered_1(view: PoolView) -> Tensor:
    return _covered(view, shared.WIDTHS[1])


@pool_feature("covered_2", "mean similarity to the nearest label, wide kernel")
def covered_2(view: PoolView) -> Tensor:
    return _covered(view, shared.WIDTHS[2])


@pool_feature("in_balls", "share of the items with a label within `ball_radius`")
def in_balls(view: PoolView) -> Tensor:
    return masked_mean(shared.in_ball(view).to(view.embeddings.dtype).unsqueeze(-1), view.valid).squeeze(-1)


@pool_feature(
    "ball_radius", "squared radius at which balls lie in one cluster, over the mean squared distance"
)
def ball_radius(view: PoolView) -> Tensor:
    return pure_radius(view) / view.geometry.mean_sq_dist


@pool_feature("contrast", "deviation of the squared distances over their mean; small in many dimensions")
def contrast(view: PoolView) -> Tensor:
    return view.geometry.contrast


@pool_feature("open_clusters", "share of the clusters without a label")
def open_clusters(view: PoolView) -> Tensor:
    share, labels = shared.clusters(view)
    real = share > 0
    return (real & (labels == 0)).sum(1) / real.sum(1).clamp(min=1)


@pool_feature("cluster_evenness", "entropy of the clusters' sizes, 1 if they are equal")
def cluster_evenness(view: PoolView) -> Tensor:
    return evenness(shared.clusters(view)[0], view)


@pool_feature("mean_reached", "mean probability that a walk from an item ends at a label")
def mean_reached(view: PoolView) -> Tensor:
    return shared.mean_ends(view)[:, 0]


@pool_feature(
    "mean_walk_margin", "mean of one minus the lead of the class at which most walks from an item end"
)
def mean_walk_margin(view: PoolView) -> Tensor:
    return shared.mean_ends(view)[:, 1]


@pool_feature("class_evenness", "entropy of the mean class probabilities, 1 if all are equal")
def class_evenness(view: PoolView) -> Tensor:
    return evenness(shared.class_shares(view), view)


@pool_feature("walk_evenness", "entropy of the classes at which walks end, 1 if all are equal")
def walk_evenness(view: PoolView) -> Tensor:
    walked = masked_mean(shared.ends(view).classes, view.valid)  # (B, K)
    return evenness(walked / walked.sum(1, keepdim=True).clamp(min=1e-6), view)


@pool_feature("mean_density", "mean similarity of two items, narrow kernel")
def mean_density(view: PoolView) -> Tensor:
    return shared.mean_density(view)


@pool_feature("density_spread", "deviation of the items' densities over their mean, narrow kernel")
def density_spread(view: PoolView) -> Tensor:
    narrow, density = view.geometry.density(shared.WIDTHS[0]), shared.mean_density(view)
    variance = masked_mean((narrow - density.unsqueeze(1)).square().unsqueeze(-1), view.valid).squeeze(-1)
    return variance.sqrt() / density


pool_feature("variance_within", "share of the pool's variance within the clusters of sampled clusterings")(
    variance_within
)


@pool_feature("partition_evenness", "entropy of the class sizes in partitions, 1 if they are equal")
def partition_evenness(view: PoolView) -> Tensor:
    sizes = class_sizes(view)
    sizes = sizes / sizes.sum(-1, keepdim=True).clamp(min=1)
    return rules.entropy_of(sizes).mean(1) / view.way.clamp(min=2).log()


@pool_feature("mean_partition_novelty", "mean share of the partitions in which an item's class has no label")
def mean_partition_novelty(view: PoolView) -> Tensor:
    return masked_mean(partition_novelty(view).unsqueeze(-1), view.selectable).squeeze(-1)


pool_feature("partition_agreement", "how much sampled clusterings agree on which items belong together")(
    agreement
)


@pool_feature("budget_left", "share of the budget that is left", budget=True)
def budget_left(view: PoolView) -> Tensor:
    left = view.budget_left if view.terms is None else view.terms.money_left
    return left / view.budget.clamp(min=1)


@pool_feature("planned_labels", "log(1 + budget per class)", budget=True)
def planned_labels(view: PoolView) -> Tensor:
    return torch.log1p(view.budget / _way(view))
