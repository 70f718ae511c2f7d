"""Forecasts labelling sessions: policies play on plausible classes of the pool, and known errors give the intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.forecast.look_alikes import LookAlikes, from_log_odds, log_odds
from agents.acquisition.played_sessions import OwnPool, play
from agents.acquisition.policies import PolicySpec
from agents.evaluation.measures import labels_to_target
from agents.evaluation.statistics.comparisons import RANDOM

LEVEL = 0.8
"""What intervals promise; `LookAlikes.level` is what they take for it."""
CHECKS = 10
"""Numbers of labels at which a session is judged."""


class Range(NamedTuple):
    """Holds a median and the ends of an interval; inf is «more than are played»."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: np.ndarray, level: float) -> Range:
        """Returns it of (R,) draws, a share `level` of them inside; ends are draws: infinite ones have no mean."""
        ends = [(1 - level) / 2, (1 + level) / 2]
        low = np.quantile(draws, ends[0], method="lower")
        high = np.quantile(draws, ends[1], method="higher")
        return cls(float(np.quantile(draws, 0.5, method="lower")), float(low), float(high))


@dataclass(frozen=True)
class Forecast:
    """Holds R equally plausible learning curves of every policy.

    Attributes:
        labels: (L,) numbers of labels 1…L.
        curves: policy → (R, L) accuracies; the r-th of all policies belong together.
        gaps: policy → (R,) mean accuracies over the session beyond that of random.
        level: share of the draws between the ends of an interval.
    """

    labels: np.ndarray
    curves: dict[str, np.ndarray]
    gaps: dict[str, np.ndarray]
    level: float

    def accuracy(self, policy: str) -> Range:
        """Returns the accuracy after all labels."""
        return Range.of(self.curves[policy][:, -1], self.level)

    def labels_to(self, policy: str, target: float) -> Range:
        """Returns the number of labels to a target."""
        return Range.of(self._first(policy, target), self.level)

    def saved(self, policy: str) -> Range:
        """Returns the mean accuracy over the session beyond that of random."""
        return Range.of(self.gaps[policy], self.level)

    def labels_saved(self, policy: str, target: float) -> Range | None:
        """Returns how many labels fewer than random reach a target; None where both do so in under half the draws."""
        random, own = self._first(RANDOM, target), self._first(policy, target)
        known = np.isfinite(random) & np.isfinite(own)
        if known.mean() < 0.5:
            return None
        return Range.of(random[known] - own[known], self.level)

    def _first(self, policy: str, target: float) -> np.ndarray:
        found = labels_to_target(self.curves[policy], target)
        return np.where(
            np.isfinite(found), self.labels[np.where(np.isfinite(found), found, 0).astype(int)], np.inf
        )


def checkpoints(first: int, last: int, batch: int) -> set[int]:
    """Returns up to `CHECKS` numbers of labels at which sessions are judged that begin with `first` and buy batches."""
    reached = np.append(np.arange(first, last, batch), last)
    wanted = np.geomspace(max(2, first), last, CHECKS)
    return set(reached[np.searchsorted(reached, wanted - 1e-9)].tolist())


def played_curves(
    x: np.ndarray,
    truths: np.ndarray,
    known: np.ndarray,
    policy: PolicySpec,
    make: Callable[[], Any],
    *,
    labels: int,
    batch: int = 1,
) -> Iterator[np.ndarray]:
    """Yields (labels,) accuracies after 1…`labels` labels on each plausible truth.

    A third of the items without a label is held out to judge the classifier. Between the numbers of labels at which it
    is judged the accuracy is interpolated.

    Args:
        x: (N, D) vectors.
        truths: (M, N) plausible classes.
        known: (N,) bool, items whose label is known.
    """
    first = int(known.sum())
    at = checkpoints(first, labels, batch)
    for seed, truth in enumerate(truths):
        others = np.random.default_rng(seed).permutation(np.flatnonzero(~known))
        held, rest = others[: len(others) // 3], others[len(others) // 3 :]
        rows = np.concatenate([np.flatnonzero(known), rest])
        pool = OwnPool(x[rows], truth[rows], x[held], truth[held])
        classes = np.arange(int(truths.max()) + 1)
        curve = play(
            pool,
            policy,
            make,
            labels=labels,
            batch=batch,
            seed=seed,
            guide=False,
            classes=classes,
            start=np.arange(first),
            judge_at=at,
        )["accuracy"]
        there = np.flatnonzero(~np.isnan(curve))
        yield np.interp(np.arange(1, labels + 1), there, curve[there])


def forecast(played: dict[str, np.ndarray], errors: LookAlikes) -> Forecast:
    """Turns (M, L) played curves of every policy into plausible ones, by the errors of earlier forecasts."""
    labels = np.arange(1, next(iter(played.values())).shape[1] + 1)
    curves = {}
    for policy, own in played.items():
        middle = log_odds(own.mean(0))
        raw = from_log_odds(middle + errors.of(policy, labels))
        curves[policy] = np.maximum.accumulate(raw, axis=1)  # a forecast promises no loss by labels
    base = played[RANDOM].mean()
    gaps = {
        policy: own.mean() - base + errors.of_saved(policy)
        for policy, own in played.items()
        if policy != RANDOM
    }
    return Forecast(labels, curves, gaps, errors.level)
