"""The expected gain of a label, averaged over plausible partitions of the pool: look-ahead without hidden labels.

A nearest-mean classifier in the pool's coordinates stands in for the learner. It is fitted to the labels and judged on
the pool, where each class of a partition counts equally, as in a balanced test set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.pool import compiled
from metaal_env.pool.partitions import Partitions, partitions
from metaal_env.pool.remembered import remembered
from metaal_env.pool.sampled_clusterings import clusterings, coordinates
from metaal_env.pool.view import PoolView

SOFTNESS = 2.0
"""Softness of the stand-in's probabilities."""

EVERY = 2
"""Every second partition is used, which halves the cost; chosen on validation tasks, see docs/log/2026-11.md."""

NONE = -1e9
"""Score of a class without a label where it cannot be predicted."""


class Classifier(NamedTuple):
    """Holds the nearest-mean classifier before the label: −d² / (1 + 1 / n) for a class with n labels."""

    now: Tensor  # (B, K, E) scores of the partitioned items
    counts: Tensor  # (B, K)
    factor: Tensor  # (B, K) weight of a squared distance once the class has one more label


def _classifier(view: PoolView, found: Partitions) -> Classifier:
    x = found.clusterings.x
    some = view.counts.clamp(min=1).unsqueeze(-1)  # (B, K, 1)
    product = found.support @ x.transpose(1, 2)  # (B, K, E)
    norm = found.support.square().sum(-1, keepdim=True)
    distance = x.square().sum(-1).unsqueeze(1) - 2 * product / some + norm / some.square()
    return Classifier(-distance / (1 + 1 / some), view.counts, 1 / (1 + 1 / (view.counts + 1)))


def expected_accuracy(view: PoolView) -> Tensor:
    """Returns the (B, N) expected accuracy on the pool once the item is labelled.

    Classes count equally. The mean is taken over `partitions`. Only classes with a label are ever predicted.
    Cost O(M·N·E).
    """
    if fast := compiled.loops(view):
        return fast.gains(view, SOFTNESS, EVERY)[0]  # type: ignore[no-any-return]
    found = partitions(view)
    model = _classifier(view, found)
    scores = model.now.masked_fill(~view.seen.unsqueeze(-1), NONE)
    best, second = _two_best(scores)
    numbers = torch.arange(scores.shape[1], device=scores.device).view(1, -1, 1)
    own = best.indices == numbers  # (B, K, E)
    rival = torch.where(own, second.values, best.values)
    guess = torch.where(own, second.indices, best.indices).masked_fill(rival <= NONE, -1)

    def right(truth: Tensor) -> Tensor:  # without the new class's say
        return (guess == truth).to(scores)

    return _expected(view, found, model.counts, rival / model.factor.unsqueeze(-1), right, None)


@remembered("moment")
def present_accuracy(view: PoolView) -> Tensor:
    """Returns the (B,) expected accuracy on the pool without a further label; see `expected_accuracy`."""
    found = partitions(view)
    scores = _classifier(view, found).now.masked_fill(~view.seen.unsqueeze(-1), NONE)  # (B, K, E)
    numbers = torch.arange(scores.shape[1], device=scores.device).view(1, -1, 1)
    guessed = (scores.argmax(1, keepdim=True) == numbers) & view.seen.unsqueeze(-1)
    member = found.member[:, ::EVERY]  # (B, M, K, E)
    share = member / (member.sum(-1, keepdim=True).clamp(min=1) * view.way.view(-1, 1, 1, 1))
    return (share * guessed.unsqueeze(1)).sum((2, 3)).mean(1)


def expected_likelihood(view: PoolView) -> Tensor:
    """Returns the (B, N) expected mean probability of the true class once the item is labelled.

    As in `expected_accuracy`, but classes without a label are predicted with the density of the whole pool. So it
    also ranks items that only later labels can classify correctly.
    """
    if fast := compiled.loops(view):
        return fast.gains(view, SOFTNESS, EVERY)[1]  # type: ignore[no-any-return]
    found = partitions(view)
    model = _classifier(view, found)
    within = found.clusterings.within.mean(1)
    slope = (found.clusterings.sharpness / (2 * SOFTNESS * within)).view(-1, 1, 1)
    anywhere = (
        -slope
        * within.view(-1, 1, 1)
        * (found.clusterings.x.square().sum(-1).unsqueeze(1) - (2 * within).log().view(-1, 1, 1))
    )
    scores = torch.where(view.seen.unsqueeze(-1), slope * model.now, anywhere)
    scores = scores.masked_fill(~view.class_mask.unsqueeze(-1), NONE)
    rest = _without_each(scores)  # (B, K, E)

    def right(truth: Tensor) -> Tensor:
        own = torch.take_along_dim(scores, truth, 1)
        # More than 1 only for the new class itself, which does not count.
        return (own - rest).clamp(max=0).exp()

    threshold = rest / (slope * model.factor.unsqueeze(-1))
    return _expected(view, found, model.counts, threshold, right, slope.squeeze(-1) * model.factor)


def _two_best(scores: Tensor) -> tuple[torch.return_types.max, torch.return_types.max]:
    best = scores.max(1, keepdim=True)
    return best, scores.scatter(1, best.indices, 2 * NONE).max(1, keepdim=True)


def _without_each(scores: Tensor) -> Tensor:
    """Returns (B, K, E) log-sum-exp of the scores of all other classes."""
    total = scores.logsumexp(1, keepdim=True)
    top = scores.argmax(1, keepdim=True)
    others = scores.scatter(1, top, NONE).logsumexp(1, keepdim=True)
    share = (scores - total).exp().scatter(1, top, 0.0)
    return (total + torch.log1p(-share)).scatter(1, top, others)


def _expected(
    view: PoolView,
    found: Partitions,
    counts: Tensor,
    threshold: Tensor,
    right: Callable[[Tensor], Tensor],
    slope: Tensor | None,
) -> Tensor:
    """Returns the (B, N) mean score over items and partitions after the label.

    An item at squared distance d² of the new mean of class y then goes to y with probability
    σ(slope · (−d² − threshold)), or if −d² > threshold where there is no slope. Otherwise it stays.

    Args:
        threshold: (B, K, E).
        right: maps (B, 1, E) true classes to the (B, K, E) scores of the items that stay, were class y absent.
        slope: (B, K).
    """
    everyone, x = coordinates(view.geometry), found.clusterings.x
    after = (counts + 1).unsqueeze(-1)  # (B, K, 1)
    # −d² − threshold = 2 (xᵢ·xₑ − near − far) / after, from inner products that are known already.
    near = after / 2 * (x.square().sum(-1).unsqueeze(1) + threshold) - found.support @ x.transpose(1, 2)
    far = found.support.square().sum(-1, keepdim=True)  # (B, K, 1)
    far = far + 2 * found.support @ everyone.transpose(1, 2) + everyone.square().sum(-1).unsqueeze(1)
    far = far / (2 * after)  # (B, K, N)
    product = _products(view)
    numbers = torch.arange(counts.shape[1], device=x.device).view(-1, 1)
    member, everyones = found.member[:, ::EVERY], found.everyone[:, ::EVERY]
    share = member / (member.sum(-1, keepdim=True).clamp(min=1) * view.way.view(-1, 1, 1, 1))
    weight, truth = share.sum(2), (member * numbers).sum(2).long()  # (B, M, E)
    total, margin = torch.zeros_like(everyone[..., 0]), torch.empty_like(product)
    # A last row that is multiplied with 1: what depends on the item alone.
    near = torch.cat([near, torch.ones_like(near[:, :1])], 1)
    for m in range(everyones.shape[1]):
        # (B, K, E), (B, K, N), (B, 1, E)
        is_class, y, w = member[:, m], everyones[:, m], weight[:, m].unsqueeze(1)
        stays = right(truth[:, m].unsqueeze(1)) * (1 - is_class)
        of_class = torch.cat([y, (y * far).sum(1, keepdim=True)], 1).transpose(1, 2)
        # Products with one-hot rows instead of rows taken: one pass over N × E numbers instead of five.
        torch.baddbmm(product, of_class, near, alpha=-1, out=margin)
        if slope is None:
            margin.gt_(0)
        else:
            margin.mul_(y.transpose(1, 2) @ (2 * slope.unsqueeze(-1) / after)).sigmoid_()
        won = (w * (is_class - stays)) @ margin.transpose(1, 2)  # (B, K, N)
        total += (y * (won + (w * stays).sum(-1, keepdim=True))).sum(1)
    return total / everyones.shape[1]


@remembered("pool")
def _products(view: PoolView) -> Tensor:
    """Returns (B, N, E) inner products of all items with the partitioned ones."""
    return coordinates(view.geometry) @ clusterings(view).x.transpose(1, 2)
