"""Meta-training: its tasks, what it improves, and that an interrupted one ends with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.faults import AtUpdate, killed

from metaal_env.learners import build_learner
from metaal_env.learners.base import InnerLearner
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.few_shot_tasks import draw_items, draw_tasks
from metaal_env.meta_training.loss import task_logits, task_loss
from metaal_env.meta_training.train import meta_train

TINY = MetaTrainConfig(
    iterations=30, classes_per_batch=6, items_per_class=8, tasks_per_batch=8, way=(3, 5), max_labels=6,
    validate_every=10, validation_tasks=60,
)  # fmt: skip


def test_supports_of_meta_training_look_like_acquisition() -> None:
    rng = np.random.default_rng(0)
    tasks = draw_tasks(rng, 12, 10, tasks=500, way=(3, 6), max_labels=8, queries=2)
    n = tasks.support_mask.sum(1)
    assert set(n.tolist()) == set(range(1, 9))
    way = tasks.class_mask.sum(1)
    assert set(way.tolist()) == {3, 4, 5, 6}
    missing = [
        len(set(labels[mask].tolist())) < int(k)
        for labels, mask, k in zip(tasks.support_labels, tasks.support_mask, way, strict=True)
    ]
    assert 0.5 < np.mean(missing) < 1, "classes are often missing, and not always"
    for support, mask, query, labels in zip(
        tasks.support, tasks.support_mask, tasks.query, tasks.query_labels, strict=True
    ):
        assert not set(support[mask].tolist()) & set(query[labels >= 0].tolist())


def test_meta_training_improves_and_calibrates(tmp_path: Path) -> None:
    data = cluster_dataset(classes=24)
    train, validation = data.split("train"), data.split("validation")
    torch.manual_seed(0)
    learner = build_learner("maml", data.input_shape, width=16)
    rng = np.random.default_rng(1)
    grid = draw_items(validation, rng, 4, 20)
    tasks = draw_tasks(rng, *grid.shape, tasks=200, way=3, max_labels=6, queries=4)

    def loss() -> float:
        with torch.no_grad():
            features = learner.prepare(validation.inputs[grid.ravel()])
            return float(task_loss(task_logits(learner, features, tasks), tasks.query_labels))

    before = loss()
    meta_train(learner, train, validation, TINY, tmp_path / "learner.pt")
    assert loss() < 0.9 * before


def test_interrupted_meta_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = cluster_dataset(classes=24)
    train, validation = data.split("train"), data.split("validation")

    def fresh() -> InnerLearner:
        torch.manual_seed(0)
        return build_learner("maml", data.input_shape, width=16)

    whole = fresh()
    meta_train(whole, train, validation, TINY, tmp_path / "whole.pt")
    with pytest.raises(RuntimeError, match="killed"):  # in the middle of an interval, after two checkpoints
        meta_train(fresh(), train, validation, TINY, tmp_path / "resumed.pt", AtUpdate(24, killed))
    resumed = fresh()
    meta_train(resumed, train, validation, TINY, tmp_path / "resumed.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
