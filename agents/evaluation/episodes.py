"""`Episodes`: the picks and curves of one strategy on many tasks, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

CURVES = ("accuracy", "balanced_accuracy", "log_loss", "ece", "coverage")
"""What is recorded at every label count; the columns of the row files."""


@dataclass(eq=False)
class Episodes:
    """E finished episodes of one strategy; T is the largest budget among them.

    Attributes:
        strategy: name in tables and figures.
        privileged: the strategy looked at hidden labels.
        strata: (E,) name of the scenario (data set and task settings) of each episode.
        seeds: (E,) int64; the same seed in the same scenario is the same task for every strategy.
        way, pool, budget: (E,) int64 sizes of each task.
        curves: name in `CURVES` → (E, T+1) value after 0…T bought labels; NaN beyond the task's own budget.
        picks: (E, T) int64 pool positions in the order of asking; −1 beyond the budget.
        seconds: (E,) seconds per query and task; NaN where it was not measured. Never part of identity.
    """

    strategy: str
    privileged: bool
    strata: np.ndarray
    seeds: np.ndarray
    way: np.ndarray
    pool: np.ndarray
    budget: np.ndarray
    curves: dict[str, np.ndarray]
    picks: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def label(self) -> str:
        """Returns the name, with a star when privileged."""
        return self.strategy + ("*" if self.privileged else "")

    def rows(self, index: np.ndarray) -> Episodes:
        """Returns the episodes at `index` (int or bool array)."""
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in _PER_EPISODE},
            curves={name: curve[index] for name, curve in self.curves.items()},
        )


_PER_EPISODE = ("strata", "seeds", "way", "pool", "budget", "picks", "seconds")


def is_policy(name: str) -> bool:
    """Returns whether a strategy of that name is a trained policy: ``policy``, or ``policy <run>``."""
    return name == "policy" or name.startswith("policy ")


def concatenate(parts: Sequence[Episodes]) -> Episodes:
    """Joins episodes of one strategy, one after another; shorter curves are padded with NaN."""
    longest = max(part.picks.shape[1] for part in parts)

    def padded(array: np.ndarray, width: int, fill: float) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=fill)

    parts = [
        replace(
            part,
            curves={name: padded(curve, longest + 1, np.nan) for name, curve in part.curves.items()},
            picks=padded(part.picks, longest, -1),
        )
        for part in parts
    ]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_EPISODE
    }
    joined["curves"] = {name: np.concatenate([part.curves[name] for part in parts]) for name in CURVES}
    return replace(parts[0], **joined)
