"""Out-of-distribution matrix: one policy against its rivals in every scenario, losses shown like wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure, aulc
from agents.evaluation.paired import pair
from agents.evaluation.statistics.intervals import Difference, difference

BEST_RULE = "best rule"


@dataclass(eq=False)
class Matrix:
    """Paired differences policy − rival.

    Attributes:
        policy: whose matrix it is.
        scenarios: row names.
        rivals: column names; the last is the best unprivileged rule of each scenario in hindsight.
        best: that rule's name, per row.
        cells: (rows, columns) comparisons; None where nothing was played.
    """

    policy: str
    scenarios: list[str]
    rivals: list[str]
    best: list[str]
    cells: list[list[Difference | None]]

    @property
    def estimate(self) -> np.ndarray:
        """(rows, columns) mean differences; NaN where missing."""
        return np.array([[c.interval.estimate if c else np.nan for c in row] for row in self.cells])

    @property
    def significant(self) -> np.ndarray:
        """(rows, columns) bool: the 95 % interval excludes 0."""
        return np.array(
            [[bool(c and (c.interval.low > 0 or c.interval.high < 0)) for c in r] for r in self.cells]
        )


def make_matrix(
    results: Mapping[str, Episodes], names: Mapping[str, str], policy: str, measure: Measure = aulc
) -> Matrix:
    """Compares `policy` with every other strategy in every scenario.

    The best rule in hindsight is chosen by its mean on the very tasks it is compared on: a rival that nobody
    could have picked beforehand, and a slightly lucky one.

    Args:
        names: scenario key → row name.
    """
    rivals = [name for name in results if name != policy and not is_policy(name)]
    best, cells = [], []
    for key in names:
        here = {name: e.rows(e.strata == key) for name, e in results.items()}
        paired = pair({name: e for name, e in here.items() if len(e)}, measure)
        row: list[Difference | None] = [
            difference(paired.column(policy), paired.column(name))
            if name in paired.names and policy in paired.names
            else None
            for name in rivals
        ]
        rules = [n for n in paired.names if n in rivals and not results[n].privileged]
        best.append(max(rules, key=lambda n: float(np.nanmean(paired.column(n))), default=""))
        row.append(row[rivals.index(best[-1])] if best[-1] else None)
        cells.append(row)
    labels = [results[name].label for name in rivals]
    return Matrix(policy, list(names.values()), [*labels, BEST_RULE], best, cells)
