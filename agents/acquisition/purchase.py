"""Prices and groups of items: what may still be picked, and what a score is worth for its money."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.acquisition.arrays import as_numpy, is_missing, number_each, positive_whole
from agents.acquisition.options import QueryOptions
from agents.strategies.terms import COST_POWER
from metaal_env.errors import InputError

SLACK = 1e-6
"""Money that may be missing."""


class Purchase:
    """Bounds a batch by the money that is left and by the items of a group.

    Where items cost differently, a score, scaled to [.05, 1] within what may be picked, is divided by a power of the
    item's cost, as by the rule `per_cost`.

    Args:
        costs: (N,) price of each item's label; None where all cost the same.
        left: money that is left; infinite without a budget.
        groups: (N,) number of each item's group, −1 where it stands alone; None where nothing is said of groups.
        per_group: most items of a group in the batch.
    """

    def __init__(
        self, costs: np.ndarray | None, left: float, groups: np.ndarray | None, per_group: int | None
    ):
        self.costs, self.left, self.groups, self.per_group = costs, left, groups, per_group
        self._taken = None if groups is None else np.zeros(max(1, int(groups.max()) + 1), dtype=int)

    @classmethod
    def read(cls, options: QueryOptions, known: np.ndarray) -> Purchase | None:
        """Returns what options say of prices and groups; None where that is nothing.

        Args:
            known: (N,) bool, items with a label, which is paid for.

        Raises:
            InputTypeError, InputError: not a price above 0 or a group for each item, or `per_group` without groups.
        """
        n = len(known)
        costs = None if options.costs is None else read_costs(options.costs, n)
        groups = None if options.groups is None else read_groups(options.groups, n)
        per_group = options.per_group
        if per_group is not None and positive_whole(per_group, "per_group") and groups is None:
            raise InputError(f"per_group={per_group} has no effect without groups; give them.")
        if costs is None and per_group is None:
            return None
        left = np.inf
        if costs is not None and options.budget is not None:
            left = float(options.budget) - float(costs[known].sum())
        return cls(costs, left, groups, per_group)

    def labels_left(self, candidates: np.ndarray, budget: float) -> int:
        """Returns about how many labels the money that is left buys, at least 1.

        Raises:
            InputError: it buys none of the candidates' labels.
        """
        assert self.costs is not None
        cheapest = float(self.costs[candidates].min())
        if not self.affordable(candidates).any():
            raise InputError(
                f"budget={budget:g} is spent: {max(0.0, self.left):g} is left, and the cheapest candidate costs "
                f"{cheapest:g}; raise it."
            )
        return max(1, int(min(self.left / float(self.costs[candidates].mean()), len(candidates))))

    def affordable(self, positions: np.ndarray) -> np.ndarray:
        """Returns (m,) bool: items whose label costs no more than what is left; sums of prices are rounded."""
        return (
            np.ones(len(positions), bool)
            if self.costs is None
            else self.costs[positions] <= self.left + SLACK
        )

    def worth(self, utilities: np.ndarray, members: np.ndarray) -> np.ndarray:
        """Returns (m,) utilities for their money; NaN at items that may not be picked.

        Args:
            utilities: (m,) NaN at items that are picked already.
            members: (m,) their positions in the pool.
        """
        allowed = np.isfinite(utilities) & self.affordable(members)
        if self.groups is not None and self.per_group is not None:
            assert self._taken is not None
            group = self.groups[members]
            allowed &= (group < 0) | (self._taken[group] < self.per_group)
        if self.costs is not None and allowed.any():
            low, high = utilities[allowed].min(), utilities[allowed].max()
            scaled = (utilities - low) / (high - low) if high > low else np.ones_like(utilities)
            utilities = (0.05 + 0.95 * scaled) / (self.costs[members] / self.costs.mean()) ** COST_POWER
        return np.where(allowed, utilities, np.nan)

    def pick(self, position: int) -> None:
        """Counts an item as bought."""
        if self.costs is not None:
            self.left -= float(self.costs[position])
        if self.groups is not None and self._taken is not None and self.groups[position] >= 0:
            self._taken[self.groups[position]] += 1


def read_costs(costs: Any, n: int) -> np.ndarray:
    """Returns (N,) prices.

    Raises:
        InputTypeError: no numbers.
        InputError: not one price above 0 for each item.
    """
    found = number_each(costs, n, "costs", "price")
    wrong = np.flatnonzero(~(np.isfinite(found) & (found > 0)))
    if len(wrong):
        raise InputError(f"costs[{wrong[0]}]={found[wrong[0]]} must be a number above 0.")
    return found


def read_groups(groups: Any, n: int) -> np.ndarray:
    """Returns (N,) numbers of groups, −1 where an item stands alone: None, NaN or an empty text.

    Raises:
        InputError: not one group for each item.
    """
    found = np.asarray(as_numpy(groups), dtype=object)
    if found.shape != (n,):
        raise InputError(f"groups has shape {found.shape}; give one group per item: ({n},).")
    numbers: dict[Any, int] = {}
    alone = (is_missing(value) or value == "" for value in found)
    pairs = zip(found, alone, strict=True)
    return np.array([-1 if a else numbers.setdefault(value, len(numbers)) for value, a in pairs])
