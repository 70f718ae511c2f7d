"""Scalars for TensorBoard: one run per strategy, so that strategies share a chart wherever they share a tag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import MEASURES
from agents.evaluation.protocol.protocol import Protocol, file_name

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

ABOUT = """Each run is one strategy; every chart holds all of them. The x-axis of `*_by_labels` is the number of labels
bought in an episode, the y-axis the mean over tasks. `score/*` is one number per strategy, higher is better (the tab
HPARAMS lists them beside the settings)."""


class StrategyCharts:
    """Writes numbers of several strategies under one tag, each strategy as a TensorBoard run of its own.

    TensorBoard draws runs that share a tag into one chart, and names them after their folders.

    Args:
        folder: holds one folder per strategy.
        purge_step: events from this step on, left by an interrupted run, are hidden.
    """

    def __init__(self, folder: Path, purge_step: int | None = None):
        self.folder, self.purge_step = folder, purge_step
        self._writers: dict[str, SummaryWriter] = {}

    def writer(self, strategy: str) -> SummaryWriter:
        """Returns the writer of one strategy's run."""
        from torch.utils.tensorboard import (
            SummaryWriter,  # slow to import, and not needed by any other caller
        )

        if strategy not in self._writers:
            folder = str(self.folder / file_name(strategy))
            self._writers[strategy] = SummaryWriter(folder, purge_step=self.purge_step)
        return self._writers[strategy]

    def add(self, tag: str, values: Mapping[str, float], step: int) -> None:
        """Adds one number per strategy to the chart `tag`."""
        for strategy, value in values.items():
            self.writer(strategy).add_scalar(tag, value, step)
            self.writer(strategy).flush()

    def close(self) -> None:
        """Closes every run's file."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def write_tensorboard(protocol: Protocol, results: Mapping[str, Episodes], folder: Path) -> None:
    """Writes one TensorBoard run per strategy: curves over label counts, scores beside the settings, a text card."""
    for old in folder.rglob("events.out.tfevents.*"):
        old.unlink()  # drawn anew: appended events would show every point twice
    first = protocol.scenarios[0]
    specs = {contestant.name: contestant.spec for contestant in protocol.contestants}
    scenarios = "\n".join(f"- {scenario.key}" for scenario in protocol.scenarios)
    charts = StrategyCharts(folder)
    for name, episodes in results.items():
        for curve, values in episodes.curves.items():
            for labels in np.flatnonzero(~np.isnan(values).all(0)):
                charts.writer(name).add_scalar(
                    f"{curve}_by_labels", np.nanmean(values[:, labels]), int(labels)
                )
        scores = {f"score/{m}": float(np.nanmean(measure(episodes))) for m, measure in MEASURES.items()}
        settings = {"strategy": name, **first.axes, "tasks": protocol.n_tasks}
        charts.writer(name).add_hparams(settings, scores, run_name=".")
        card = f"**{name}** (`{specs.get(name, name)}`) on {len(episodes)} tasks of\n\n{scenarios}\n\n{ABOUT}"
        charts.writer(name).add_text("about", card)
    charts.close()
