"""Computes the scores of acquisition rules, (B, N) each; strategies call them too.

Values at padding and at labelled items are finite but mean nothing: mask them with `view.selectable`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import take_rows
from metaal_env.compiled import loops_for
from metaal_env.features.catalogue import item_score
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

HERDING_WIDTH = 0.5
"""Squared kernel radius of MaxHerding relative to the pool's mean squared distance.

Chosen on validation tasks, see docs/log/2026-11.md, entry 5.
"""

UHERDING_WIDTH = 0.3
"""The same for UHerding, whose radius shrinks further as labels come."""


@item_score(
    "least_confident",
    "one minus the largest class probability",
    high="no class is likely",
    low="one class is likely",
)
def least_confidence(view: PoolView) -> Tensor:
    """Returns 1 − max_y p(y), in [0, 1) (Lewis & Gale 1994)."""
    return 1 - view.beliefs.top[0]


@item_score(
    "margin",
    "one minus the gap between the two largest class probabilities",
    high="two classes are equally likely",
    low="one class stands out",
)
@remembered("moment")
def margin(view: PoolView) -> Tensor:
    """Returns 1 − (p₁ − p₂) of the two largest class probabilities, in [0, 1] (Scheffer 2001)."""
    top, second, _ = view.beliefs.top
    return 1 - (top - second)


@item_score(
    "entropy",
    "entropy of the class probabilities, 1 if all classes are equally likely",
    high="many classes are possible",
    low="few classes are possible",
)
@remembered("moment")
def entropy(view: PoolView) -> Tensor:
    """Returns H[p] / log K in [0, 1], with K the task's number of classes (Shannon 1948)."""
    return view.beliefs.entropy / view.way.clamp(min=2).log().unsqueeze(1)


def entropy_of(probs: Tensor) -> Tensor:
    """(…, K) probabilities → (…,) entropy in nats; 0 · log 0 = 0."""
    return torch.special.entr(probs).sum(-1)


@item_score(
    "novelty",
    "probability that its class has no label",
    high="it may belong to a class without a label",
    low="its class has labels already",
)
@remembered("moment")
def novelty(view: PoolView) -> Tensor:
    """Returns the probability that the item belongs to a class without a label, in [0, 1]."""
    probs = view.beliefs.probs
    return ((~view.seen).to(probs).unsqueeze(1) @ probs).squeeze(1)


@item_score(
    "k_center",
    "distance to the nearest label",
    high="it is far from every label",
    low="it is near a label",
)
def kcenter_distance(view: PoolView) -> Tensor:
    """Returns the distance to the nearest labelled item (k-center greedy, Gonzalez 1985; Sener & Savarese 2018).

    The unit is the root mean squared distance of the pool. Before the first label the score is how much nearer the
    item is to the pool's mean than the farthest item, so that the most central one comes first.
    """
    squared = view.nearest_sq_dist
    scale = view.geometry.mean_sq_dist.unsqueeze(1)
    off_centre = view.geometry.centre_sq_dist.sqrt()
    central = off_centre.masked_fill(~view.valid, 0).amax(1, keepdim=True) - off_centre
    distance = torch.where(squared.isinf(), central.clamp(min=0), squared.nan_to_num(posinf=0).sqrt())
    return distance / scale.sqrt()


@item_score(
    "max_herding",
    "gain in kernel coverage of the pool",
    high="its region has many items and no label",
    low="its region is small or covered",
)
def herding_gain(view: PoolView, width: float = HERDING_WIDTH) -> Tensor:
    """Returns the gain in kernel coverage of the pool if the item were labelled (MaxHerding, Bae et al. 2024).

    mean_l max(k(i, l) − max_{j labelled} k(j, l), 0) with a Gaussian kernel over the pool's landmarks;
    without labels it is the item's density. Cost O(N·L).
    """
    geometry = view.geometry
    return geometry.coverage_gain(width * geometry.mean_sq_dist, view.coverage(width))


@item_score(
    "uherding",
    "gain in kernel coverage of uncertain items",
    high="it stands for many uncertain items",
    low="it stands for few uncertain items",
)
def uherding_gain(view: PoolView, width: float = UHERDING_WIDTH) -> Tensor:
    """Returns the gain in coverage, weighted by how uncertain the covered items are (UHerding, Bae et al. 2025).

    mean_l u(l) · max(k(i, l) − max_{j labelled} k(j, l), 0) with u = 1 − margin. The squared radius is
    `width` · mean d², shrunk to the least squared distance between two labelled items once that is
    smaller, so that covering gives way to uncertainty as labels accumulate. The paper's temperature scaling
    is left out, as the inner learner is calibrated; the strategy `uherding_calibrated` has it.
    Without labels the weights are constant and it equals `herding_gain`.
    """
    radius = labelled_radius(view, width)  # (B,)
    geometry = view.geometry
    covered = geometry.at_landmarks(torch.exp(-view.nearest_sq_dist / radius.unsqueeze(1)))  # (B, L)
    return geometry.coverage_gain(radius, covered, geometry.at_landmarks(margin(view)))


def labelled_radius(view: PoolView, width: float = UHERDING_WIDTH) -> Tensor:
    """(B,) squared kernel radius: `width` · mean d², at most the least d² > 0 between two labelled items."""
    ceiling = width * view.geometry.mean_sq_dist
    if view.order.shape[1] < 2:
        return ceiling
    # Duplicates have no radius to offer; below this share of the mean a distance is rounding.
    least = 1e-5 * view.geometry.mean_sq_dist
    if view.geometry.knows_distances and (fast := loops_for(ceiling)):
        return fast.least_between(view.geometry.sq_dist, view.order, least, ceiling)  # type: ignore[no-any-return]
    distance = take_rows(view.labelled_sq_dist.transpose(1, 2), view.order)  # (B, S, S)
    real = view.order_mask.unsqueeze(1) & view.order_mask.unsqueeze(2) & (distance > least.view(-1, 1, 1))
    return torch.minimum(ceiling, distance.masked_fill(~real, torch.inf).amin((1, 2)))
