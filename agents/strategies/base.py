"""`Strategy`: one verb, ``score(view)``, shared by hand-written rules and learned policies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from metaal_env.batched import unit_range
from metaal_env.errors import InputError
from metaal_env.features.rules import HERDING_WIDTH
from metaal_env.oracle import LabelOracle
from metaal_env.pool.terms import terms_of
from metaal_env.pool.view import PoolView
from metaal_env.registry import Registry

SAME = 1e-6
"""Differences between probabilities below this are rounding."""


class Strategy(ABC):
    """Ranks the items of B pools.

    Args:
        seed: stream of a stochastic strategy's random numbers; deterministic ones ignore it.

    Attributes:
        privileged: whether this is a reference that looks at hidden labels. Such strategies are marked in every
            table and refused on a user's own pool.
        stochastic: whether scores depend on random numbers beyond those of a cold start.
        needs_learner: whether the rule re-adapts the inner learner, so that the view must hold one.
        grows_with_classes: whether time and memory grow with items times classes, beyond the probabilities
            themselves. In a user's pool with hundreds of classes, fewer items are then scored.
        counts_classes: whether scores depend on how many classes there are. In a user's pool without named classes
            their number is then inferred, see `metaal_env.pool.class_count`.
        wants_classifier: whether scores are better under a classifier like a user's than under metaal's own head. On a
            user's pool without one, logistic regression then stands in.
        diversifies: whether a picked item lowers the scores of nearby items even before its label is known.
            Batches are then plain greedy re-scoring; otherwise `select_batch` penalises redundancy itself.
        believes: whether batches from a user's pool are better chosen by believing each pick's likely label, see
            `agents.acquisition.belief`, than by penalising redundancy.
        remark: is said after the reasons for a pick, where a rule stands in for the policy that was asked for.
    """

    privileged: bool = False
    stochastic: bool = False
    needs_learner: bool = False
    grows_with_classes: bool = False
    counts_classes: bool = False
    wants_classifier: bool = False
    diversifies: bool = False
    believes: bool = False
    remark: str = ""

    def __init__(self, *, seed: int = 0):
        self.seed = seed

    @abstractmethod
    def score(self, view: PoolView) -> Tensor:
        """Returns (B, N) scores, higher = label first. Values at unselectable items are ignored."""

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        """Returns (B,) int64 pool positions to label next; ties go to the first item.

        In an open batch, a rule that does not diversify is penalised as in `select_batch`. Strategies for tasks with a
        price may return N to stop.
        """
        scores = check_scores(self.score(view), view, self)
        if not self.diversifies and view.terms is not None and bool(view.terms.pending.any()):
            scores = positive_scores(scores, view) * far_from_batch(view)
        return masked_scores(scores, view).argmax(1)

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        """Returns (B, size) int64 pool positions to label together, before any of their labels is known.

        Picks are greedy: after each one the item counts as labelled without a class, the learner does not change,
        and the rest are scored again. Rules that look at single items only would pick near-copies. Their scores,
        scaled to [.05, 1], are therefore multiplied by Π_j (1 − k(i, j)) over the picks j so far (local
        penalisation, González et al. 2016). Positions past the end of a pool are −1.
        """
        picks: list[Tensor] = []
        penalty = torch.ones_like(view.embeddings[..., 0])  # (B, N)
        for _ in range(size):
            if self.diversifies or not picks:
                pick = self.select(view, oracle)
            else:
                scores = positive_scores(self._batch_scores(view, oracle), view)
                pick = masked_scores(scores * penalty, view).argmax(1)
            left = view.selectable.any(1)
            picks.append(torch.where(left, pick, -1))
            view = self._with_pick(view, picks[-1], oracle)
            if not self.diversifies:
                penalty = penalty * (1 - similarity_to(view, pick)).clamp(min=0)
        return stack_picks(picks, view)

    def _batch_scores(self, view: PoolView, oracle: LabelOracle | None) -> Tensor:
        return check_scores(self.score(view), view, self)

    def _with_pick(self, view: PoolView, pick: Tensor, oracle: LabelOracle | None) -> PoolView:
        return view.with_pending(pick)


class PrivilegedStrategy(Strategy):
    """Ranks items with access to the hidden labels; a reference."""

    privileged = True

    def score(self, view: PoolView) -> Tensor:
        raise InputError(
            f"strategy={type(self).__name__} looks at hidden labels and cannot run on a pool without them; "
            "use a strategy that is not marked privileged."
        )

    @abstractmethod
    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        """Returns (B, N) scores, higher = label first, given the hidden labels."""

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        if oracle is None:
            return super().select(view)  # raises
        return masked_scores(self.score_with(view, oracle), view).argmax(1)

    def _batch_scores(self, view: PoolView, oracle: LabelOracle | None) -> Tensor:
        return self.score(view) if oracle is None else self.score_with(view, oracle)

    def _with_pick(self, view: PoolView, pick: Tensor, oracle: LabelOracle | None) -> PoolView:
        if oracle is None:
            return view.with_pending(pick)
        return view.with_pending(pick, oracle.reveal(pick.clamp(min=0).unsqueeze(1)).squeeze(1))


def stack_picks(picks: list[Tensor], view: PoolView) -> Tensor:
    """Stacks (B,) picks in order to (B, size); size may be 0."""
    return torch.stack(picks, 1) if picks else view.seed.new_empty(len(view), 0)


def check_scores(scores: object, view: PoolView, strategy: Strategy) -> Tensor:
    """Returns what ``strategy.score(view)`` returned, as floats.

    Raises:
        InputError: no (B, N) tensor, or NaN at an item that can be picked. On a GPU the values are not looked at,
            because the host would wait for them.
    """
    subject = f"score of the strategy {type(strategy).__name__} returned"
    if not isinstance(scores, Tensor):
        raise InputError(f"{subject} {type(scores).__name__}; return a torch tensor of shape (B, N).")
    if scores.shape != view.valid.shape:
        raise InputError(
            f"{subject} shape {tuple(scores.shape)}; return one score per item, {tuple(view.valid.shape)}."
        )
    if scores.device.type == "cpu" and bool((scores.isnan() & view.selectable).any()):
        raise InputError(
            f"{subject} NaN for items that can be picked; before the first label, for example, distances to labels "
            "are infinite, and quotients of them NaN."
        )
    return scores if scores.is_floating_point() else scores.to(torch.get_default_dtype())


def masked_scores(scores: Tensor, view: PoolView) -> Tensor:
    """Returns (B, N) scores with −inf at items that cannot be picked."""
    return scores.masked_fill(~view.selectable, -torch.inf)


def positive_scores(scores: Tensor, view: PoolView) -> Tensor:
    """Returns (B, N) scores scaled to [.05, 1] within what may be picked, to be multiplied or divided.

    They stay above zero, so that even the last candidate comes before a copy of a pick.
    """
    return 0.05 + 0.95 * unit_range(scores, view.selectable)


def similarity_to(view: PoolView, pick: Tensor) -> Tensor:
    """Returns (B, N) Gaussian similarity of every item to the item `pick` (B,)."""
    chosen = torch.take_along_dim(view.embeddings, pick.clamp(min=0).view(-1, 1, 1), 1)
    squared = (view.embeddings - chosen).square().sum(-1)
    return torch.exp(-squared / (HERDING_WIDTH * view.geometry.mean_sq_dist).unsqueeze(1))


def far_from_batch(view: PoolView) -> Tensor:
    """Returns the (B, N) product of one minus the similarity to each pick of the open batch."""
    penalty = torch.ones_like(view.embeddings[..., 0])
    pending = terms_of(view).pending.gather(1, view.order.clamp(min=0)) & view.order_mask  # (B, S)
    for place in torch.nonzero(pending.any(0)).flatten().tolist():
        one = 1 - similarity_to(view, view.order[:, place])
        penalty = penalty * torch.where(pending[:, place].unsqueeze(1), one.clamp(min=0), 1.0)
    return penalty


def unlabelled(view: PoolView) -> Tensor:
    """Returns the (B, 1) mask of episodes without any label."""
    return ~(view.labels >= 0).any(1, keepdim=True)


def cold_start(view: PoolView) -> Tensor:
    """Returns the (B, 1) mask of episodes without any label in which all predictions are equal.

    metaal's learners predict a uniform distribution there, but a user's trained classifier may not.
    """
    cold = unlabelled(view)
    if not bool(cold.any()):
        return cold
    outside = ~view.valid.unsqueeze(-1)
    high = view.probs.masked_fill(outside, -torch.inf).amax(1)
    low = view.probs.masked_fill(outside, torch.inf).amin(1)
    return cold & ((high - low).amax(1, keepdim=True) < SAME)


def random_if(nothing: Tensor, scores: Tensor, view: PoolView, stream: int) -> Tensor:
    """Replaces (B, N) scores by random numbers in the (B, 1) episodes where `nothing` is known."""
    if not bool(nothing.any()):
        return scores
    n = view.valid.shape[1]
    return torch.where(nothing, view.random(lambda rng: rng.random(n), stream).to(scores.dtype), scores)


def random_if_cold(scores: Tensor, view: PoolView, stream: int) -> Tensor:
    """Replaces (B, N) uncertainty scores by random numbers at a cold start, where uncertainty is constant."""
    return random_if(cold_start(view), scores, view, stream)


STRATEGIES: Registry[Callable[..., Strategy]] = Registry("strategy")
"""Name → constructor, which takes ``seed`` by keyword."""
