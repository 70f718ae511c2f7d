"""Policies compared on one's own labelled data: the same pools for all, so that differences are paired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.played_sessions import play, split_pool
from agents.acquisition.policies import load_policy
from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc, final_accuracy
from agents.evaluation.statistics.comparisons import RANDOM
from agents.evaluation.statistics.intervals import Difference, difference
from metaal_env.errors import InputError


@dataclass(frozen=True)
class Plan:
    """Says what is played.

    Attributes:
        policies: names; what all are compared with, `RANDOM`, is one of them.
        make: builds the classifier.
        labels: labels in all.
        batch: labels to buy at a time.
        start: labels that are drawn at random before, the same for all policies.
        size: items of a pool.
        named: whether policies are told the classes in advance.
    """

    policies: tuple[str, ...]
    make: Callable[[], Any]
    labels: int = 50
    batch: int = 1
    start: int = 0
    size: int = 400
    named: bool = False


class Row(NamedTuple):
    """Holds the line of a policy in the table. Means are over pools."""

    policy: str
    aulc: float
    final: float
    against: Difference | None  # AULC − that of random; None for random itself


def sessions(
    x: np.ndarray, truth: np.ndarray, plan: Plan, seeds: int, groups: np.ndarray | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yields policy → (labels + 1,) accuracies of each seed's pool, which all policies share with its first labels.

    Args:
        x: (M, D) vectors.
        truth: (M,) class numbers from 0.
        groups: (M,) what each item belongs to; none is split between a pool and what judges it.

    Raises:
        InputError: groups so large that a pool has fewer items than labels are to be bought.
    """
    strategies = {name: load_policy(name) for name in plan.policies}
    classes = np.unique(truth) if plan.named else None
    for seed in range(seeds):
        pool = split_pool(x, truth, size=plan.size, seed=seed, groups=groups)
        if len(pool.x) < plan.labels:
            raise InputError(
                f"budget={plan.labels} exceeds the {len(pool.x)} items that whole groups leave to a pool; lower it."
            )
        yield {
            name: play(
                pool,
                strategy,
                plan.make,
                labels=plan.labels,
                batch=plan.batch,
                seed=seed,
                classes=classes,
                start=np.arange(plan.start),  # the pool's order is random
            )["accuracy"]
            for name, strategy in strategies.items()
        }


def as_episodes(curves: Sequence[dict[str, np.ndarray]], plan: Plan, classes: int) -> dict[str, Episodes]:
    """Returns the sessions of every policy in the form that measures, tests and figures take."""
    n = len(curves)

    def of(name: str) -> Episodes:
        accuracy = np.stack([curve[name] for curve in curves])
        return Episodes(
            strategy=name,
            privileged=False,
            strata=np.full(n, "own data", dtype=object),
            seeds=np.arange(n),
            way=np.full(n, classes),
            pool=np.full(n, plan.size),
            budget=np.full(n, plan.labels),
            curves={"accuracy": accuracy},
            picks=np.full((n, plan.labels), -1),
            seconds=np.full(n, np.nan),
        )

    return {name: of(name) for name in plan.policies}


def table(episodes: dict[str, Episodes]) -> list[Row]:
    """Returns a row for each policy, the best first."""
    base = aulc(episodes[RANDOM])
    rows = []
    for name, played in episodes.items():
        own = aulc(played)
        against = None if name == RANDOM else difference(own, base)
        rows.append(Row(name, float(own.mean()), float(final_accuracy(played).mean()), against))
    return sorted(rows, key=lambda row: -row.aulc)
