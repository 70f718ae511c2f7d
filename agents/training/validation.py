"""Validation: fixed tasks of validation classes, on which checkpoints are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.strategies.base import Strategy
from metaal_env.core import Core


def validation_seeds(n: int) -> range:
    """Seeds of the fixed validation tasks; apart from the seeds of training and of evaluation."""
    return range(10**6, 10**6 + n)


def validate(families: Sequence[Sequence[Core]], strategy: Strategy, n_tasks: int) -> tuple[float, float]:
    """Mean area under the learning curve on the reward sets, and share of classes found.

    Every family counts alike; about `n_tasks` tasks are shared out evenly.
    """
    areas, found = [], []
    for family in families:
        seeds = validation_seeds(max(1, n_tasks // len(families) // len(family)))
        played = [play(core, strategy, seeds, measure_on="reward") for core in family]
        areas.append(np.mean([np.mean(aulc(episodes)) for episodes in played]))
        found.append(np.mean([np.nanmean(episodes.curves["coverage"][:, -1]) for episodes in played]))
    return float(np.mean(areas)), float(np.mean(found))
