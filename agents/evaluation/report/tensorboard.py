"""The same scalars for TensorBoard: one run per strategy, with its settings as hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import MEASURES
from agents.evaluation.protocol.protocol import Protocol, file_name


def write_tensorboard(protocol: Protocol, results: Mapping[str, Episodes], folder: Path) -> None:
    """One TensorBoard run per strategy: its curves over label counts, and its scores beside the settings."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and not needed by any other caller

    for old in folder.rglob("events.out.tfevents.*"):
        old.unlink()  # drawn anew: appended events would show every point twice
    first = protocol.scenarios[0]
    for name, episodes in results.items():
        writer = SummaryWriter(str(folder / file_name(name)))
        for curve, values in episodes.curves.items():
            for labels in np.flatnonzero(~np.isnan(values).all(0)):
                writer.add_scalar(f"{curve}_by_labels", np.nanmean(values[:, labels]), int(labels))
        scores = {f"score/{m}": float(np.nanmean(measure(episodes))) for m, measure in MEASURES.items()}
        settings = {"strategy": name, **first.axes, "tasks": protocol.n_tasks}
        writer.add_hparams(settings, scores, run_name=".")
        writer.close()
