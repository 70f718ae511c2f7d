"""Distances and kernels of a pool, exact up to a stated size and against landmarks beyond it."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from math import e, log2
from typing import Any

import torch
from torch import Tensor

from metaal_env.batched import empty, squared_distances, take_rows
from metaal_env.compiled import loops_for
from metaal_env.pool.even_spacing import at_even_ranks, by_distance, evenly_spaced
from metaal_env.pool.remembered import remembered

MAX_LANDMARKS = 1024
"""Pools up to this size are treated exactly; larger ones against this many landmarks."""

LOG2_E = log2(e)


class Geometry:
    """Computes squared Euclidean distances from every pool item to a bounded set of landmarks.

    Cost and memory are O(B·N·L), linear in the pool. Kernel widths are relative to the pool's own mean
    squared distance, so the same width means the same in every embedding space.

    Args:
        embeddings: (B, N, D).
        valid: (B, N) bool, False at padding.
        max_landmarks: pools of at most this many items use all of them. Larger ones use items that are evenly
            spaced in their distance to the pool's mean.
        products: (B, N, N) inner products of the embeddings less any constant, if they are known. Distances then follow
            from them, without the embeddings.
    """

    def __init__(
        self,
        embeddings: Tensor,
        valid: Tensor,
        max_landmarks: int = MAX_LANDMARKS,
        products: Tensor | None = None,
    ):
        self.embeddings, self.valid = embeddings, valid
        self.exact = valid.shape[1] <= max_landmarks
        self.max_landmarks = max_landmarks
        self.products = products if self.exact else None
        self.memo: dict[Hashable, Any] = {}
        """Results of `remembered` functions, kept for as long as the embeddings stay the same."""
        self.before: Geometry | None = None
        """The geometry before the pools `replaced` were replaced; results for the others are taken from it."""
        self.replaced: Tensor | None = None

    def rows(self, index: Tensor) -> Geometry:
        """Returns the geometry of the pools at `index`, without what is remembered."""
        products = None if self.products is None else self.products[index]
        return Geometry(self.embeddings[index], self.valid[index], self.max_landmarks, products)

    @cached_property
    def fresh(self) -> Geometry:
        """Returns the geometry of the `replaced` pools alone."""
        assert self.replaced is not None
        return self.rows(self.replaced)

    def follow(self, before: Geometry, replaced: Tensor) -> None:
        """Lets results for all pools but those at (int64) `replaced` be taken from the geometry before."""
        before.before = None
        self.before, self.replaced = before, replaced

    def at_landmarks(self, values: Tensor) -> Tensor:
        """Maps (B, N, …) values of the items to (B, L, …) values of the landmarks."""
        return values if self.exact else take_rows(values, self.landmarks)

    @cached_property
    def landmarks(self) -> Tensor:
        """Returns the (B, L) pool positions of the landmarks."""
        return self.evenly_spaced(min(self.valid.shape[1], self.max_landmarks))

    @cached_property
    def by_distance(self) -> Tensor:
        """Returns `by_distance` of the pool's items."""
        return by_distance(self.embeddings, self.valid)

    def evenly_spaced(self, count: int) -> Tensor:
        """Returns `evenly_spaced` items of the pool, which are sorted once for all counts."""
        if count == self.valid.shape[1]:
            return evenly_spaced(self.embeddings, self.valid, count)
        return at_even_ranks(self.by_distance, self.valid, count)

    @cached_property
    def landmark_mask(self) -> Tensor:
        """Returns the (B, L) mask of the landmarks, False at padding."""
        return self.at_landmarks(self.valid)

    @cached_property
    def is_landmark(self) -> Tensor:
        """Returns the (B, N) mask of the real items that are landmarks."""
        return torch.zeros_like(self.valid).scatter_(1, self.landmarks, True) & self.valid

    @cached_property
    def sq_dist(self) -> Tensor:
        """Returns (B, N, L) squared distances to the landmarks."""
        if self.centred_products is not None:
            norms = self.centred_products.diagonal(dim1=1, dim2=2)
            distance = torch.add(norms.unsqueeze(2), self.centred_products, alpha=-2).add_(norms.unsqueeze(1))
            distance.clamp_(min=0).diagonal(dim1=1, dim2=2).zero_()
            return distance
        return squared_distances(self.items, self.at_landmarks(self.items))

    @cached_property
    def items(self) -> Tensor:
        """Returns the (B, N, D) centred embeddings, 0 at padding.

        Values at padding must not shift a centre, or digits are lost.
        """
        return self.centred * self.valid.unsqueeze(-1)

    @cached_property
    def scaled(self) -> Tensor:
        """Returns (B, N, D) embeddings at a mean squared distance of 1 between items; 0 at padding."""
        scale = self.mean_sq_dist.rsqrt().unsqueeze(1) * self.valid  # (B, N)
        out = empty(*self.embeddings.shape, like=self.embeddings)
        return torch.mul(self.embeddings, scale.unsqueeze(-1), out=out)

    @cached_property
    def centred_products(self) -> Tensor | None:
        """Returns (B, N, N) inner products of the `items`, where products are known."""
        if self.products is None:
            return None
        share = self._share.unsqueeze(2)  # (B, N, 1)
        row = self.products @ share
        total = share.transpose(1, 2) @ row
        offset = row - total / 2
        centred = (self.products - offset).sub_(offset.transpose(1, 2))
        if not self.all_landmarks_real:
            centred.mul_(self.valid.unsqueeze(1)).mul_(self.valid.unsqueeze(2))
        return centred

    @cached_property
    def mean_sq_dist(self) -> Tensor:
        """Returns (B,) mean squared distance between two items: twice the total variance.

        Cost O(N·D), or O(N²) where products are known.
        """
        if self.products is not None:
            share = self._share.unsqueeze(1)  # (B, 1, N)
            norms = share @ self.products.diagonal(dim1=1, dim2=2).unsqueeze(2)
            between = (share @ self.products) @ share.transpose(1, 2)
            return (2 * (norms - between)).flatten().clamp(min=1e-12)
        count = self.valid.sum(1).clamp(min=1)
        return (2 * (self.centre_sq_dist * self.valid).sum(1) / count).clamp(min=1e-12)

    def gaussian(self, radius: Tensor, out: Tensor | None = None) -> Tensor:
        """Maps (B,) squared radii to (B, N, L) similarities ``exp(−d² / radius)``; 0 at padded landmarks."""
        if out is None:
            out = empty(*self.sq_dist.shape, like=self.sq_dist)
        # exp2 is more than twice as fast as exp on CPUs.
        kernel = torch.mul(self.sq_dist, (-LOG2_E / radius).view(-1, 1, 1), out=out).exp2_()
        return kernel if self.all_landmarks_real else kernel.mul_(self.landmark_mask.unsqueeze(1))

    @cached_property
    def scratch(self) -> Tensor:
        """Returns (B, N, L) memory for one temporary result; allocating it anew costs more than computing."""
        return empty(*self.sq_dist.shape, like=self.sq_dist)

    @cached_property
    def all_landmarks_real(self) -> bool:
        """Returns whether no landmark is padding, so that nothing has to be masked."""
        return bool(self.landmark_mask.all())

    def coverage_gain(self, radius: Tensor, covered: Tensor, weight: Tensor | None = None) -> Tensor:
        """Returns (B, N) means over the landmarks of `weight` times what similarity exceeds `covered` by.

        The kernel is computed anew each time, which costs less than to keep it in memory.

        Args:
            radius: (B,) squared radii of `gaussian`.
            covered: (B, L).
            weight: (B, L), by default 1.
        """
        real = self.landmark_mask.to(self.sq_dist)
        weight = real if weight is None else weight * real
        if fast := loops_for(self.sq_dist):
            total = fast.gaussian_gains(self.sq_dist, radius, covered, weight)
        else:
            gain = self.gaussian(radius, out=self.scratch).sub_(covered.unsqueeze(1)).relu_()
            # From the left: a product with one column is slow in a batch.
            total = (weight.unsqueeze(1) @ gain.transpose(1, 2)).squeeze(1)
        return total / real.sum(1, keepdim=True).clamp(min=1)  # type: ignore[no-any-return]

    @remembered("pool")
    def density(self, width: float) -> Tensor:
        """Returns the (B, N) mean similarity ``exp(−d² / (width · mean d²))`` to the pool."""
        return self.coverage_gain(width * self.mean_sq_dist, torch.zeros_like(self.sq_dist[:, 0]))

    @cached_property
    def contrast(self) -> Tensor:
        """Returns the (B,) standard deviation of the squared distances over their mean.

        It is about 1 in few dimensions and small in many. No distance is computed: with a the squared distances to
        the mean and C the covariance of the items, Var d² = 2 Var a + 4 ‖C‖² for two items drawn independently.
        Cost O(N·D·min(N, D)).
        """
        weight = self._share.unsqueeze(1)  # (B, 1, N)
        apart = self.centre_sq_dist.unsqueeze(2)
        mean = weight @ apart
        variance = (weight @ (apart - mean).square()).flatten()
        if self.centred_products is not None:
            product = self.centred_products / self.valid.sum(1).clamp(min=1).view(-1, 1, 1)
        else:
            items = self.centred * self._share.sqrt().unsqueeze(2)
            if items.shape[1] > items.shape[2]:
                items = items.transpose(1, 2)
            product = items @ items.transpose(1, 2)  # the covariance, or another matrix of its norm
        total = 2 * variance + 4 * product.flatten(1).square().sum(1)
        return (total / self.mean_sq_dist.square()).clamp(min=1e-6).sqrt()

    @cached_property
    def nearest_other(self) -> Tensor:
        """Returns (B, N) squared distance to the nearest other landmark; 0 where there is none."""
        if self.exact and (fast := loops_for(self.sq_dist)):
            return fast.nearest_other(self.sq_dist, self.landmark_mask)  # type: ignore[no-any-return]
        others = self.scratch.copy_(self.sq_dist).scatter_(1, self.landmarks.unsqueeze(1), torch.inf)
        if not self.all_landmarks_real:
            others.masked_fill_(~self.landmark_mask.unsqueeze(1), torch.inf)
        return others.amin(-1).nan_to_num_(posinf=0.0)

    @remembered("pool")
    def attention(self, softness: float) -> Tensor:
        """Returns (B, L, N) softmax over the *other* landmarks of −d², in units of its deviation over the pool.

        Unlike `gaussian` it separates near from far where all distances are large and similar, as among embeddings
        of texts. Columns sum to 1, or are 0 for an item without others: in products with rows of values from the left,
        which are fast, the items come last.
        """
        scale = softness * self.contrast * self.mean_sq_dist
        if self.exact and (fast := loops_for(self.sq_dist)):
            least = self.nearest_other
            return fast.attention(self.sq_dist, least, scale, self.landmark_mask)  # type: ignore[no-any-return]
        # In place, because fresh memory of this size costs more than the sums; exp2 as in `gaussian`.
        out = empty(*self.sq_dist.shape, like=self.sq_dist)
        weights = torch.sub(self.nearest_other.unsqueeze(-1), self.sq_dist, out=out)
        weights.mul_((LOG2_E / scale).view(-1, 1, 1)).exp2_()
        if not self.all_landmarks_real:  # where they may have overflowed
            weights.masked_fill_(~self.landmark_mask.unsqueeze(1), 0.0)
        weights.scatter_(1, self.landmarks.unsqueeze(1), 0.0)  # not itself
        return weights.div_(weights.sum(-1, keepdim=True).clamp_(min=1e-30)).transpose(1, 2)

    @property
    def knows_distances(self) -> bool:
        """Returns whether all distances are at hand, or cost next to nothing."""
        return self.exact and (self.products is not None or "sq_dist" in self.__dict__)

    def sq_dist_from(self, positions: Tensor) -> Tensor:
        """Maps (B, S) positions to (B, S, N) squared distances to every item, reusing known distances."""
        if self.knows_distances:
            return take_rows(self.sq_dist, positions)
        return squared_distances(take_rows(self.items, positions), self.items)

    @cached_property
    def _share(self) -> Tensor:
        """Returns the (B, N) weights of the items in a mean over the pool."""
        return (self.valid / self.valid.sum(1, keepdim=True).clamp(min=1)).to(self.embeddings.dtype)

    @cached_property
    def centred(self) -> Tensor:
        """Returns (B, N, D) embeddings less the pool's mean."""
        return self.embeddings - self._share.unsqueeze(1) @ self.embeddings

    @cached_property
    def centre_sq_dist(self) -> Tensor:
        """Returns (B, N) squared distance to the pool's mean."""
        if self.centred_products is not None:
            return self.centred_products.diagonal(dim1=1, dim2=2).clamp(min=0)
        return self.centred.square().sum(-1)
