"""Gibbs sampling of the memberships in a mixture of spherical Gaussians, for several chains of B pools at once."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCKS = 4
"""Parts of the items that are drawn anew together, each given the others."""

ALPHA = 1.0
"""Concentration of the Dirichlet prior of class sizes."""


class Chains:
    """Holds memberships and their statistics, with means integrated out (Neal 2000, algorithm 3, by blocks).

    With n members of sum s, an item at squared distance d² of the shrunk mean s / (n + κ) has the log-probability

        log(n + α) − ½ δ (log v + d² / (w v)),   v = 1 + 1 / (n + κ),  κ = w / (1 − w).

    Args:
        x: (B, E, D) items of total variance 1.
        member: (B, E, M, K) 1 at the item's class, all 0 for items in none.
        within: (B, M) variance w within classes.
        sharpness: (B,) dimension δ.
        class_mask: (B, K) bool, True at the classes that exist.
    """

    def __init__(self, x: Tensor, member: Tensor, within: Tensor, sharpness: Tensor, class_mask: Tensor):
        self.x, self.member, self.within = x, member, within
        self.half = sharpness.view(-1, 1, 1) / 2
        offset = torch.zeros_like(class_mask, dtype=x.dtype).masked_fill_(~class_mask, -torch.inf)
        self.closed = offset[:, None, None]
        self.sums = _sums(member, x)  # (B, M, K, D)
        self.counts = member.sum(1)  # (B, M, K)

    @property
    def means(self) -> Tensor:
        """Returns the (B, M, K, D) class means; 0 for an empty class."""
        return self.sums / self.counts.clamp(min=1).unsqueeze(-1)

    def add(self, sums: Tensor, counts: Tensor) -> None:
        """Adds items that never move, given by their (B, K, D) sums and (B, K) counts."""
        self.sums = self.sums + sums.unsqueeze(1)
        self.counts = self.counts + counts.unsqueeze(1)

    def log_probability(self, x: Tensor) -> Tensor:
        """Maps (B, R, D) items to (B, R, M, K) log-probabilities, up to a term that all classes share."""
        w = self.within.unsqueeze(-1)
        shrunk = self.counts + w / (1 - w)
        wider = 1 + 1 / shrunk
        slope = self.half / (w * wider)  # (B, M, K)
        constant = (self.counts + ALPHA).log() - self.half * wider.log()
        constant = constant - slope * self.sums.square().sum(-1) / shrunk.square()
        product = (x @ self.sums.flatten(1, 2).transpose(1, 2)).unflatten(2, self.counts.shape[1:])
        result = torch.addcmul(constant.unsqueeze(1), product, (2 * slope / shrunk).unsqueeze(1))
        result -= slope.unsqueeze(1) * x.square().sum(-1)[..., None, None]
        return result + self.closed

    def likeliest(self, x: Tensor) -> Tensor:
        """Maps (B, R, D) items to (B, R, M, K), 1 at the class with the largest log-probability."""
        return _largest(self.log_probability(x))

    def sweep(self, free: Tensor, noise: Tensor | None = None) -> None:
        """Draws the classes of the (B, E) items in `free` anew with (B, E, M, K) Gumbel `noise`.

        Without noise each item takes its likeliest class.
        """
        for block in range(BLOCKS):
            rows = slice(block, None, BLOCKS)
            x, old, moving = self.x[:, rows], self.member[:, rows], free[:, rows, None, None]
            given = old * moving
            self.sums = self.sums - _sums(given, x)
            self.counts = self.counts - given.sum(1)
            chance = self.log_probability(x)
            new = _largest(chance if noise is None else chance + noise[:, rows]) * moving
            self.sums = self.sums + _sums(new, x)
            self.counts = self.counts + new.sum(1)
            self.member[:, rows] = torch.where(moving, new, old)

    def update_within(self, real: Tensor) -> None:
        """Updates the variance within classes from the (B, E) `real` items; it is near one half where these are few."""
        total = (self.x.square().sum(-1) * real).sum(1, keepdim=True)
        explained = (self.sums.square().sum(-1) / self.counts.clamp(min=1)).sum(-1)  # (B, M)
        freedom = real.sum(1, keepdim=True) - (self.counts > 0).sum(-1)
        self.within = ((total - explained + 5) / (freedom + 10)).clamp(0.02, 0.95)

    def mean_sq_dist(self, x: Tensor, member: Tensor) -> Tensor:
        """Maps (B, R, D) items of (B, R, M, K) classes to (B, R) squared distance to the class's mean, over chains."""
        means = self.means
        product = (x @ means.flatten(1, 2).transpose(1, 2)).unflatten(2, self.counts.shape[1:])
        to_mean = means.square().sum(-1).unsqueeze(1) - 2 * product
        return x.square().sum(-1) + (to_mean * member).sum((2, 3)) / member.shape[2]


def _sums(member: Tensor, x: Tensor) -> Tensor:
    """Maps (B, R, M, K) memberships and (B, R, D) items to (B, M, K, D)."""
    return (member.flatten(2).transpose(1, 2) @ x).unflatten(1, member.shape[2:])


def _largest(values: Tensor) -> Tensor:
    return torch.zeros_like(values).scatter_(-1, values.argmax(-1, keepdim=True), 1.0)
