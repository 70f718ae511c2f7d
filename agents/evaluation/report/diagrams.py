"""Diagrams of comparisons: critical differences and the out-of-distribution matrix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import Measure, aulc
from agents.evaluation.paired import pair
from agents.evaluation.report.formats import number
from agents.evaluation.report.matrix import Matrix
from agents.evaluation.statistics.rank_tests import average_ranks, critical_difference


def critical_differences(results: Mapping[str, Episodes], measure: Measure = aulc) -> Figure:
    """Draws mean ranks over paired tasks; strategies joined by a bar do not differ (Nemenyi, α = .05; Demšar 2006).

    Privileged references are left out: they are not candidates.
    """
    paired = pair({name: e for name, e in results.items() if not e.privileged}, measure)
    ranks, n = average_ranks(paired.values)
    k = len(ranks)
    figure = Figure(figsize=(7, 1.4 + 0.26 * k), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    if n == 0 or k < 2:
        axes.text(0.5, 0.5, "needs two strategies on the same tasks", ha="center", transform=axes.transAxes)
        return figure
    cd = critical_difference(k, n)
    order = np.argsort(ranks)
    half, width = (k + 1) // 2, max(k - 1, 1)
    axes.set_xlim(1 - 0.5 * width, k + 0.5 * width)
    axes.hlines(0, 1, k, color="black")
    for tick in range(1, k + 1):
        axes.vlines(tick, 0, 0.12, color="black", linewidth=0.8)
        axes.text(tick, 0.22, str(tick), ha="center", va="bottom", fontsize=8)
    cliques = _cliques(ranks[order], cd)
    below = 0.3 + 0.3 * len(cliques)
    for level, (first, last) in enumerate(cliques):
        y = -0.25 - 0.3 * level
        axes.hlines(y, ranks[order[first]] - 0.03, ranks[order[last]] + 0.03, color="#d55e00", linewidth=3)
    for position, index in enumerate(order):
        left = position < half
        y = -below - 0.45 * (position if left else k - 1 - position)
        x = 1 - 0.06 * width if left else k + 0.06 * width
        axes.plot([ranks[index], ranks[index], x], [0, y, y], color="black", linewidth=0.8)
        text = (
            f"{paired.names[index]}  {ranks[index]:.2f}"
            if left
            else f"{ranks[index]:.2f}  {paired.names[index]}"
        )
        axes.text(x, y, f" {text} ", ha="right" if left else "left", va="center", fontsize=9)
    axes.set_ylim(-below - 0.45 * half - 0.2, 1.1)
    axes.hlines(0.85, 1, 1 + cd, color="#d55e00", linewidth=3)
    axes.text(1 + cd, 0.85, f"  critical difference {cd:.2f} ({n} tasks)", va="center", fontsize=8)
    return figure


def _cliques(ranks: np.ndarray, cd: float) -> list[tuple[int, int]]:
    """Returns maximal runs of sorted ranks within one critical difference, as (first, last)."""
    runs: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.flatnonzero(ranks <= ranks[first] + cd)[-1])
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def matrix_heat_map(matrix: Matrix, title: str = "AULC") -> Figure:
    """Draws paired differences of one policy to its rivals in every scenario: losses are as red as wins are blue.

    Bold numbers are supported by the corrected test.

    Args:
        matrix: comparisons by scenario and rival.
        title: name of the measure.
    """
    rows, columns = matrix.estimate.shape
    figure = Figure(figsize=(3.0 + 0.72 * columns, 1.7 + 0.34 * rows), layout="constrained")
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(matrix.estimate), initial=1e-3))
    axes.set_facecolor("#dddddd")
    image = axes.imshow(matrix.estimate, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            value = matrix.estimate[i, j]
            axes.text(
                j, i, "missing" if np.isnan(value) else number(value, 3, "+"), ha="center", va="center", fontsize=8,
                fontweight="bold" if matrix.supported[i, j] else "normal",
                color="white" if abs(value) > 0.65 * limit else "black",
            )  # fmt: skip
    axes.set_xticks(
        range(columns), [f"− {name}" for name in matrix.rivals], rotation=35, ha="right", fontsize=8
    )
    axes.set_yticks(range(rows), matrix.scenarios, fontsize=8)
    axes.set_title(f"{matrix.policy}: difference in {title}", fontsize=10)
    figure.colorbar(image, shrink=0.8, aspect=15)
    return figure
