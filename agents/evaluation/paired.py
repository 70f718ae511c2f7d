"""`Paired`: one number per task and strategy, tasks aligned by scenario and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc
from metaal_env.errors import InputError


@dataclass(eq=False)
class Paired:
    """One number per task and strategy, tasks aligned.

    Attributes:
        names: the strategies, in order.
        values: (n, k) one row per task, one column per strategy; NaN where a strategy has no such task.
        strata: (n,) scenario of each task.
        seeds: (n,) seed of each task.
    """

    names: tuple[str, ...]
    values: np.ndarray
    strata: np.ndarray
    seeds: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """Returns the (n,) values of one strategy. Raises: `InputError` when it was not evaluated."""
        if name not in self.names:
            raise InputError(f"strategy={name!r} has no rows here; choose one of: {', '.join(self.names)}.")
        return self.values[:, self.names.index(name)]

    def of_scenario(self, key: str) -> Paired:
        """Returns the tasks of one scenario."""
        here = self.strata == key
        return Paired(self.names, self.values[here], self.strata[here], self.seeds[here])


def pair(results: Mapping[str, Episodes], measure: Callable[[Episodes], np.ndarray] = aulc) -> Paired:
    """Aligns the tasks of several strategies by scenario and seed; what one of them lacks is NaN."""
    keys: dict[tuple[str, int], int] = {}
    for episodes in results.values():
        for stratum, seed in zip(episodes.strata, episodes.seeds, strict=True):
            keys.setdefault((str(stratum), int(seed)), len(keys))
    values = np.full((len(keys), len(results)), np.nan)
    for column, episodes in enumerate(results.values()):
        index = [keys[str(s), int(seed)] for s, seed in zip(episodes.strata, episodes.seeds, strict=True)]
        values[index, column] = measure(episodes)
    strata = np.array([stratum for stratum, _ in keys], dtype=object)
    seeds = np.array([seed for _, seed in keys], dtype=np.int64)
    return Paired(tuple(results), values, strata, seeds)
