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
from metaal_env.view import PoolView

WIDTHS = (0.1, 0.3, 0.8)
"""Kernel widths of coverage features, relative to the pool's mean squared distance."""

NEIGHBOUR_WIDTH = 0.2
"""Kernel width of density and of means over an item's neighbours."""


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
    "density": lambda view: view.geometry.density(NEIGHBOUR_WIDTH),
    "neighbour_novelty": lambda view: neighbour_means(view)[..., 0],
    "neighbour_margin": lambda view: neighbour_means(view)[..., 1],
}
"""Rules whose scores, standardised within the pool, are features and candidates for a policy's prior."""

ABSOLUTE = ("top1", "top2", "top3", "margin", "entropy", "novelty", "near_0", "near_1", "near_2", "labelled")
EPISODE = (
    "budget_left",
    "labels_per_class",
    "classes_seen",
    "count_evenness",
    "mean_margin",
    "mean_entropy",
    "mean_novelty",
    "log_way",
    "log_pool",
    "covered_0",
    "covered_1",
    "covered_2",
)
N_ITEM, N_EPISODE = len(RULES) + len(ABSOLUTE), len(EPISODE)


class Features(NamedTuple):
    items: Tensor  # (B, N, N_ITEM) rules' standardised scores, then absolute features; 0 at padding
    episode: Tensor  # (B, N_EPISODE)


@torch.no_grad()
def extract(view: PoolView) -> Features:
    """What the policy sees of each pool. Cost O(N·L) as the herding rules."""
    scores = torch.stack([rule(view) for rule in RULES.values()], -1)  # (B, N, R)
    relative = standardise(scores, view.selectable)
    way = view.way.to(scores.dtype)
    geometry = view.geometry
    covered = [view.coverage(width) for width in WIDTHS]  # (B, L) each
    near = torch.stack([view.nearest_similarity(width) for width in WIDTHS], -1)  # (B, N, 3)
    margin, entropy, novelty = (scores[..., list(RULES).index(n)] for n in ("margin", "entropy", "novelty"))
    absolute = torch.cat(
        [
            view.top_probs,
            torch.stack([margin, entropy, novelty], -1),
            near,
            view.labelled.unsqueeze(-1).to(scores),
        ],
        -1,
    )
    items = torch.cat([relative, absolute], -1) * view.valid.unsqueeze(-1)

    n_labels = view.counts.sum(1)
    shares = view.counts / n_labels.clamp(min=1).unsqueeze(1)
    left = _mean(torch.stack([margin, entropy, novelty], -1), view.selectable)  # (B, 3)
    episode = torch.stack(
        [
            view.budget_left / view.budget,
            torch.log1p(n_labels / way),
            view.seen.sum(1) / way,
            rules.entropy_of(shares) / way.log(),
            *left.unbind(-1),
            way.log() / 3,
            view.valid.sum(1).to(scores).log() / 5,
            *(_mean(c.unsqueeze(-1), geometry.landmark_mask).squeeze(-1) for c in covered),
        ],
        -1,
    )
    return Features(items, episode)


def standardise(scores: Tensor, mask: Tensor) -> Tensor:
    """(B, N, R) scores → mean 0 and deviation 1 over the items of `mask`, 0 elsewhere; constant scores → 0."""
    weight = (mask / mask.sum(1, keepdim=True).clamp(min=1)).unsqueeze(-1)  # (B, N, 1)
    mean = (scores * weight).sum(1, keepdim=True)
    deviation = ((scores - mean).square() * weight).sum(1, keepdim=True).sqrt()
    scaled = torch.where(deviation > 1e-6, (scores - mean) / deviation.clamp(min=1e-6), 0.0)
    return scaled * mask.unsqueeze(-1)


def neighbour_means(view: PoolView) -> Tensor:
    """(B, N, 2) kernel-weighted means of novelty and margin over each item's neighbours in the pool."""
    if "neighbour_means" not in view.memo:
        geometry = view.geometry
        weight = geometry.density(NEIGHBOUR_WIDTH) * geometry.landmark_mask.sum(-1, keepdim=True)
        values = torch.stack([geometry.at_landmarks(rule(view)) for rule in (rules.novelty, rules.margin)], 1)
        # Two rows from the left: a product with two columns from the right takes seven times as long.
        total = (values @ geometry.kernel(NEIGHBOUR_WIDTH).transpose(1, 2)).transpose(1, 2)  # (B, N, 2)
        view.memo["neighbour_means"] = total / weight.clamp(min=1e-6).unsqueeze(-1)
    return view.memo["neighbour_means"]


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, N, C) values and (B, N) mask → (B, C)."""
    return (values * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
