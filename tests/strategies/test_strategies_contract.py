"""What every registered strategy must keep, checked from its signature alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.task_cores import label, make_core, sample
from torch import Tensor

from agents.loading import load_strategy
from agents.strategies import STRATEGIES, PrivilegedStrategy, Strategy
from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.errors import InputError
from metaal_env.learners import LEARNERS
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS

NAMES = sorted(STRATEGIES)


def scores_of(strategy: Strategy, core: Core, state: EpisodeState) -> Tensor:
    view = core.view(state)
    if isinstance(strategy, PrivilegedStrategy):
        scores = strategy.score_with(view, core.oracle(state))
    else:
        scores = strategy.score(view)
    assert scores.shape == view.valid.shape
    assert bool(torch.isfinite(scores[view.selectable]).all())
    return scores.double().masked_fill(~view.selectable, 0)


def assert_same(a: Tensor, b: Tensor) -> None:
    """Equal up to rounding, relative to the largest score."""
    scale = max(float(b.abs().max()), 1e-6)
    torch.testing.assert_close(a / scale, b / scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("learner", ["prototype", "maml"])
def test_a_batch_equals_its_episodes_alone(name: str, learner: str) -> None:
    core = make_core(learner)
    task = sample(core, 4)
    state = core.reset(task)
    label(core, state, 2)
    together = scores_of(load_strategy(name), core, state)
    for row in range(len(task)):
        alone = core.reset(task.rows(torch.tensor([row])))
        label(core, alone, 2)
        assert_same(scores_of(load_strategy(name), core, alone)[0], together[row])


# `best_of_rules` asks rules for one pick; of equals, as the two items of a pair cluster, they take the first.
@pytest.mark.parametrize(
    "name", [n for n in NAMES if not load_strategy(n).stochastic and n != "best_of_rules"]
)
@pytest.mark.parametrize("learner", ["prototype", "maml"])
def test_scores_follow_a_permutation_of_the_pool(name: str, learner: str) -> None:
    core = make_core(learner)
    # Label-less classes share one probability: where they win, every margin is the same and ties decide.
    core.learner.unseen_logit.fill_(-12.0)
    task = sample(core, 3)
    n = task.pool.shape[1]
    order = torch.from_numpy(np.random.default_rng(1).permutation(n))
    place = torch.argsort(order)
    fields = ("pool", "pool_mask", "pool_labels", "oracle_labels")
    initial = torch.where(task.initial >= 0, place[task.initial.clamp(min=0)], -1)
    moved = replace(task, initial=initial, **{field: getattr(task, field)[:, order] for field in fields})
    state, other = core.reset(task), core.reset(moved)
    # One known item first: without any label uncertainty is constant and ties are broken at random.
    for _ in range(4):
        known = (task.pool_labels >= 0) & core.view(state).selectable
        action = known.int().argmax(1)
        core.step(state, action)
        core.step(other, place[action])
    assert_same(
        scores_of(load_strategy(name), core, other), scores_of(load_strategy(name), core, state)[:, order]
    )


@pytest.mark.parametrize("name", NAMES)
def test_masked_items_are_never_picked_from_the_first_label_to_the_last(name: str) -> None:
    core = make_core(pool_size=(6, 9), budget=5, initial_labels=0, way=(2, 3))
    strategy = load_strategy(name)
    state = core.reset(sample(core, 3))
    while True:  # up to N − 1 labels, with padding and distractors
        view = core.view(state)
        action = strategy.select(view, core.oracle(state))
        open_ = view.selectable.any(1)
        assert bool(torch.take_along_dim(view.selectable, action.unsqueeze(1), 1).squeeze(1)[open_].all())
        if bool((state.order >= 0).all()):
            break
        core.step(state, action)


@pytest.mark.parametrize("name", NAMES)
def test_every_label_count_up_to_the_last(name: str) -> None:
    core = make_core(pool_size=7, budget=6, initial_labels=0, way=2, distractors=0.0)
    state = core.reset(sample(core, 2))
    for labels in range(7):
        assert int(state.labelled.sum(1).min()) == labels
        scores_of(load_strategy(name), core, state)
        label(core, state, 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name: str) -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    label(core, state, 2)
    first = scores_of(load_strategy(name, seed=3), core, state)
    assert torch.equal(first, scores_of(load_strategy(name, seed=3), core, state))
    if load_strategy(name).stochastic:
        other = [scores_of(load_strategy(name, seed=seed), core, state) for seed in range(4, 8)]
        assert any(not torch.equal(first, scores) for scores in other)


@pytest.mark.parametrize("name", NAMES)
def test_hidden_labels_are_out_of_reach(name: str) -> None:
    core = make_core()
    task = sample(core, 3)
    state = core.reset(task)
    label(core, state, 3)
    strategy = load_strategy(name)
    if strategy.privileged:
        with pytest.raises(InputError, match="hidden labels"):
            strategy.score(core.view(state))
        with pytest.raises(InputError, match="hidden labels"):
            strategy.select(core.view(state))
        return
    before = scores_of(strategy, core, state)
    for labels in (state.task.pool_labels, state.task.oracle_labels):
        labels[~state.labelled] = 0
    state.task.reward_labels.zero_()
    state.task.test_labels.zero_()
    assert torch.equal(before, scores_of(load_strategy(name), core, state))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_holds_different_selectable_items(name: str) -> None:
    core = make_core(pool_size=(9, 14))
    state = core.reset(sample(core, 4))
    label(core, state, 1)
    view = core.view(state)
    size = 12
    picks = load_strategy(name).select_batch(view, size, core.oracle(state))
    assert picks.shape == (len(view), size)
    for row in range(len(view)):
        chosen = picks[row][picks[row] >= 0]
        assert len(chosen) == len(set(chosen.tolist())) == min(size, int(view.selectable[row].sum()))
        assert bool(view.selectable[row, chosen].all())
    single = load_strategy(name).select_batch(view, 1, core.oracle(state))
    assert single.shape == (len(view), 1)
    assert load_strategy(name).select_batch(view, 0, core.oracle(state)).shape == (len(view), 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [2, 2000, pytest.param(5000, marks=pytest.mark.slow)])
def test_pool_sizes(name: str, size: int) -> None:
    dataset = cluster_dataset(2, 6) if size == 2 else cluster_dataset(3, size // 2)
    core = make_core(
        dataset=dataset,
        way=2 if size == 2 else 3,
        pool_size=size,
        budget=1 if size == 2 else 5,
        initial_labels=0,
        distractors=0.0,
    )
    state = core.reset(sample(core, 1))
    scores_of(load_strategy(name), core, state)
    label(core, state, 1)
    scores_of(load_strategy(name), core, state)


@pytest.mark.parametrize("name", [n for n in NAMES if not load_strategy(n).privileged])
def test_a_users_pool_needs_a_learner_only_where_it_is_said(name: str) -> None:
    rng = np.random.default_rng(0)
    x, probs = rng.normal(size=(12, 3)), rng.dirichlet(np.ones(3), size=12)
    labels = np.full(12, -1)
    labels[:3] = range(3)
    view = PoolView.from_arrays(x, probs, labels, budget=4)
    strategy = load_strategy(name)
    if strategy.needs_learner:
        with pytest.raises(InputError, match="learner"):
            strategy.score(view)
        learner = LEARNERS["prototype"]((3,))
        view = PoolView.from_arrays(x, None, labels, budget=4, learner=learner)
    assert bool(torch.isfinite(strategy.score(view)[view.selectable]).all())
    assert view.selectable[0, strategy.select(view)[0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_scores_agree_between_devices(name: str) -> None:
    dataset = cluster_dataset(8, 30)
    cpu = make_core(dataset=dataset)
    task = sample(cpu, 3)
    gpu = Core(
        dataset, LEARNERS["prototype"](dataset.input_shape), cpu.config, REWARDS["aulc"], device="cuda"
    )
    results = []
    for core in (cpu, gpu):
        state = core.reset(task)
        label(core, state, 3)
        results.append(scores_of(load_strategy(name), core, state).cpu())
    scale = max(float(results[0].abs().max()), 1e-6)
    torch.testing.assert_close(results[1] / scale, results[0] / scale, atol=1e-3, rtol=1e-3)


# Rules that ask others for one pick, or that draw, follow up to ties and random numbers only.
@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if not load_strategy(n).stochastic and n != "best_of_rules"],
)
def test_large_pools_follow_a_permutation_too(name: str) -> None:
    """Beyond `MAX_LANDMARKS` items, where geometry is against landmarks."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(1300, 3)), np.full(1300, -1)
    labels[:6] = np.arange(6) % 3
    order = rng.permutation(1300)
    learner = LEARNERS["prototype"]((3,))
    strategy = load_strategy(name)
    if strategy.privileged:
        return
    scores = []
    for index in (np.arange(1300), order):
        view = PoolView.from_arrays(x[index], None, labels[index], budget=4, learner=learner)
        scores.append(strategy.score(view)[0].double().masked_fill(~view.selectable[0], 0))
    scale = max(float(scores[0].abs().max()), 1e-6)
    torch.testing.assert_close(scores[0][order] / scale, scores[1] / scale, atol=1e-3, rtol=1e-3)
