"""Accuracy, log-loss and calibration of a learner by number of labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.learners.base import InnerLearner
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.few_shot_tasks import draw_items, draw_tasks
from metaal_env.meta_training.loss import task_logits, task_loss
from metaal_env.metrics import calibration_error
from metaal_env.tasks import bounds


class Report(NamedTuple):
    """Holds the quality of a learner for each of L numbers of labels."""

    labels: list[int]
    accuracy: list[float]
    log_loss: list[float]
    calibration_error: list[float]


@torch.no_grad()
def evaluate_learner(
    learner: InnerLearner, dataset: ClassDataset, config: MetaTrainConfig, seed: int = 1
) -> Report:
    """Measures accuracy, log-loss and calibration by label count, on fixed acquisition-like tasks of `dataset`.

    With ``config.balanced`` the tasks are balanced, and the counts are labels per class.
    """
    rng = np.random.default_rng(seed)
    items = draw_items(dataset, rng, dataset.n_classes, config.items_per_class)
    prepared = learner.prepare_all(dataset.inputs[items.ravel()])
    most = bounds(config.shots)[1] if config.balanced else config.max_labels
    counts = sorted({1, 2, 5, 10, most} & set(range(1, most + 1)))
    columns: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "calibration_error": []}
    for n in counts:
        tasks = draw_tasks(
            rng,
            *items.shape,
            tasks=config.validation_tasks // len(counts) + 1,
            way=config.way,
            max_labels=config.max_labels,
            queries=config.queries_per_class,
            labels=n,
            shots=n if config.balanced else None,
        ).to(prepared.device)
        logits = task_logits(learner, prepared, tasks)
        mask = tasks.query_labels >= 0
        probs = torch.softmax(logits[mask], -1)
        confidence, guess = probs.max(-1)
        hit = guess == tasks.query_labels[mask]
        columns["accuracy"].append(float(hit.float().mean()))
        columns["log_loss"].append(float(task_loss(logits, tasks.query_labels)))
        columns["calibration_error"].append(float(calibration_error(confidence[None], hit[None])))
    return Report(counts, **columns)
