"""`PoolView`: all that a strategy may know about B pools. It holds no hidden label and no held-out set."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaal_env.batched import take_rows
from metaal_env.compiled import loops_for
from metaal_env.errors import InputError
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.pool.distances import LOG2_E, Geometry
from metaal_env.pool.from_arrays import (
    check_budget,
    check_embeddings,
    check_labels,
    check_learner,
    check_probs,
    labelling_order,
)
from metaal_env.pool.remembered import remembered
from metaal_env.pool.terms import Terms

FEW = 4096
"""Items of a batch below which one call costs more than the arithmetic in it."""


class Beliefs(NamedTuple):
    """Holds what a learner believes of B pools' items. Classes are second, so that what is done is done over items."""

    probs: Tensor  # (B, K, N) class probabilities; 0 outside the task's classes
    top: Tensor  # (3, B, N) the three largest, 0 where there are fewer classes
    entropy: Tensor  # (B, N) nats


@dataclass(eq=False)
class PoolView:
    """Holds all that is known about B pools at one moment.

    The core builds a view at every step; `agents.acquisition` builds one from a user's arrays. Derived quantities
    are computed on first use and kept.
    """

    embeddings: Tensor  # (B, N, D) under the adapted learner
    logits: Tensor  # (B, N, K) of the adapted learner
    valid: Tensor  # (B, N) bool, False at padding
    labelled: Tensor  # (B, N) bool, True once the oracle has been asked
    labels: Tensor  # (B, N) int64 revealed class; −1 if unknown or a distractor
    order: Tensor  # (B, S) int64 pool positions in the order of labelling; −1 at padding
    class_mask: Tensor  # (B, K) bool
    budget: Tensor  # (B,) int64 labels an episode may buy
    budget_left: Tensor  # (B,) int64
    seed: Tensor  # (B,) int64, changes at every step
    geometry: Geometry
    learner: InnerLearner | None = None  # the adapted learner, for strategies that look ahead
    prepared: Tensor | None = None  # (B, N, *F) prepared items of the pool
    adapt: Callable[[], Adapted] | None = None  # the learner's adaptation to the labels
    terms: Terms | None = None  # None where every label costs one of the budget and is revealed at once

    @classmethod
    @torch.no_grad()
    def from_arrays(
        cls,
        embeddings: np.ndarray | Tensor,
        probs: np.ndarray | Tensor | None = None,
        labels: np.ndarray | Tensor | None = None,
        *,
        budget: int | None = None,
        seed: int = 0,
        learner: InnerLearner | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> PoolView:
        """Builds a view of a user's own pool.

        Args:
            embeddings: (N, D) or (B, N, D).
            probs: (N, K) or (B, N, K) class probabilities of the user's classifier; without them `learner`
                adapts to the labels and predicts.
            labels: (N,) or (B, N) integers in [0, K), −1 where unknown; by default all are unknown.
            budget: labels still to buy; by default all unlabelled items.
            seed: of the random numbers of stochastic strategies.
            learner: an inner learner over `embeddings` for strategies that re-adapt it, e.g.
                ``LEARNERS["prototype"]((D,))``.
            dtype: of every float in the view except the learner's results; float64 for comparisons.

        Raises:
            InputError: an argument of the wrong type or shape, values that are not finite, labels that are no whole
                numbers from −1 up, or neither probs nor learner.
        """
        x = check_embeddings(embeddings, device, dtype)
        y = check_labels(labels, x)
        p = None if probs is None else check_probs(probs, y, x)
        if p is None and learner is None:
            raise InputError("probs=None needs a learner to predict with; give one of the two.")
        b, n = y.shape
        k = max(2, int(y.max()) + 1) if p is None else p.shape[2]
        labelled, order = y >= 0, labelling_order(y)
        class_mask = torch.ones(b, k, dtype=torch.bool, device=x.device)
        logits = None if p is None else p.log()
        prepared = adapted = None
        if learner is not None:
            learner = check_learner(learner, x.device)
            prepared = learner.prepare_all(x.flatten(0, 1)).unflatten(0, (b, n))
            support_labels = torch.take_along_dim(y, order.clamp(min=0), 1)
            adapted = learner.adapt(take_rows(prepared, order), support_labels, order >= 0, class_mask)
            x = learner.embed(adapted, prepared)
            logits = learner.predict(adapted, prepared) if logits is None else logits
        assert logits is not None
        valid = torch.ones_like(labelled)
        left = check_budget(budget, (~labelled).sum(1))
        return cls(
            embeddings=x,
            logits=logits,
            valid=valid,
            labelled=labelled,
            labels=y,
            order=order,
            class_mask=class_mask,
            budget=left,
            budget_left=left,
            seed=torch.full((b,), seed, device=x.device),
            geometry=Geometry(x, valid),
            learner=learner,
            prepared=prepared,
            adapt=None if adapted is None else lambda: adapted,
        )

    def with_pending(self, pick: Tensor, label: Tensor | None = None) -> PoolView:
        """Returns the view after the (B,) items `pick` have been sent for labelling; −1 sends none.

        They count as labelled without a class, or with the (B,) `label`, so geometry rules see them as covered.
        The learner's predictions do not change.
        """
        sent = torch.nn.functional.one_hot(pick.clamp(min=0), self.valid.shape[1]).bool() & (
            pick >= 0
        ).unsqueeze(1)
        labels = self.labels if label is None else torch.where(sent, label.unsqueeze(1), self.labels)
        new = replace(
            self,
            labelled=self.labelled | sent,
            labels=labels,
            order=torch.cat([self.order, pick.unsqueeze(1)], 1),
            budget_left=(self.budget_left - (pick >= 0).long()).clamp(min=0),
            seed=self.seed + 1,  # stochastic rules draw anew for every pick
            terms=None if self.terms is None else self.terms.picked(pick),
        )
        if "beliefs" in self.__dict__:
            new.__dict__["beliefs"] = self.beliefs
        if "labelled_sq_dist" in self.__dict__:  # one more row, not all anew
            row = self.geometry.sq_dist_from(pick.unsqueeze(1)).masked_fill(
                (pick < 0).view(-1, 1, 1), torch.inf
            )
            new.__dict__["labelled_sq_dist"] = torch.cat([self.labelled_sq_dist, row], 1)
        return new

    @cached_property
    def adapted(self) -> Adapted | None:
        """Returns the learner's adaptation to the labels; None without a learner."""
        return self.adapt() if self.adapt is not None else None

    def rows(self, index: Tensor) -> PoolView:
        """Returns the view of the pools at `index` (int64), without the learner."""
        names = ("embeddings", "logits", "valid", "labelled", "labels", "order", "class_mask", "budget")
        taken = {name: getattr(self, name)[index] for name in (*names, "budget_left", "seed")}
        terms = None if self.terms is None else self.terms.rows(index)
        return PoolView(**taken, geometry=self.geometry.rows(index), terms=terms)

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def device(self) -> torch.device:
        return self.embeddings.device

    @cached_property
    def selectable(self) -> Tensor:
        """Returns the (B, N) mask of what may be labelled next: real items without a label that can be paid for."""
        free = self.valid & ~self.labelled
        return free if self.terms is None else free & self.terms.affordable

    @cached_property
    def order_mask(self) -> Tensor:
        """Returns the (B, S) mask of `order`, True where it names an item."""
        return self.order >= 0

    @cached_property
    def beliefs(self) -> Beliefs:
        """Returns the class probabilities that the logits stand for, the largest of them, and their entropy."""
        logits = self.logits.transpose(1, 2)
        if fast := loops_for(logits):
            return Beliefs(*fast.beliefs(logits))
        logs = torch.log_softmax(logits, 1)
        probs = torch.mul(logs, LOG2_E).exp2_()  # on CPUs faster than exp
        return Beliefs(probs, largest(probs, 3), -(probs * logs).sum(1))

    @cached_property
    def probs(self) -> Tensor:
        """Returns (B, N, K) class probabilities; 0 outside the task's classes."""
        return self.beliefs.probs.transpose(1, 2).contiguous()

    @cached_property
    def counts(self) -> Tensor:
        """Returns the (B, K) numbers of labels revealed per class, as floats."""
        counts = self.embeddings.new_zeros(len(self), self.class_mask.shape[1] + 1)
        known = self.labels.clamp(min=-1) + 1
        return counts.scatter_add_(1, known, counts.new_ones(1).expand(known.shape))[:, 1:]

    @cached_property
    def seen(self) -> Tensor:
        """Returns the (B, K) mask of classes with at least one label."""
        return self.counts > 0

    @cached_property
    def labelled_sq_dist(self) -> Tensor:
        """Returns (B, S, N) squared distances from the items of `order` to every item; inf at padding."""
        return self.geometry.sq_dist_from(self.order).masked_fill(~self.order_mask.unsqueeze(-1), torch.inf)

    @cached_property
    def nearest_sq_dist(self) -> Tensor:
        """Returns (B, N) squared distance to the nearest labelled item; inf before the first label."""
        if self.order.shape[1] == 0:
            return torch.full_like(self.embeddings[..., 0], torch.inf)
        if self.geometry.knows_distances and (fast := loops_for(self.embeddings)):
            return fast.nearest(self.geometry.sq_dist, self.order)  # type: ignore[no-any-return]
        return self.labelled_sq_dist.amin(1)

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """Results of `remembered` functions of this moment."""
        return {}

    @remembered("moment")
    def nearest_similarity(self, width: float) -> Tensor:
        """Returns (B, N) kernel similarity to the nearest labelled item; 0 before the first label."""
        radius = width * self.geometry.mean_sq_dist
        return torch.exp(-self.nearest_sq_dist / radius.unsqueeze(1))

    def coverage(self, width: float) -> Tensor:
        """Returns (B, L) similarity of every landmark to its nearest labelled item; 0 at padding."""
        return self.geometry.at_landmarks(self.nearest_similarity(width)) * self.geometry.landmark_mask

    @cached_property
    def way(self) -> Tensor:
        """Returns (B,) number of classes."""
        return self.class_mask.sum(1)

    def random(self, draw: Callable[[np.random.Generator], np.ndarray], stream: int = 0) -> Tensor:
        """Returns (B, …) random numbers, drawn episode by episode so that a batch equals its members alone.

        Args:
            draw: takes an array from a generator, e.g. ``lambda rng: rng.random(n)``.
            stream: a strategy's own seed, so that its numbers do not depend on another's.
        """
        rows = [draw(np.random.default_rng([seed, stream])) for seed in self.seed.tolist()]
        return torch.from_numpy(np.stack(rows)).to(self.device, torch.get_default_dtype())


def largest(values: Tensor, count: int) -> Tensor:
    """Returns the (`count`, B, N) largest over K of (B, K, N) values that are not negative; 0 where K is smaller."""
    b, k, n = values.shape
    if b * n < FEW or values.device.type != "cpu":
        return (
            torch.nn.functional.pad(values, (0, 0, 0, max(0, count - k)))
            .topk(count, 1)
            .values.transpose(0, 1)
        )
    # On a CPU `torch.topk` takes ten times as long.
    top = list(values.new_zeros(count, b, n))
    for value in values.unbind(1):
        for place, known in enumerate(top):
            top[place], value = torch.maximum(known, value), torch.minimum(known, value)
    return torch.stack(top)
