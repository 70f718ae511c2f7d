"""Gibbs sampling of the memberships in a mixture of spherical Gaussians, for several chains of B pools at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCKS = 4
"""Parts of the items that are drawn anew together, each given the others."""

ROUNDS = 1
"""Sweeps in which items settle once labels have named some of the classes."""

ALPHA = 1.0
"""Concentration of the Dirichlet prior of class sizes."""


class Items(NamedTuple):
    """B pools of E items in the forms in which chains take them; made once."""

    x: Tensor  # (B, E, D)
    norms: Tensor  # (B, E) squared
    columns: Tensor  # (B, D + 2, E): coordinates, squared norm and 1 below each other

    @classmethod
    def of(cls, x: Tensor) -> Items:
        """Returns them of (B, E, D) coordinates."""
        norms = x.square().sum(-1)
        columns = torch.cat([x, norms.unsqueeze(2), torch.ones_like(norms).unsqueeze(2)], 2)
        return cls(x, norms, columns.transpose(1, 2).contiguous())

    def blocks(self) -> list[Items]:
        """Returns every `BLOCKS`-th item, from each of the first ones on."""
        rows = [slice(block, None, BLOCKS) for block in range(BLOCKS)]
        return [
            Items(self.x[:, r].contiguous(), self.norms[:, r], self.columns[:, :, r].contiguous())
            for r in rows
        ]


class Chains:
    """Holds memberships and their statistics, with means integrated out (Neal 2000, algorithm 3, by blocks).

    With n members of sum s, an item at squared distance d² of the shrunk mean s / (n + κ) has the log-probability

        log(n + α) − ½ δ (log v + d² / (w v)),   v = 1 + 1 / (n + κ),  κ = w / (1 − w).

    Items come last in every tensor: what is done class by class is then vectorised over them.

    Args:
        items: E items of total variance 1.
        blocks: their `Items.blocks`.
        member: (B, M, K, E) 1 at the item's class, all 0 for items in none.
        within: (B, M) variance w within classes.
        sharpness: (B,) dimension δ.
        class_mask: (B, K) bool, True at the classes that exist.
    """

    def __init__(
        self,
        items: Items,
        blocks: list[Items],
        member: Tensor,
        within: Tensor,
        sharpness: Tensor,
        class_mask: Tensor,
    ):
        self.items, self.blocks, self.member, self.within = items, blocks, member, within
        self.half = sharpness.view(-1, 1, 1) / 2
        self.closed = torch.zeros_like(class_mask, dtype=member.dtype)
        self.closed = self.closed.masked_fill_(~class_mask, -torch.inf)[:, None]
        self.sums = _sums(member, items.x)  # (B, M, K, D)
        self.counts = member.sum(-1)  # (B, M, K)

    @property
    def means(self) -> Tensor:
        """Returns the (B, M, K, D) class means; 0 for an empty class."""
        return self.sums / self.counts.clamp(min=1).unsqueeze(-1)

    def add(self, sums: Tensor, counts: Tensor) -> None:
        """Adds items that never move, given by their (B, K, D) sums and (B, K) counts."""
        self.sums = self.sums + sums.unsqueeze(1)
        self.counts = self.counts + counts.unsqueeze(1)

    def log_probability(self, items: Items) -> Tensor:
        """Returns (B, M, K, R) log-probabilities of R items, up to a term that all classes share."""
        w = self.within.unsqueeze(-1)
        shrunk = self.counts + w / (1 - w)
        wider = 1 + 1 / shrunk
        slope = self.half / (w * wider)  # (B, M, K)
        constant = (self.counts + ALPHA).log() - self.half * wider.log() + self.closed
        constant = constant - slope * self.sums.square().sum(-1) / shrunk.square()
        # One product: −slope · ‖x − s / (n + κ)‖² is linear in x, ‖x‖² and 1.
        rows = [self.sums * (2 * slope / shrunk).unsqueeze(-1), -slope.unsqueeze(-1), constant.unsqueeze(-1)]
        return (torch.cat(rows, -1).flatten(1, 2) @ items.columns).unflatten(1, slope.shape[1:])

    def likeliest(self, items: Items) -> Tensor:
        """Returns (B, M, K, R), 1 at the class with the largest log-probability of each of R items."""
        return _largest(self.log_probability(items))

    def sweep(self, free: Tensor, noise: Tensor | None = None) -> None:
        """Draws the classes of the (B, E) items in `free` anew with (B, M, K, E) Gumbel `noise`.

        Without noise each item takes its likeliest class.
        """
        for block, items in enumerate(self.blocks):
            rows = slice(block, None, BLOCKS)
            old, moving = self.member[..., rows], free[:, None, None, rows]
            given = old * moving
            self.sums = self.sums - _sums(given, items.x)
            self.counts = self.counts - given.sum(-1)
            chance = self.log_probability(items)
            new = _largest(chance if noise is None else chance + noise[..., rows]) * moving
            self.sums = self.sums + _sums(new, items.x)
            self.counts = self.counts + new.sum(-1)
            self.member[..., rows] = torch.where(moving, new, old)

    def update_within(self, real: Tensor) -> None:
        """Updates the variance within classes from the (B, E) `real` items; it is near one half where these are few."""
        total = (self.items.norms * real).sum(1, keepdim=True)
        explained = (self.sums.square().sum(-1) / self.counts.clamp(min=1)).sum(-1)  # (B, M)
        freedom = real.sum(1, keepdim=True) - (self.counts > 0).sum(-1)
        self.within = ((total - explained + 5) / (freedom + 10)).clamp(0.02, 0.95)

    def mean_sq_dist(self, items: Items, member: Tensor) -> Tensor:
        """Returns the (B, R) squared distance of R items of (B, M, K, R) classes to the class's mean, over chains."""
        means = self.means
        rows = torch.cat(
            [-2 * means, torch.ones_like(means[..., :1]), means.square().sum(-1, keepdim=True)], -1
        )
        distance = (rows.flatten(1, 2) @ items.columns).mul_(member.flatten(1, 2)).sum(1) / member.shape[1]
        # An item of no class in some chain is at its distance to the pool's mean there.
        return distance + items.norms * (1 - member.sum((1, 2)) / member.shape[1])


def _sums(member: Tensor, x: Tensor) -> Tensor:
    """Maps (B, M, K, R) memberships and (B, R, D) items to (B, M, K, D)."""
    return (member.flatten(1, 2) @ x).unflatten(1, member.shape[1:3])


def _largest(values: Tensor) -> Tensor:
    """(B, M, K, R) → 1 at the first of the largest over K, else 0; argmax is slow over what is not last."""
    rank = torch.arange(values.shape[2], 0, -1, device=values.device, dtype=values.dtype).view(-1, 1)
    first = ((values == values.amax(2, keepdim=True)) * rank).amax(2, keepdim=True)
    return (first == rank).to(values)
