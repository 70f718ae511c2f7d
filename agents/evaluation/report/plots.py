"""Figures of curves: learning curves and the performance profile, in one set of colours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure, aulc
from agents.evaluation.paired import pair
from agents.evaluation.report.glossary import CURVE_TITLES
from agents.evaluation.statistics.comparisons import RANDOM, mean_of
from metaal_env.runtime.files import write_atomic

MAX_PANELS = 6
"""Scenarios shown side by side in one figure; further ones stand in the matrix."""

MAX_COLOURS = 8
"""Strategies with a colour of their own; among more, those in the middle of the field are grey."""

_POLICIES = ("#0072b2", "#d55e00", "#009e73", "#aa4499")
_OTHERS = ("#e69f00", "#cc79a7", "#56b4e9", "#b8a800", "#8c564b", "#44aa99", "#332288", "#882255")
# Okabe and Ito's colour-blind safe palette, and a few of Tol's.


class Looks:
    """One colour per strategy in every figure.

    Policies are thick, privileged strategies dashed, random dotted. Of many strategies the policies, random, the
    references and the best rules have colours; the others are thin and grey.
    """

    def __init__(self, results: Mapping[str, Episodes]):
        self.results = results
        means = {name: mean_of(aulc(e)) for name, e in results.items()}
        # Best first; what has no value at all comes last.
        self.order = sorted(results, key=lambda n: np.inf if np.isnan(means[n]) else -means[n])
        policies = [n for n in self.order if is_policy(n)]
        first = [*policies, *(n for n in (RANDOM,) if n in results)]
        references = [n for n in self.order if results[n].privileged][:1]
        rest = [n for n in self.order if n not in first and n not in references]
        self.coloured = [*first, *references, *rest][: max(MAX_COLOURS, len(first))]
        if len(results) == MAX_COLOURS + 1:
            self.coloured = [*first, *references, *rest]  # a single grey line would save nothing
        self._colours = {RANDOM: "#333333"} | dict.fromkeys(references, "#000000")
        self._colours |= {n: _POLICIES[i % len(_POLICIES)] for i, n in enumerate(policies)}
        plain = [n for n in self.coloured if n not in self._colours]
        self._colours |= {n: _OTHERS[i % len(_OTHERS)] for i, n in enumerate(plain)}

    def line(self, name: str) -> dict[str, Any]:
        """Returns the options of the strategy's line."""
        if name not in self.coloured:
            return {"color": "#bbbbbb", "linestyle": "-", "linewidth": 0.9, "label": "_", "zorder": 1}
        privileged = self.results[name].privileged
        return {
            "color": self._colours[name],
            "linestyle": "--" if privileged else ":" if name == RANDOM else "-",
            "linewidth": 2.6 if is_policy(name) else 1.5,
            "label": self.results[name].label,
            "zorder": 4 if is_policy(name) else 2,
        }

    def legend(self, figure: Figure, columns: int) -> None:
        """Draws one legend below all panels, best strategy first."""
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], **self.line(name)) for name in self.order if name in self.coloured]
        grey = len(self.results) - len(self.coloured)
        if grey:
            handles.append(Line2D([], [], color="#bbbbbb", linewidth=0.9, label=f"{grey} others"))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            fontsize=8.5,
            frameon=False,
            handlelength=2.4,
        )


def learning_curves(
    results: Mapping[str, Episodes],
    names: Mapping[str, str] | None = None,
    curve: str = "accuracy",
) -> Figure:
    """Draws mean curves with 95 % intervals; below them the paired differences to random, which are tested.

    Args:
        results: strategy name → its episodes.
        names: scenario key → its short name; one panel each. None shows every scenario under its own name.
        curve: one of `measures.CURVES`.
    """
    names = names or {str(s): str(s) for e in results.values() for s in e.strata}
    keys = list(names)[:MAX_PANELS]
    pairs = 2 if RANDOM in results and len(results) > 1 else 1
    columns = min(len(keys), 3)
    blocks = -(-len(keys) // columns)
    width = 5.6 if columns == 1 else 3.5 * columns
    figure = Figure(figsize=(width, (3.1 + 2.3 * (pairs - 1)) * blocks + 0.7), layout="constrained")
    heights = [1.0, 0.75][:pairs] * blocks
    axes = figure.subplots(blocks * pairs, columns, squeeze=False, height_ratios=heights)
    looks = Looks(results)
    for position in range(blocks * columns):
        row, column = position // columns * pairs, position % columns
        if position >= len(keys):
            for panel in axes[row : row + pairs, column]:
                panel.axis("off")
            continue
        here = {name: e.rows(e.strata == keys[position]) for name, e in results.items()}
        upper, lower = axes[row, column], axes[row + pairs - 1, column]
        for name, episodes in here.items():
            if len(episodes) == 0:
                continue
            band(upper, episodes.curves[curve], looks.line(name))
            if pairs == 2 and name != RANDOM and len(here[RANDOM]):
                band(lower, _paired_curve(here[name], here[RANDOM], curve), looks.line(name))
        upper.set_title(names[keys[position]], fontsize=10, wrap=True)
        lower.set_xlabel("labels bought")
        for panel in (upper, lower):
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if column == 0:
            upper.set_ylabel(CURVE_TITLES.get(curve, curve))
        if pairs == 2:
            lower.axhline(0, color="black", linewidth=0.8)
            lower.set_ylabel(f"difference to {RANDOM}" if column == 0 else "")
    looks.legend(figure, columns=3 if columns < 3 else 5)
    return figure


def _paired_curve(a: Episodes, b: Episodes, curve: str) -> np.ndarray:
    """Computes (n, T+1) differences on the tasks that both have."""
    _, left, right = np.intersect1d(a.seeds, b.seeds, return_indices=True)
    width = min(a.curves[curve].shape[1], b.curves[curve].shape[1])
    return a.curves[curve][left, :width] - b.curves[curve][right, :width]


def band(axes: Axes, curve: np.ndarray, look: dict[str, Any]) -> None:
    """Draws the mean over tasks and 1.96 standard errors at each label count; empty label counts are left out."""
    n = (~np.isnan(curve)).sum(0)
    x = np.flatnonzero(n > 0)
    middle = np.nanmean(curve[:, x], 0)
    axes.plot(x, middle, **look)
    axes.spines[["top", "right"]].set_visible(False)
    if look["label"] == "_":
        return  # bands of grey lines would hide the others
    error = stats.sem(curve[:, x], 0, nan_policy="omit") if len(curve) > 1 else np.zeros(len(x))
    half = 1.96 * np.nan_to_num(np.asarray(error, dtype=float))
    axes.fill_between(x, middle - half, middle + half, color=look["color"], alpha=0.12, linewidth=0)


def performance_profile(
    results: Mapping[str, Episodes], measure: Measure = aulc, title: str = "AULC"
) -> Figure:
    """Draws the share of tasks whose measure exceeds τ, for every τ (Agarwal et al. 2021, §4.2)."""
    paired = pair(results, measure)
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes, looks = figure.subplots(), Looks(results)
    values = paired.values[~np.isnan(paired.values)]
    tau = np.linspace(values.min(), values.max(), 201)
    for name in paired.names:
        own = paired.column(name)
        own = own[~np.isnan(own)]
        axes.plot(tau, (own[:, None] > tau).mean(0), **looks.line(name))
    axes.set_xlabel(f"{title} τ")
    axes.set_ylabel("share of tasks above τ")
    axes.spines[["top", "right"]].set_visible(False)
    looks.legend(figure, columns=3)
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> bytes:
    """Writes PNG and SVG, each whole or not at all; returns the PNG."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out now; doing it again for each format takes longer than drawing
    files = {kind: rendered(figure, kind) for kind in ("svg", "png")}
    for kind, content in files.items():
        write_atomic(folder / f"{name}.{kind}", content)
    return files["png"]


def rendered(figure: Figure, kind: str) -> bytes:
    """Returns a figure as a file's bytes, signed and without a date, so that equal rows give equal files."""
    out = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": "metaal"}, "png": {"Software": "metaal"}}.get(
        kind, {"CreationDate": None, "Creator": "metaal"}
    )
    figure.savefig(out, format=kind, dpi=130, metadata=metadata)
    return out.getvalue()
