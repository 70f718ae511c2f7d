"""Pictures of a policy at work: one pool with its picks in order, alone or beside the learning curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from agents.evaluation.episodes import Episodes
from agents.evaluation.report.plots import Looks, band
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.play_out import play_out
from metaal_env.render import draw_pool, title


def pool_figure(core: Core, strategy: Strategy, seed: int) -> Figure:
    """Draws the end of one episode: the pool, the picks numbered in order, classes coloured once revealed."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_draw_episode(axes, core, strategy, seed), fontsize=8)
    return figure


def verdict_figure(core: Core, strategy: Strategy, seed: int, results: Mapping[str, Episodes]) -> Figure:
    """Draws one episode of `strategy`, and beside it the mean learning curve of every strategy with intervals."""
    figure = Figure(figsize=(11, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    state = _draw_episode(left, core, strategy, seed)
    left.set_title(
        f"one pool: the policy's picks in order, a colour for each class found\n{state}", fontsize=9
    )
    looks = Looks(results)
    for name, episodes in results.items():
        band(right, episodes.curves["accuracy"], looks.line(name))
    right.set_xlabel("labels bought")
    right.set_ylabel("accuracy on unseen classes")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.margins(x=0.01)
    lines = {line.get_label(): line for line in right.get_lines()}
    best_first = [lines[results[name].label] for name in looks.order if results[name].label in lines]
    right.legend(handles=best_first, fontsize=9, frameon=False, loc="lower right", handlelength=2.6)
    n = len(next(iter(results.values())))
    shown = "\n* sees the hidden labels" if any(e.privileged for e in results.values()) else ""
    right.set_title(f"all strategies: means and 95 % intervals over {n} paired tasks{shown}", fontsize=9)
    return figure


def _draw_episode(axes: Axes, core: Core, strategy: Strategy, seed: int) -> str:
    """Plays an episode, draws its end and returns its state in words."""
    state = core.reset(core.sampler.sample([np.random.default_rng(seed)]))
    for _ in play_out(core, state, lambda view, _: strategy.select(view)):
        pass
    view = core.view(state)
    axes.set_box_aspect(1)
    draw_pool(axes, view, images=core.pool_images(state))
    return title(view, float(state.metrics.accuracy))
