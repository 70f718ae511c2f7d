"""Figures for people who label: why these items, and which rules a policy resembles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from agents.acquisition.batch import Selection
from agents.acquisition.why.likeness import Likeness
from agents.evaluation.report.plots import rendered
from agents.policy.reasons import Part, parts, words
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.runtime.files import write_atomic

MAX_PANELS = 12
"""Suggestions that fit on one figure; further ones stand in the table."""
MAX_BARS = 6
COLUMNS = 2
PRIOR, NETWORK = "#0072b2", "#e69f00"  # of Okabe and Ito's colour-blind safe palette
KINDS = ("png", "svg", "pdf")


def why_figure(found: Selection, names: Sequence[str]) -> Figure:
    """Per suggestion the features that moved its score most, upwards to the right.

    For a learned policy, contributions to the score beyond the average item's: its prior and its network, as
    `explain.explain` attributes them. For a rule, where the item stands out from the pool.

    Args:
        found: what `query.select` returned.
        names: (b,) what a person calls each pick.
    """
    count = min(len(found.picks), MAX_PANELS)
    rows = -(-count // COLUMNS)
    figure = Figure(figsize=(13, 0.4 + 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    learned = isinstance(found.strategy, LearnedStrategy)
    for rank, axis in enumerate(axes[:count]):
        all_parts = parts(found.strategy, found.views[rank], found.places[rank])
        largest = sorted(all_parts, key=lambda part: -abs(part.weight))[:MAX_BARS]
        largest = [part for part in largest if part.weight != 0][::-1]
        place = np.arange(len(largest))
        prior = np.array([part.prior for part in largest])
        correction = np.array([part.correction for part in largest])
        # Parts of one sign are stacked; of opposite signs they grow from zero to either side.
        start = np.where(prior * correction > 0, prior, 0.0)
        axis.barh(place, prior, color=PRIOR)
        axis.barh(place, correction, left=start, color=NETWORK)
        axis.set_yticks(place, [_label(part) for part in largest], fontsize=8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(f"{rank + 1}. {names[rank][:80]}", fontsize=9, loc="left")
    for axis in axes[count:]:
        axis.set_axis_off()
    if learned:
        handles = [axes[0].barh(0, 0, color=colour) for colour in (PRIOR, NETWORK)]
        figure.legend(handles, ["prior", "network"], loc="outside upper right", ncols=2, frameon=False)
        figure.supxlabel("contribution to the score beyond the average item's")
    else:
        figure.supxlabel("standard deviations from the pool's mean")
    return figure


def _label(part: Part) -> str:
    return f"{words(part)} ({part.name.removesuffix('_absolute')})"


def report_figure(report: Sequence[Likeness]) -> Figure:
    """Rules × number of labels, coloured by rank correlation; the rule most like the policy stands at the top."""
    labels = sorted({point.labels for point in report})
    table: dict[str, list[float]] = {}
    for point in sorted(report, key=lambda point: point.labels):
        table.setdefault(point.rule, []).append(point.correlation)
    rules = sorted(table, key=lambda rule: -float(np.nan_to_num(table[rule], nan=0.0).mean()))
    values = np.array([table[rule] for rule in rules])  # (rules, labels)
    figure = Figure(figsize=(2.6 + 0.8 * len(labels), 1.2 + 0.36 * len(rules)), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    axis.set_xticks(range(len(labels)), [str(n) for n in labels])
    axis.set_yticks(range(len(rules)), rules)
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:+.2f}"
        axis.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if abs(value) > 0.6 else "black",
        )
    axis.set_xlabel("labels")
    axis.set_title("rank correlation of the policy's scores with each rule's", fontsize=10)
    figure.colorbar(image)
    return figure


def check_figure_path(path: Path | None) -> None:
    """Before the work is done. Raises: `InputError` for a suffix that is no figure's."""
    if path is not None and path.suffix.lower().removeprefix(".") not in KINDS:
        raise InputError(f"figure={str(path)!r} must end in {', '.join('.' + kind for kind in KINDS)}.")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes it whole or not at all, in the format that the suffix names."""
    check_figure_path(path)
    write_atomic(path, rendered(figure, path.suffix.lower().removeprefix(".")))
