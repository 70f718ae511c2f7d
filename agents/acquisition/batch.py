"""Picks a batch one by one: score, pick, count the pick as sent, score again."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch

from agents.acquisition.arrays import Features
from agents.acquisition.options import Limits
from agents.acquisition.purchase import Purchase
from agents.acquisition.representatives import Representatives
from agents.acquisition.user_pool import Pool
from agents.strategies.base import Strategy, check_scores, positive_scores, similarity_to
from metaal_env.pool.view import PoolView


class Selection(NamedTuple):
    """A batch and how it came about."""

    picks: np.ndarray  # (b,) int64, what `query` returns
    scores: np.ndarray  # (b,) utility of each pick when it was made
    utilities: np.ndarray | None
    views: list[PoolView]  # before each pick
    places: list[int]  # where in its view each pick, or the scored item next to it, stands
    strategy: Strategy


def choose(
    pool: Pool,
    x: Features,
    positions: np.ndarray,
    known: np.ndarray,
    size: int,
    strategy: Strategy,
    everything: bool,
    with_utilities: bool,
    limits: Limits,
    purchase: Purchase | None = None,
) -> Selection:
    """Picks `size` items among `positions`, which count in the pool; fewer where `purchase` allows no more."""
    enough = size <= int(pool.view.selectable.sum())
    representatives = Representatives(pool, x, positions, known, everything and enough and not with_utilities)
    plan = None
    if size > 1 and purchase is None and representatives.covers_all and _plans_batches(strategy):
        plan = strategy.select_batch(pool.view, size)[0].tolist()
    rounds = score_rounds(strategy, pool.view, _rescore_every(strategy, pool, size, limits))
    picks: list[int] = []
    rows: list[np.ndarray] = []
    places, values, views = [], [], []
    scores, view = next(rounds)
    for step in range(size):
        utilities = representatives.utilities(scores)
        if purchase is not None:
            utilities = purchase.worth(utilities, representatives.members)
            if np.isnan(utilities).all():
                break
        if with_utilities:
            rows.append(representatives.over_pool(utilities))
        if plan is None:
            pick, place, value = representatives.pick(utilities)
        else:
            pick, place, value = representatives.take(plan[step], scores)
        picks.append(pick)
        if purchase is not None:
            purchase.pick(pick)
        places.append(place)
        values.append(value)
        views.append(view)
        if step + 1 < size:
            scores, view = rounds.send(place if place >= 0 and np.isfinite(scores[place]) else -1)
    return Selection(
        np.array(picks, dtype=np.int64),
        np.array(values),
        np.stack(rows) if rows else None,
        views,
        places,
        strategy,
    )


def score_rounds(
    strategy: Strategy, view: PoolView, every: int = 1
) -> Generator[tuple[np.ndarray, PoolView], int, None]:
    """Yields (M,) float64 utilities, NaN at what cannot be picked; is sent the position picked, −1 for none.

    The same greedy scheme as `Strategy.select_batch`, with the scores in the open.

    Args:
        every: picks between two evaluations of the strategy; in between only the penalty changes.
    """
    penalty = torch.ones_like(view.embeddings[..., 0])  # (1, M)
    for step in itertools.count():
        if step % every == 0:
            with torch.no_grad():
                raw = check_scores(strategy.score(view), view, strategy)
        scores = raw
        if step > 0 and not strategy.diversifies:
            scores = positive_scores(raw, view) * penalty
        pick = yield _tidy(scores, view), view
        chosen = view.seed.new_tensor([pick])
        view = view.with_pending(chosen)
        if not strategy.diversifies and pick >= 0:
            penalty = penalty * (1 - similarity_to(view, chosen)).clamp(min=0)


def _tidy(scores: torch.Tensor, view: PoolView) -> np.ndarray:
    """(M,) float64: finite at items that can be picked, NaN elsewhere."""
    utilities = scores[0].double().cpu().numpy().copy()
    selectable = view.selectable[0].cpu().numpy()
    finite = utilities[selectable & np.isfinite(utilities)]
    low, high = (finite.min() - 1, finite.max() + 1) if len(finite) else (0.0, 0.0)
    utilities = np.nan_to_num(utilities, nan=low, neginf=low, posinf=high)
    utilities[~selectable] = np.nan
    return utilities


def _rescore_every(strategy: Strategy, pool: Pool, size: int, limits: Limits) -> int:
    """1, but for large batches from large pools by rules that look at single items, the learned ones included."""
    if strategy.diversifies or len(pool.rows) <= limits.exact_batches:
        return 1
    return -(-size // limits.evaluations)


def _plans_batches(strategy: Strategy) -> bool:
    """Whether the strategy has its own way to compose a batch."""
    return inspect.getattr_static(type(strategy), "select_batch") is not Strategy.select_batch
