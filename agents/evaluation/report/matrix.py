"""Out-of-distribution matrix: one policy against its rivals in every scenario, losses shown like wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure, aulc
from agents.evaluation.paired import pair
from agents.evaluation.report.formats import difference_entry, mean_entry
from agents.evaluation.report.grid import Grid
from agents.evaluation.report.tables import COLOUR, STAR
from agents.evaluation.statistics.comparisons import RANDOM, Compared, best_rule
from agents.evaluation.statistics.intervals import Difference, bootstrap, difference
from agents.evaluation.statistics.rank_tests import holm

BEST_RULE = "best rule"


@dataclass(eq=False)
class Matrix:
    """Paired differences policy − rival.

    Attributes:
        policy: the policy that is judged.
        scenarios: row names.
        rivals: column names; the last is the best unprivileged rule of each scenario in hindsight.
        best: that rule's name, per row.
        cells: (rows, columns) comparisons, p-values corrected over the matrix; None where nothing was played.
    """

    policy: str
    scenarios: list[str]
    rivals: list[str]
    best: list[str]
    cells: list[list[Compared | None]]

    @property
    def estimate(self) -> np.ndarray:
        """(rows, columns) mean differences; NaN where missing."""
        return np.array(
            [[c.difference.interval.estimate if c else np.nan for c in row] for row in self.cells]
        )

    @property
    def supported(self) -> np.ndarray:
        """(rows, columns) 1 for better, −1 for worse, 0 where the test supports neither."""
        return np.array([[c.supported if c else 0 for c in row] for row in self.cells])


def make_matrix(
    results: Mapping[str, Episodes], names: Mapping[str, str], policy: str, measure: Measure = aulc
) -> Matrix:
    """Compares `policy` with every other strategy in every scenario.

    The best rule in hindsight is chosen by its mean on the very tasks it is compared on: a rival that nobody
    could have picked beforehand, and a slightly lucky one.

    Args:
        results: strategy name → its episodes on the same tasks.
        names: scenario key → row name.
        policy: the policy that is judged.
        measure: one number per episode, higher = better.
    """
    rivals = [name for name in results if name != policy and not is_policy(name)]
    everything = pair(results, measure)
    best: list[str] = []
    found: list[list[Difference]] = []
    for key in names:
        here = everything.of_scenario(key)
        found.append([difference(here.column(policy), here.column(name)) for name in rivals])
        best.append(best_rule(results, here))
    adjusted = holm(np.array([d.p_value for row in found for d in row])).reshape(len(names), len(rivals))
    cells: list[list[Compared | None]] = []
    for row, p_values, rule in zip(found, adjusted, best, strict=True):
        compared = [
            Compared(d, float(p)) if d.interval.n else None for d, p in zip(row, p_values, strict=True)
        ]
        cells.append([*compared, compared[rivals.index(rule)] if rule else None])
    labels = [results[name].label for name in rivals]
    return Matrix(policy, list(names.values()), [*labels, BEST_RULE], best, cells)


def matrix_table(matrix: Matrix) -> Grid:
    """Shows the matrix as a table, with intervals."""
    grid = Grid(
        f"{matrix.policy} − rival, by scenario",
        ["scenario", *matrix.rivals[:-1], BEST_RULE, "which rule"],
        caption=f"{STAR} · {COLOUR}, corrected for the whole table · best rule: chosen in hindsight, on these very "
        "tasks",
        essential=("scenario", RANDOM, BEST_RULE, "which rule"),
        headline=BEST_RULE,
        phone=("scenario", BEST_RULE, "which rule"),
        compact=True,
    )
    for scenario, row, best in zip(matrix.scenarios, matrix.cells, matrix.best, strict=True):
        cells = [difference_entry(c.difference.interval, c.supported) if c else "missing" for c in row]
        grid.rows.append([scenario, *cells, best or "–"])
    return grid


def scenario_means(
    results: Mapping[str, Episodes], names: Mapping[str, str], measure: Measure = aulc
) -> Grid:
    """Shows mean and interval of every strategy in every scenario.

    Args:
        results: strategy name → its episodes on the same tasks.
        names: scenario key → row name.
        measure: one number per episode, higher = better.
    """
    paired = pair(results, measure)
    headings = ["scenario", *(e.label for e in results.values())]
    grid = Grid("Means by scenario", headings, caption=STAR, brief=len(results) <= 4, folded=True)
    for key, name in names.items():
        here = paired.of_scenario(key)
        grid.rows.append([name, *(mean_entry(bootstrap(here.column(n))) for n in paired.names)])
    return grid
