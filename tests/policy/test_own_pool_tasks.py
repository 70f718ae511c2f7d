"""Tasks like own pools show what `query` shows: classes by their appearance, and a classifier that knows no others."""

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset

from benchmarks.policy.own_pool_tasks import ABSENT, OwnPoolCore, own_pool_shape
from metaal_env.make import make_core
from metaal_env.pool.view import PoolView


def played(guided: bool, named: bool, labels: int) -> tuple[PoolView, PoolView]:
    """The view of an own pool after some labels, and that of the benchmark's task under the same classifier."""
    base = make_core(cluster_dataset(), way=3, pool_size=20, budget=8, reward_per_class=5, test_per_class=5)
    core = OwnPoolCore(base, guided=guided, named=named, rng=np.random.default_rng(0))
    state = core.reset(core.sampler.sample([np.random.default_rng(seed) for seed in range(4)]))
    for position in range(labels):
        core.step(state, torch.full((4,), position))
    return core.view(state), super(OwnPoolCore, core).view(state)


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("labels", [0, 1, 5])
def test_classes_are_numbered_anew_and_those_with_labels_come_first(guided: bool, labels: int) -> None:
    shown, task = played(guided, False, labels)
    assert torch.equal(shown.labelled, task.labelled) and torch.equal(shown.order, task.order)
    for row in range(4):
        count = int(task.seen[row].sum())
        assert shown.seen[row].tolist() == [True] * count + [False] * (shown.class_mask.shape[1] - count)
        pairs = {*zip(shown.labels[row].tolist(), task.labels[row].tolist(), strict=True)}
        assert len(pairs) == len({new for new, _ in pairs}) == len({old for _, old in pairs})  # one to one
    assert bool(shown.class_mask.all()) and bool(shown.logits.isfinite().all())


def test_a_classifier_knows_no_class_without_a_label() -> None:
    shown, task = played(True, True, 5)
    for row in range(4):
        count = int(task.seen[row].sum())
        if count < 2:
            continue
        assert bool((shown.logits[row, :, count:] == ABSENT).all())
        known = task.logits[row][:, task.seen[row]].softmax(-1)
        torch.testing.assert_close(shown.probs[row, :, :count], known, atol=1e-5, rtol=1e-4)


def test_shapes_are_those_of_users() -> None:
    data = cluster_dataset()
    base = make_core(data, way=3, pool_size=20, budget=8, reward_per_class=5, test_per_class=5)
    drawn = [own_pool_shape(base.config, data, np.random.default_rng(seed)) for seed in range(200)]
    two = [shape for shape in drawn if shape.way == 2]
    assert 25 < len(two) < 200 and 5 < sum(shape.rare_share > 0 for shape in two) < len(two)
    assert all(150 <= shape.max_pool <= 1200 and shape.budget == 30 for shape in drawn)
