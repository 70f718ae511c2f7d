"""From a `PoolView` to what a policy sees: item and episode features without coordinates or class numbers.

Every feature is equivariant to permutations of the pool and invariant to relabelling the classes, to rotating
and rescaling the embeddings and to padding, so weights carry over between pools, class counts and domains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env import rules
from metaal_env.batched import masked_mean, standardise
from metaal_env.pool.ball_cover import ball_gain, pure_radius
from metaal_env.pool.clusters import class_clusters, per_cluster, uncovered_first
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.partitions import partition_cover, partition_novelty, partitions, typicality_within
from metaal_env.pool.random_walks import Ends, certainty, walk_ends, walk_visits
from metaal_env.pool.sampled_clusterings import agreement
from metaal_env.pool.view import PoolView

WIDTHS = (0.1, 0.3, 1.2)
"""Kernel widths of coverage features, relative to the pool's mean squared distance."""

DENSITY_WIDTH = 0.2
"""Kernel width of density."""

NEIGHBOUR_TEMPERATURE = 0.4
"""How sharply the means over an item's neighbours fall off; see `Geometry.attention`."""

WALK = (0.2, 6)
"""Temperature and steps of walks over the pool; see `metaal_env.pool.random_walks`."""


def _herding(width: float) -> Callable[[PoolView], Tensor]:
    return lambda view: rules.herding_gain(view, width)


RULES: dict[str, Callable[[PoolView], Tensor]] = {
    "least_confident": rules.least_confidence,
    "margin": rules.margin,
    "entropy": rules.entropy,
    "novelty": rules.novelty,
    "k_center": rules.kcenter_distance,
    "max_herding": rules.herding_gain,
    "uherding": rules.uherding_gain,
    "herding_narrow": _herding(WIDTHS[0]),
    "herding_wide": _herding(WIDTHS[-1]),
    "density": lambda view: view.geometry.density(DENSITY_WIDTH),
    "neighbour_novelty": lambda view: neighbour_means(view)[..., 0],
    "neighbour_margin": lambda view: neighbour_means(view)[..., 1],
    "probcover": lambda view: ball_gain(view, pure_radius(view))[0],
    "open_cluster": lambda view: uncovered_first(view, class_clusters(view)).to(view.logits),
    "class_need": lambda view: class_means(view)[..., 0],
    "class_mass": lambda view: class_means(view)[..., 1],
    "walk_margin": lambda view: 1 - certainty(_ends(view)),
    "walk_need": lambda view: walk_need(view),
    "walk_gain": lambda view: _visits(view)[:, 0],
    "walk_uherding": lambda view: _visits(view)[:, 1],
    "expected_accuracy": expected_accuracy,
    "expected_likelihood": expected_likelihood,
    "partition_cover": partition_cover,
    "partition_novelty": partition_novelty,
    "typicality_within": typicality_within,
}
"""Rules whose scores, compared within the pool, are features and candidates for a policy's prior."""

ABSOLUTE = (
    *("top1", "top2", "top3", "margin", "entropy", "novelty", "near_0", "near_1", "near_2", "labelled"),
    *("class_need", "in_ball", "cluster_share", "cluster_labels", "reached", "walk_margin", "walk_need"),
    *("partition_novelty", "typicality_within"),
)
CONTEXT = (
    *("labels_per_class", "classes_seen", "count_evenness"),
    *("mean_margin", "mean_entropy", "mean_novelty", "log_way", "log_pool"),
    *("covered_0", "covered_1", "covered_2", "in_balls", "ball_radius", "contrast"),
    *("open_clusters", "cluster_evenness", "mean_reached", "mean_walk_margin"),
    *("class_evenness", "walk_evenness", "mean_density", "density_spread"),
    *("variance_within", "partition_evenness", "mean_partition_novelty"),
    "partition_agreement",
)
"""What is known of a pool and its labels."""

EPISODE = (*CONTEXT, "budget_left", "planned_labels")
"""The budget comes last: it says what an episode may still earn, but no pick of the policy depends on it."""

N_ITEM, N_EPISODE, N_CONTEXT = len(RULES) + len(ABSOLUTE), len(EPISODE), len(CONTEXT)


class Features(NamedTuple):
    items: Tensor  # (B, N, N_ITEM) rules' scores, then absolute features; 0 at padding
    episode: Tensor  # (B, N_EPISODE)


@torch.no_grad()
def extract(view: PoolView) -> Features:
    """What the policy sees of each pool. Cost O(N·L) as the herding rules."""
    items = torch.cat([rule_scores(view), _absolute(view)], -1)
    return Features(items * view.valid.unsqueeze(-1), episode_features(view))


def rule_scores(view: PoolView) -> Tensor:
    """(B, N, R) asinh of the scores of `RULES`, standardised over what may be picked; 0 elsewhere.

    The arsinh changes no rank but ends the rule of outliers: one item at ten deviations (a classifier sure of all
    others, a lonely point) would outweigh every other score of a weighted sum.
    """
    return standardise(torch.stack([rule(view) for rule in RULES.values()], -1), view.selectable).asinh()


def _absolute(view: PoolView) -> Tensor:
    """(B, N, …) features `ABSOLUTE`, which mean the same in every pool."""
    share, labels = _clusters(view)  # (B, K) each
    own = class_clusters(view).assignment
    ends = _ends(view)
    values = [
        *view.top_probs.unbind(-1),
        *_unsure(view),
        *(view.nearest_similarity(width) for width in WIDTHS),
        view.labelled,
        class_means(view)[..., 0],
        _in_ball(view),
        share.gather(1, own),
        torch.log1p(labels).gather(1, own),
        ends.reached,
        1 - certainty(ends),
        walk_need(view),
        partition_novelty(view),
        typicality_within(view),
    ]
    return torch.stack([value.to(view.embeddings) for value in values], -1)


def episode_features(view: PoolView) -> Tensor:
    """(B, N_EPISODE) features `EPISODE` of the pool and of how far labelling has come."""
    kind = view.embeddings.dtype
    n_labels, way = view.counts.sum(1), view.way.to(kind)
    counts = view.counts / n_labels.clamp(min=1).unsqueeze(1)
    share, labels = _clusters(view)  # (B, K) each
    real = share > 0
    ends = _ends(view)
    walked = masked_mean(ends.classes, view.valid)  # (B, K)
    narrow = view.geometry.density(WIDTHS[0])  # (B, N)
    density = masked_mean(narrow.unsqueeze(-1), view.valid).squeeze(-1).clamp(min=1e-6)
    values = [
        torch.log1p(n_labels / way),
        view.seen.sum(1) / way,
        rules.entropy_of(counts) / way.log(),
        *masked_mean(torch.stack(_unsure(view), -1), view.selectable).unbind(-1),
        way.log() / 3,
        view.valid.sum(1).to(kind).log() / 5,
        *(
            masked_mean(view.coverage(w).unsqueeze(-1), view.geometry.landmark_mask).squeeze(-1)
            for w in WIDTHS
        ),
        masked_mean(_in_ball(view).to(kind).unsqueeze(-1), view.valid).squeeze(-1),
        pure_radius(view) / view.geometry.mean_sq_dist,
        view.geometry.contrast,
        (real & (labels == 0)).sum(1) / real.sum(1).clamp(min=1),
        rules.entropy_of(share) / way.log(),
        *masked_mean(torch.stack([ends.reached, 1 - certainty(ends)], -1), view.selectable).unbind(-1),
        rules.entropy_of(masked_mean(view.probs, view.valid)) / way.log(),
        rules.entropy_of(walked / walked.sum(1, keepdim=True).clamp(min=1e-6)) / way.log(),
        density,
        masked_mean((narrow - density.unsqueeze(1)).square().unsqueeze(-1), view.valid).squeeze(-1).sqrt()
        / density,
        *_partitioned(view),
        view.budget_left / view.budget,
        torch.log1p(view.budget / way),
    ]
    return torch.stack(values, -1)


def _unsure(view: PoolView) -> list[Tensor]:
    """(B, N) each: margin, entropy and novelty."""
    return [rules.margin(view), rules.entropy(view), rules.novelty(view)]


def _in_ball(view: PoolView) -> Tensor:
    """(B, N) bool: within the pure radius of a labelled item."""
    return view.nearest_sq_dist <= pure_radius(view).unsqueeze(1)


def neighbour_means(view: PoolView) -> Tensor:
    """(B, N, 2) means of novelty and margin over each item's neighbours in the pool."""
    if "neighbour_means" not in view.memo:
        geometry = view.geometry
        values = torch.stack([geometry.at_landmarks(rule(view)) for rule in (rules.novelty, rules.margin)], 1)
        # Two rows from the left: a product with two columns from the right takes seven times as long.
        means = values @ geometry.attention(NEIGHBOUR_TEMPERATURE).transpose(1, 2)  # (B, 2, N)
        view.memo["neighbour_means"] = means.transpose(1, 2)
    return view.memo["neighbour_means"]


def _ends(view: PoolView) -> Ends:
    return walk_ends(view, *WALK)


def _visits(view: PoolView) -> Tensor:
    """(B, 2, N) visits by walks that start at doubt: of where walks end, and of the learner."""
    if "visits" not in view.memo:
        doubt = torch.stack([1 - certainty(_ends(view)), rules.margin(view)], 1)
        view.memo["visits"] = walk_visits(view, doubt, *WALK)
    return view.memo["visits"]


def walk_need(view: PoolView) -> Tensor:
    """(B, N) mean of 1 / (1 + labels) over the classes where walks end; 1 for what they have not reached."""
    ends = _ends(view)
    return (ends.classes @ (1 / (1 + view.counts)).unsqueeze(-1)).squeeze(-1) + 1 - ends.reached


def class_means(view: PoolView) -> Tensor:
    """(B, N, 2) means over the classes that an item may have: of 1 / (1 + labels), and of the share of the pool."""
    if "class_means" not in view.memo:
        share = masked_mean(view.probs, view.valid)  # (B, K)
        view.memo["class_means"] = view.probs @ torch.stack([1 / (1 + view.counts), share], -1)
    return view.memo["class_means"]


def _clusters(view: PoolView) -> tuple[Tensor, Tensor]:
    """(B, K) shares of the pool's clusters, and the labels in each."""
    clusters = class_clusters(view)
    kind = view.embeddings.dtype
    share = per_cluster(view.valid.to(kind), clusters) / view.valid.sum(1, keepdim=True).clamp(min=1)
    return share, per_cluster((view.labelled & view.valid).to(kind), clusters)


def _partitioned(view: PoolView) -> list[Tensor]:
    """(B,) each: what partitions say of the pool."""
    found = partitions(view)
    sizes = found.member.sum(1)  # (B, M, K)
    sizes = sizes / sizes.sum(-1, keepdim=True).clamp(min=1)
    evenness = rules.entropy_of(sizes).mean(1) / view.way.log()
    novel = masked_mean(partition_novelty(view).unsqueeze(-1), view.selectable).squeeze(-1)
    return [found.clusterings.within.mean(1), evenness, novel, agreement(view)]
