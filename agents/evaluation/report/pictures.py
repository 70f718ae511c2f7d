"""Pictures of a policy at work: one pool with its picks in order, alone or beside the learning curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.evaluation.episodes import Episodes
from agents.evaluation.report.plots import Looks, band
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.play_out import play_out
from metaal_env.render import draw_pool, title


def pool_figure(core: Core, strategy: Strategy, seed: int) -> Figure:
    """Draws the end of one episode: the pool, the picks numbered in order, classes coloured once revealed."""
    figure = Figure(figsize=(4, 4), layout="constrained")
    _draw_episode(figure.add_subplot(), core, strategy, seed)
    return figure


def verdict_figure(core: Core, strategy: Strategy, seed: int, results: Mapping[str, Episodes]) -> Figure:
    """Draws one episode of `strategy`, and beside it the mean learning curve of every strategy with intervals."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    _draw_episode(left, core, strategy, seed)
    looks = Looks(results)
    for name, episodes in results.items():
        band(right, episodes.curves["accuracy"], looks.line(name))
    right.set_xlabel("labels bought")
    right.set_ylabel("accuracy on unseen classes")
    right.legend(fontsize=8, frameon=False, loc="lower right")
    right.set_title(f"{len(next(iter(results.values())))} paired tasks · * sees hidden labels", fontsize=8)
    return figure


def _draw_episode(axes: Axes, core: Core, strategy: Strategy, seed: int) -> None:
    state = core.reset(core.sampler.sample([np.random.default_rng(seed)]))
    for _ in play_out(core, state, lambda view, _: strategy.select(view)):
        pass
    view = core.view(state)
    draw_pool(axes, view)
    axes.set_title(title(view, float(state.metrics.accuracy)), fontsize=8)
