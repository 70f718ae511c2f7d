"""Computes what several features are made of, once per view."""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import masked_mean
from metaal_env.features import rules
from metaal_env.pool.ball_cover import pure_radius
from metaal_env.pool.clusters import class_clusters, per_cluster
from metaal_env.pool.random_walks import Ends, certainty, walk_ends, walk_visits
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

WIDTHS = (0.1, 0.3, 1.2)
"""Kernel widths of coverage features, relative to the pool's mean squared distance."""

DENSITY_WIDTH = 0.2
"""Kernel width of density."""

NEIGHBOUR_SOFTNESS = 0.4
"""How softly the means over an item's neighbours fall off; see `Geometry.attention`."""

WALK = (0.2, 6)
"""Softness and steps of walks over the pool; see `metaal_env.pool.random_walks`."""


def ends(view: PoolView) -> Ends:
    """Returns where walks from each item end."""
    return walk_ends(view, *WALK)


@remembered("moment")
def walk_margin(view: PoolView) -> Tensor:
    """Returns (B, N) one minus the lead of the class at which most walks from the item end."""
    return 1 - certainty(ends(view))


@remembered("moment")
def walk_need(view: PoolView) -> Tensor:
    """Returns (B, N) means of 1 / (1 + labels) over the classes where walks end; 1 for what they have not reached."""
    found = ends(view)
    return (found.classes @ (1 / (1 + view.counts)).unsqueeze(-1)).squeeze(-1) + 1 - found.reached


@remembered("moment")
def visits(view: PoolView) -> Tensor:
    """Returns (B, 2, N) visits by walks that start at doubt: of where walks end, and of the learner."""
    return walk_visits(view, torch.stack([walk_margin(view), rules.margin(view)], 1), *WALK)


@remembered("moment")
def neighbour_means(view: PoolView) -> Tensor:
    """Returns (B, N, 2) means of novelty and margin over each item's neighbours in the pool."""
    geometry = view.geometry
    values = torch.stack([geometry.at_landmarks(rule(view)) for rule in (rules.novelty, rules.margin)], 1)
    # Two rows from the left: a product with two columns from the right takes seven times as long.
    return (values @ geometry.attention(NEIGHBOUR_SOFTNESS)).transpose(1, 2)


@remembered("moment")
def class_shares(view: PoolView) -> Tensor:
    """Returns (B, K) mean class probabilities over the pool."""
    count = view.valid.sum(1, keepdim=True).clamp(min=1)
    return (view.beliefs.probs @ view.valid.to(view.logits).unsqueeze(2)).squeeze(2) / count


@remembered("moment")
def class_means(view: PoolView) -> Tensor:
    """Returns (B, N, 2) means over the classes that an item may have: of 1 / (1 + labels), and of their share."""
    columns = torch.stack([1 / (1 + view.counts), class_shares(view)], 1)  # (B, 2, K)
    return (columns @ view.beliefs.probs).transpose(1, 2)


@remembered("moment")
def in_ball(view: PoolView) -> Tensor:
    """Returns (B, N) bool: within the pure radius of a labelled item."""
    return view.nearest_sq_dist <= pure_radius(view).unsqueeze(1)


@remembered("moment")
def clusters(view: PoolView) -> tuple[Tensor, Tensor]:
    """Returns the (B, K) shares of the pool's clusters, and the labels in each."""
    found = class_clusters(view)
    kind = view.embeddings.dtype
    share = per_cluster(view.valid.to(kind), found) / view.valid.sum(1, keepdim=True).clamp(min=1)
    return share, per_cluster((view.labelled & view.valid).to(kind), found)


@remembered("moment")
def mean_doubts(view: PoolView) -> Tensor:
    """Returns (B, 3) means of margin, entropy and novelty over what may be picked."""
    doubts = torch.stack([rules.margin(view), rules.entropy(view), rules.novelty(view)], -1)
    return masked_mean(doubts, view.selectable)


@remembered("moment")
def mean_ends(view: PoolView) -> Tensor:
    """Returns (B, 2) means, over what may be picked, of `Ends.reached` and `walk_margin`."""
    return masked_mean(torch.stack([ends(view).reached, walk_margin(view)], -1), view.selectable)


@remembered("moment")
def mean_density(view: PoolView) -> Tensor:
    """Returns (B,) mean density of the pool at the narrowest of `WIDTHS`, above 0."""
    narrow = view.geometry.density(WIDTHS[0])  # (B, N)
    return masked_mean(narrow.unsqueeze(-1), view.valid).squeeze(-1).clamp(min=1e-6)


def evenness(share: Tensor, view: PoolView) -> Tensor:
    """Returns the entropy of (B, K) shares of the classes, 1 if they are equal, 0 of a single class."""
    return rules.entropy_of(share) / view.way.clamp(min=2).to(view.embeddings.dtype).log()
