"""Figures of episodes: learning curves, performance profile, an example pool."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.paired import pair
from metaal_env.runtime.files import write_atomic

MAX_PANELS = 6
"""Scenarios shown side by side in one figure; further ones stand in the matrix."""

_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#b8a800", "#8c564b",
    "#332288", "#000000", "#44aa99", "#aa4499",
)  # fmt: skip  # Okabe and Ito's colour-blind safe palette, and seven more


class Looks:
    """One colour per strategy in every figure; the policy is thick, privileged ones are dashed."""

    def __init__(self, results: Mapping[str, Episodes]):
        self.results = results
        self.colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(results)}

    def line(self, name: str) -> dict[str, Any]:
        return {
            "color": self.colours[name],
            "linestyle": "--" if self.results[name].privileged else "-",
            "linewidth": 2.6 if is_policy(name) else 1.4,
            "label": self.results[name].label,
        }


def learning_curves(
    results: Mapping[str, Episodes],
    names: Mapping[str, str] | None = None,
    curve: str = "accuracy",
    floor: str = "random",
) -> Figure:
    """Mean curve with its 95 % interval; below it the paired difference to `floor`, which is what is tested.

    Args:
        names: scenario key → its short name; one column each. None shows every scenario under its own name.
        curve: which of `measures.CURVES`.
    """
    names = names or {str(s): str(s) for e in results.values() for s in e.strata}
    keys = list(names)[:MAX_PANELS]
    rows = 2 if floor in results and len(results) > 1 else 1
    figure = Figure(figsize=(4.8 * len(keys) + 1.8, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, len(keys), squeeze=False, sharex="col")
    looks = Looks(results)
    for column, key in enumerate(keys):
        here = {name: e.rows(e.strata == key) for name, e in results.items()}
        for name, episodes in here.items():
            if len(episodes) == 0:
                continue
            band(axes[0, column], episodes.curves[curve], looks.line(name))
            if rows == 2 and name != floor and len(here[floor]):
                band(axes[1, column], _paired_curve(here, name, floor, curve), looks.line(name))
        axes[0, column].set_title(names[key], fontsize=10)
        axes[-1, column].set_xlabel("labels bought")
        if rows == 2:
            axes[1, column].axhline(0, color="black", linewidth=0.8)
    axes[0, 0].set_ylabel(curve.replace("_", " "))
    if rows == 2:
        axes[1, 0].set_ylabel(f"difference to {floor}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _paired_curve(here: Mapping[str, Episodes], name: str, floor: str, curve: str) -> np.ndarray:
    """(n, T+1) differences on the tasks that both have."""
    a, b = here[name], here[floor]
    _, left, right = np.intersect1d(a.seeds, b.seeds, return_indices=True)
    width = min(a.curves[curve].shape[1], b.curves[curve].shape[1])
    return a.curves[curve][left, :width] - b.curves[curve][right, :width]


def band(axes: Axes, curve: np.ndarray, look: dict[str, Any]) -> None:
    """Mean over tasks and 1.96 standard errors at each label count; empty label counts are left out."""
    n = (~np.isnan(curve)).sum(0)
    x = np.flatnonzero(n > 0)
    middle = np.nanmean(curve[:, x], 0)
    half = np.where(n[x] > 1, 1.96 * np.nanstd(curve[:, x], 0) / np.sqrt(n[x]), 0)
    axes.plot(x, middle, **look)
    axes.fill_between(x, middle - half, middle + half, color=look["color"], alpha=0.12, linewidth=0)
    axes.spines[["top", "right"]].set_visible(False)


def performance_profile(results: Mapping[str, Episodes]) -> Figure:
    """Share of tasks whose AULC exceeds τ, for every τ (Agarwal et al. 2021, §4.2)."""
    paired = pair(results)
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes, looks = figure.subplots(), Looks(results)
    values = paired.values[~np.isnan(paired.values)]
    tau = np.linspace(values.min(), values.max(), 201)
    for name in paired.names:
        own = paired.column(name)
        own = own[~np.isnan(own)]
        axes.plot(tau, (own[:, None] > tau).mean(0), **looks.line(name))
    axes.set_xlabel("AULC τ")
    axes.set_ylabel("share of tasks above τ")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def example_pool(example: Mapping[str, Sequence[float]], picks: Mapping[str, np.ndarray]) -> Figure:
    """One pool projected to two dimensions, coloured by true class, with each strategy's picks in order.

    Args:
        example: ``x``, ``y`` (N,) coordinates and ``label`` (N,) classes, −1 for distractors.
        picks: strategy → (T,) pool positions, −1 beyond the budget.
    """
    columns = min(3, len(picks))
    rows = -(-len(picks) // columns)
    figure = Figure(figsize=(4.1 * columns, 3.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    x, y, label = (np.asarray(example[name]) for name in ("x", "y", "label"))
    for panel, (name, order) in zip(panels, picks.items(), strict=False):
        panel.scatter(
            x, y, c=np.where(label < 0, np.nan, label), cmap="tab20", s=18, alpha=0.75, linewidths=0
        )
        for rank, item in enumerate(order[order >= 0], start=1):
            panel.annotate(
                str(rank), (x[item], y[item]), fontsize=7.5, ha="center", va="center",
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "linewidth": 0.6},
            )  # fmt: skip
        panel.set_title(name, fontsize=10)
    for panel in panels:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
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
    """The figure as a file's bytes; without a date, so that equal rows give equal files."""
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(out, format=kind, dpi=130, metadata=metadata)
    return out.getvalue()
