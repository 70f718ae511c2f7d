"""The text card that TensorBoard shows of a training run: what it is, and what its charts mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

TAG = "about"

LABELS = "labels bought in PPO's roll-outs (its time-steps)"
CHARTS = (
    (
        "learner_by_update/*",
        "meta-training updates",
        "loss and accuracy of the inner learner on few-shot tasks",
    ),
    (
        "learner_validation_by_update/*_at_n",
        "meta-training updates",
        "the same on validation classes, given n labels",
    ),
    (
        "imitation_by_rollout/expected_gain",
        "roll-outs of imitation",
        "expected gain of the policy's next label over the mean of the candidates, in the unit of the reward",
    ),
    (
        "validation/aulc",
        LABELS,
        "area under the accuracy curve on fixed validation tasks, one line per strategy; rules do not change",
    ),
    ("validation/share_of_gap_closed", LABELS, "(policy − random) / (greedy look-ahead − random)"),
    ("validation/share_of_classes_found", LABELS, "classes with a label when the budget is spent"),
    ("rollout/*", LABELS, "the sampling policy on training tasks"),
    (
        "policy/*",
        LABELS,
        "entropy, and divergence from the prior rule and from the start, in nats",
    ),
    (
        "critic/variance_explained",
        LABELS,
        "share of the variance of the starting policy's returns that the critic explains",
    ),
    ("train/*, time/*", LABELS, "stable-baselines3's own"),
    (
        "verdict/aulc",
        "none",
        "the measure of validation/aulc on tasks of test classes, one point per strategy",
    ),
)
"""Tags of charts, what their x-axis counts and what their y-axis shows."""


def write_run_card(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes the card of the run in `folder` to its TensorBoard files, unless an earlier start of it did.

    Args:
        folder: of the run; its name is the run's.
        settings: every setting; ``dataset`` and ``learner`` stand in the first line.
    """
    charts = folder / "tensorboard"
    if any(charts.glob("events.out.tfevents.*")):
        return
    rows = "".join(f"| {tags} | {x} | {y} |\n" for tags, x, y in CHARTS)
    code = json.dumps(settings, indent=2, default=str).replace("\n", "\n    ")
    card = (
        f"**{folder.name}**: an acquisition policy trained on `{settings.get('dataset', '?')}` with the inner "
        f"learner `{settings.get('learner', '?')}`.\n\n"
        f"| charts | x-axis | y-axis |\n|---|---|---|\n{rows}\nSettings:\n\n    {code}\n"
    )
    with SummaryWriter(str(charts)) as writer:
        writer.add_text(TAG, card)
