"""Random walks over a pool that end at labels: the labels that items reach, and where to label next.

A walk goes from item to item with the probabilities of `Geometry.attention` and ends at the first labelled item
(Zhu et al. 2003, stopped after a few steps). It follows the shape of clusters, where a kernel sees balls alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import take_rows
from metaal_env.compiled import loops_for
from metaal_env.pool.distances import Geometry
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView, largest


class Ends(NamedTuple):
    """Holds where walks from each item end."""

    classes: Tensor  # (B, N, K) probability to end at a label of each class
    reached: Tensor  # (B, N) to end at any labelled item; the rest is still under way


@remembered("moment")
def walk_ends(view: PoolView, softness: float, steps: int) -> Ends:
    """Computes where walks of at most `steps` steps end. Cost O(`steps` · N·L·K)."""
    geometry = view.geometry
    back = geometry.attention(softness)
    if geometry.exact and (fast := loops_for(view.embeddings)):
        return Ends(*fast.ends(back, view.order, view.labels, view.class_mask.shape[1], steps))
    between = _between_landmarks(geometry, back)
    here, ends = _labels(view)
    # Classes second and rows in memory one after another: a product with few such rows from the left takes a
    # quarter of one with few columns, and a seventh of one with rows that are views of columns.
    here, ends = here.unsqueeze(1), ends.transpose(1, 2).contiguous()
    # No walk ends at a class without a label; on other devices the host would have to wait for their number.
    used = int(view.seen.sum(1).max()) if back.device.type == "cpu" else view.seen.shape[1]
    seen_first = None
    if used < view.seen.shape[1]:
        seen_first = view.seen.int().argsort(dim=1, descending=True, stable=True)[:, :used]
        ends = torch.cat([take_rows(ends, seen_first), ends[:, -1:]], 1)
    state = ends
    for _ in range(steps - 1):
        state = torch.where(here, ends, state @ between)
    result = state @ back  # (B, K + 1, N)
    classes, reached = result[:, :-1], result[:, -1]
    if seen_first is not None:
        every = result.new_zeros(*view.class_mask.shape, result.shape[2])
        classes = every.scatter_(1, seen_first.unsqueeze(2).expand_as(classes), classes)
    return Ends(classes.transpose(1, 2), reached)


def walk_visits(view: PoolView, weight: Tensor, softness: float, steps: int) -> Tensor:
    """Returns (B, S, N) visits to each item by walks from the others, until a label ends them.

    With the share that no label reaches as weight, the result is the share that a label here would end. An item
    that is no landmark of `Geometry` takes the mean of the landmarks around it. Cost O(`steps` · N·L).

    Args:
        weight: (B, S, N) weight of the walks that start at each item, for S quantities.
        softness: of `Geometry.attention`.
        steps: most steps of a walk.
    """
    geometry = view.geometry
    back = geometry.attention(softness)
    between = _between_landmarks(geometry, back)
    here, _ = _labels(view)
    unlabelled = (geometry.landmark_mask & ~here).unsqueeze(1)
    starts = (weight * view.selectable.unsqueeze(1)).transpose(1, 2)
    under_way = (geometry.at_landmarks(starts).transpose(1, 2) * unlabelled).contiguous()
    if fast := loops_for(view.embeddings):
        visits = fast.visits(between, unlabelled.squeeze(1), under_way, steps)
    else:
        visits = under_way
        for _ in range(steps):
            under_way = (under_way @ between.transpose(1, 2)) * unlabelled
            visits = visits + under_way
    return visits if geometry.exact else visits @ back


def walk_gain(view: PoolView, softness: float, steps: int) -> Tensor:
    """Returns the (B, N) uncertainty of other items that walks bring to the item."""
    ends = walk_ends(view, softness, steps)
    return walk_visits(view, (1 - certainty(ends)).unsqueeze(1), softness, steps).squeeze(1)


def certainty(ends: Ends) -> Tensor:
    """Returns the (B, N) lead of the likeliest class over the next; walks still under way count for neither."""
    top, second = largest(ends.classes.transpose(1, 2), 2)  # in memory classes are second
    return top - second


def _between_landmarks(geometry: Geometry, back: Tensor) -> Tensor:
    """Returns the (B, L, L) columns of (B, L, N) `Geometry.attention` at the landmarks."""
    return geometry.at_landmarks(back.transpose(1, 2)).transpose(1, 2)


@remembered("moment")
def _labels(view: PoolView) -> tuple[Tensor, Tensor]:
    """Returns (B, L) whether a landmark ends a walk, and (B, L, K + 1) its classes with 1 in the last column.

    A labelled item that is no landmark counts at the nearest landmark.
    """
    geometry = view.geometry
    n_landmarks, k = geometry.landmarks.shape[1], view.class_mask.shape[1]
    ends = view.embeddings.new_zeros(len(view), n_landmarks, k + 1)
    if view.order.shape[1]:
        landmark = view.order.clamp(min=0)
        if not geometry.exact:
            landmark = take_rows(geometry.sq_dist, landmark).argmin(-1)
        label = torch.take_along_dim(view.labels, view.order.clamp(min=0), 1)
        hot = torch.nn.functional.one_hot(label.clamp(min=0), k) * (label >= 0).unsqueeze(-1)
        hot = torch.cat([hot, torch.ones_like(hot[..., :1])], -1) * view.order_mask.unsqueeze(-1)
        ends.scatter_add_(1, landmark.unsqueeze(-1).expand_as(hot), hot.to(ends))
    count = ends[..., -1:]
    return count[..., 0] > 0, ends / count.clamp(min=1)
