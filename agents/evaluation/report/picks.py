"""Picks of strategies in one example pool: as a map of the pool, and as the items themselves in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure
from agents.evaluation.report.example_pools import ExamplePool, opened
from agents.evaluation.statistics.comparisons import RANDOM, mean_of

MAX_EXAMPLES = 5
"""Strategies whose picks are shown."""

_GREY = "#999999"


@dataclass(frozen=True)
class Pick:
    """One labelled item as the report shows it; `picture` and `text` may be empty."""

    rank: int
    item: int
    class_name: str
    colour: str
    is_new: bool
    picture: str
    text: str


def picks_of(
    results: Mapping[str, Episodes], key: str, example: ExamplePool, measure: Measure
) -> dict[str, np.ndarray]:
    """Returns label → (T,) picks in the example's task: policies and random first, then by mean.

    Strategies that did not play that task are left out.
    """
    means = {name: mean_of(measure(e)) for name, e in results.items()}
    telling = sorted(results, key=lambda n: (not is_policy(n), n != RANDOM, -means[n]))
    found: dict[str, np.ndarray] = {}
    for name in telling:
        e = results[name]
        rows = e.picks[(e.strata == key) & (e.seeds == example.seed)]
        if len(rows) and rows[0].max() < len(example.x):
            found[e.label] = rows[0]
    return dict(list(found.items())[:MAX_EXAMPLES])


def colour_of(label: int) -> str:
    """Returns the colour of a class; distractors are grey."""
    from matplotlib import colormaps

    return to_hex(colormaps["tab20"](label % 20)) if label >= 0 else _GREY


def strips(example: ExamplePool, picks: Mapping[str, np.ndarray]) -> dict[str, list[Pick]]:
    """Returns strategy → its picks in order, as the report shows them."""
    shown: dict[str, list[Pick]] = {}
    for name, order in picks.items():
        seen: set[int] = set()
        row = []
        for rank, item in enumerate(order[order >= 0].tolist(), start=1):
            label = example.label[item]
            row.append(
                Pick(
                    rank=rank,
                    item=item,
                    class_name=example.class_of(item),
                    colour=colour_of(label),
                    is_new=label >= 0 and label not in seen,
                    picture=example.pictures[item] if example.pictures else "",
                    text=example.texts[item] if example.texts else "",
                )
            )
            seen.add(label)
        shown[name] = row
    return shown


def example_figure(example: ExamplePool, picks: Mapping[str, np.ndarray]) -> Figure:
    """Draws the pool in two dimensions, coloured by true class, with each strategy's picks in order.

    Where items are images a first panel shows them in their places.

    Args:
        example: the pool.
        picks: strategy → (T,) pool positions, −1 beyond the budget.
    """
    panels_needed = len(picks) + bool(example.pictures)
    columns = min(3, panels_needed)
    rows = -(-panels_needed // columns)
    figure = Figure(figsize=(3.5 * columns, 3.4 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    colours = [colour_of(label) for label in example.label]
    if example.pictures:
        _draw_pictures(panels.pop(0), example, colours)
    for panel, (name, order) in zip(panels, picks.items(), strict=False):
        panel.scatter(example.x, example.y, c=colours, s=18, alpha=0.75, linewidths=0)
        for rank, item in enumerate(order[order >= 0], start=1):
            panel.annotate(
                str(rank), (example.x[item], example.y[item]), fontsize=7.5, ha="center", va="center",
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "linewidth": 0.6},
            )  # fmt: skip
        panel.set_title(name, fontsize=10)
    return figure


def _draw_pictures(panel: Axes, example: ExamplePool, colours: list[str]) -> None:
    panel.set_title("the items", fontsize=10)
    panel.scatter(example.x, example.y, s=0)  # fits the axes to the points
    for x, y, picture, colour in zip(example.x, example.y, example.pictures, colours, strict=True):
        pixels = np.asarray(opened(picture).convert("RGB"))
        box = OffsetImage(pixels, zoom=11 / max(pixels.shape[:2]))
        panel.add_artist(
            AnnotationBbox(box, (x, y), pad=0.08, bboxprops={"edgecolor": colour, "linewidth": 0.9})
        )
