"""Tasks: disjoint sets, honest counts, determinism, clear refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from metaal_env.errors import InputError
from metaal_env.random_parts import class_shares
from metaal_env.sampler import SORTED, TaskSampler
from metaal_env.tasks import TaskConfig


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"way": (2, 6), "pool_size": (10, 40), "budget": (1, 5), "initial_labels": (0, 3)},
        {"class_concentration": float("inf")},
        {"class_concentration": 0.1, "distractors": 0.3, "label_noise": 0.2},
        {"rare_share": 0.05, "class_concentration": 1.0},
    ],
)
def test_pool_reward_and_test_are_disjoint_and_labelled_truly(options: dict[str, Any]) -> None:
    data = cluster_dataset()
    config = TaskConfig(**({"way": 5, "pool_size": 30, "budget": 6} | options))
    tasks = TaskSampler(data, config).sample(generators(64))
    for b in range(len(tasks)):
        mask = tasks.pool_mask[b]
        pool = tasks.pool[b][mask].tolist()
        reward = tasks.reward[b][tasks.reward_labels[b] >= 0].tolist()
        test = tasks.test[b][tasks.test_labels[b] >= 0].tolist()
        assert len({*pool, *reward, *test}) == len(pool) + len(reward) + len(test)
        way = int(tasks.class_mask[b].sum())
        classes = tasks.classes[b][:way]
        assert len(reward) == way * config.reward_per_class and len(test) == way * config.test_per_class
        for name in ("reward", "test"):
            labels = getattr(tasks, f"{name}_labels")[b]
            rows = getattr(tasks, name)[b][labels >= 0]
            assert torch.equal(classes[labels[labels >= 0]], data.labels[rows])
        real = tasks.pool_labels[b][mask]
        own = real >= 0
        assert torch.equal(classes[real[own]], data.labels[tasks.pool[b][mask][own]])
        assert set(real[own].tolist()) == set(range(way)), "every class is in the pool"
        outside = data.labels[tasks.pool[b][mask][~own]]
        assert not np.isin(outside.numpy(), classes.numpy()).any(), "distractors are of other classes"
        given = tasks.initial[b][tasks.initial[b] >= 0]
        assert len(set(given.tolist())) == len(given)


def test_shares_follow_the_configuration() -> None:
    config = TaskConfig(way=5, pool_size=100, budget=5, label_noise=0.25, distractors=0.2)
    tasks = TaskSampler(cluster_dataset(), config).sample(generators(200))
    assert tasks.pool_mask.sum(1).eq(100).all()
    assert (tasks.pool_labels < 0).sum(1).eq(20).all()
    own = tasks.pool_labels >= 0
    wrong = (tasks.oracle_labels != tasks.pool_labels)[own].float().mean()
    assert abs(float(wrong) - 0.25) < 0.02
    balanced = TaskSampler(
        cluster_dataset(), TaskConfig(way=5, pool_size=50, budget=5, class_concentration=float("inf"))
    )
    labels = balanced.sample(generators(5)).pool_labels
    assert all(torch.bincount(row).tolist() == [10] * 5 for row in labels)
    config = TaskConfig(way=2, pool_size=60, budget=5, rare_share=0.05, reward_per_class=4, test_per_class=4)
    rare = TaskSampler(cluster_dataset(4, 80), config).sample(generators(40)).pool_labels
    counts = torch.stack([torch.bincount(row, minlength=2) for row in rare])
    assert counts.amin(1).eq(3).all() and counts.argmin(1).unique().tolist() == [0, 1]


@pytest.mark.parametrize("per_class", [40, SORTED + 1])
def test_every_item_and_class_is_as_likely_as_any_other(per_class: int) -> None:
    data = cluster_dataset(6, per_class)
    config = TaskConfig(way=3, pool_size=20, budget=5, reward_per_class=2, test_per_class=3, distractors=0.2)
    tasks = TaskSampler(data, config).sample(generators(4000))
    drawn = np.bincount(
        torch.cat([tasks.pool, tasks.reward, tasks.test], 1).flatten(), minlength=6 * per_class
    )
    expected = 4000 * 35 / (6 * per_class)
    # A draw without replacement has less variance than a Poisson one, up to the variance of class shares.
    assert abs(drawn.mean() - expected) < 1e-9 and drawn.var() < 1.3 * expected
    first = torch.bincount(data.labels[tasks.pool[:, 0]], minlength=6).double() / 4000
    assert (first - 1 / 6).abs().max() < 0.03


@pytest.mark.parametrize("concentration", [0.01, 0.5, 1.0, 20.0])
def test_class_shares_are_dirichlet(concentration: float) -> None:
    """Against NumPy's own Dirichlet distribution: moments of the largest and the smallest share."""
    rngs = generators(3000)
    uniform = np.random.default_rng(1).random((3000, 4))
    shares = class_shares(rngs, uniform, np.ones((3000, 4), dtype=bool), concentration)
    theirs = np.random.default_rng(2).dirichlet(np.full(4, concentration), size=3000)
    assert np.allclose(shares.sum(1), 1)
    for statistic in (np.max, np.min):
        ours, expected = statistic(shares, axis=1), statistic(theirs, axis=1)
        error = 5 * np.sqrt((ours.var() + expected.var()) / 3000) + 1e-12
        assert abs(ours.mean() - expected.mean()) < error
    part = class_shares(rngs, uniform, np.arange(4) < np.full((3000, 1), 2), concentration)
    assert np.allclose(part[:, :2].sum(1), 1) and not part[:, 2:].any()


@pytest.mark.parametrize("per_class", [40, SORTED + 1])
def test_a_batch_is_its_members_drawn_alone(per_class: int) -> None:
    data = cluster_dataset(items=per_class)
    config = TaskConfig(way=(2, 5), pool_size=(8, 30), budget=(2, 6), label_noise=0.3, distractors=0.1)
    sampler = TaskSampler(data, config)
    batch = sampler.sample(generators(7))
    for i in range(7):
        alone = sampler.sample([np.random.default_rng(i)])
        for name, value in vars(batch).items():
            assert torch.equal(value[i : i + 1], getattr(alone, name)), name


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"way": 1}, "way"),
        ({"way": (5, 2)}, "way"),
        ({"budget": 0}, "budget"),
        ({"budget": 50, "pool_size": 40}, "budget"),
        ({"budget": 20, "pool_size": 40, "initial_labels": 25}, "initial_labels"),
        ({"class_concentration": 0.0}, "class_concentration"),
        ({"rare_share": 1.0}, "rare_share"),
        ({"rare_share": -0.1}, "rare_share"),
        ({"label_noise": 1.5}, "label_noise"),
        ({"distractors": -0.1}, "distractors"),
        ({"reward_per_class": 0}, "reward_per_class"),
        ({"way": 10, "pool_size": 5, "budget": 2}, "way=10 exceeds"),
        ({"way": 10, "pool_size": 12, "budget": 2, "distractors": 0.5}, r"distractors=0\.5"),
    ],
)
def test_impossible_configurations_are_refused_by_name(options: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        TaskConfig(**options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"way": 13}, "way"),
        ({"reward_per_class": 20, "test_per_class": 20, "way": 5}, "reward_per_class"),
        ({"way": 12, "distractors": 0.2}, "distractors"),
        ({"way": 2, "pool_size": 90, "budget": 60}, "pool_size"),
    ],
)
def test_data_that_cannot_supply_the_tasks_is_refused(options: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        TaskSampler(cluster_dataset(), TaskConfig(**options))
