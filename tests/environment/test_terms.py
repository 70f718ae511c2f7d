"""Prices, batches, costs and targets: returns are the metrics they stand for, masks tell what may be done."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.episode_terms import hardness
from metaal_env.errors import InputError
from metaal_env.features import extract
from metaal_env.features.names import FeatureNames
from metaal_env.make import make_core
from metaal_env.metrics import score_logits
from metaal_env.observation import PENDING
from metaal_env.tasks import TaskConfig
from metaal_env.vector_env import MetaALVectorEnv

SMALL = {"way": 3, "pool_size": (14, 16), "budget": 6, "reward_per_class": 5, "test_per_class": 4}
TERMS: dict[str, dict[str, Any]] = {
    "price": {"reward": "accuracy_gain", "price": (0.001, 0.1)},
    "batch_size": {"batch_size": (2, 4)},
    "item_costs": {"reward": "aulc_over_money", "item_costs": 0.6, "cost_hardness": (-0.5, 0.9)},
    "target": {"reward": "label_cost", "target": (0.3, 0.8)},
}
ALL = TERMS["price"] | TERMS["batch_size"] | {"item_costs": 0.5, "target": 0.7}


def core_of(**options: Any) -> Core:
    return make_core(cluster_dataset(), **SMALL | options)


def start(core: Core, n: int = 16) -> EpisodeState:
    return core.reset(core.sampler.sample(generators(n)))


def random_action(state: EpisodeState, rng: np.random.Generator) -> torch.Tensor:
    mask = state.selectable.double() + 1e-12 * state.task.pool_mask
    return torch.tensor([rng.choice(mask.shape[1], p=(row / row.sum()).numpy()) for row in mask])


def play(
    core: Core, state: EpisodeState, seed: int = 0
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Returns total reward, and accuracies and money spent after every step."""
    rng, total = np.random.default_rng(seed), torch.zeros(len(state))
    accuracy, spent = [state.metrics.accuracy], [torch.zeros(len(state))]
    for _ in range(core.config.max_actions):
        total = total + core.step(state, random_action(state, rng)).reward
        accuracy.append(state.metrics.accuracy)
        spent.append(state.task.budget - state.terms.money_left)
    assert bool(state.ended.all()), "an episode is longer than max_actions"
    return total, accuracy, spent


@pytest.mark.parametrize("after", [0, 3])
def test_a_return_with_a_price_is_the_gain_less_the_labels_bought(after: int) -> None:
    core = core_of(**TERMS["price"])
    state = start(core)
    first, price, rng = state.metrics.accuracy, state.terms.price, np.random.default_rng(0)
    assert price.min() >= 0.001 and price.max() <= 0.1 and len(price.unique()) == len(price)
    assert price.log().mean() == pytest.approx(np.log([0.001, 0.1]).mean(), abs=0.9), "log-uniform"
    total = torch.zeros(16)
    for _ in range(after):
        total = total + core.step(state, random_action(state, rng)).reward
    n = core.config.max_pool
    result = core.step(state, torch.full((16,), n))
    total = total + result.reward
    assert (
        result.terminated.all() and result.valid.all() and state.stopped.all() and (state.used == after).all()
    )
    torch.testing.assert_close(total, state.metrics.accuracy - first - price * after)
    before = state.labels
    late = core.step(state, random_action(state, rng))
    assert late.terminated.all() and (late.reward == 0).all() and torch.equal(before, state.labels)


def test_the_last_label_ends_an_episode_with_a_price_as_well() -> None:
    core = core_of(**TERMS["price"])
    state = start(core)
    total, accuracy, _ = play(core, state)
    assert not state.stopped.any() and (state.used == 6).all()
    torch.testing.assert_close(total, accuracy[-1] - accuracy[0] - 6 * state.terms.price)


def test_labels_of_a_batch_are_hidden_until_it_is_full() -> None:
    core = core_of(batch_size=(2, 4), budget=7)
    state = start(core)
    size, rng = state.terms.batch_size, np.random.default_rng(0)
    assert set(size.tolist()) == {2, 3, 4}
    accuracy, total, start_accuracy = [], torch.zeros(16), state.metrics.accuracy
    for step in range(1, 8):
        before = state.logits
        total = total + core.step(state, random_action(state, rng)).reward
        opened = torch.where(torch.tensor(step == 7), 0, step % size)
        assert torch.equal(state.terms.pending.sum(1), opened) and (state.labelled.sum(1) == step).all()
        assert torch.equal((state.labels >= 0).sum(1), step - opened)
        waits = opened > 0
        torch.testing.assert_close(state.logits[waits], before[waits])
        labels, mask = state.labels.gather(1, state.order.clamp(min=0)), state.order >= 0
        support = core.prepared[state.task.pool.gather(1, state.order.clamp(min=0))]
        adapted = core.learner.adapt(support, labels, mask & (labels >= 0), state.task.class_mask)
        logits = core.learner.predict(adapted, core.prepared[state.task.reward])
        torch.testing.assert_close(
            state.metrics.accuracy, score_logits(logits, state.task.reward_labels).accuracy
        )
        accuracy.append(state.metrics.accuracy)
    torch.testing.assert_close(total, torch.stack(accuracy).mean(0) - start_accuracy)


def test_look_ahead_in_a_batch_knows_the_labels_of_the_batch() -> None:
    core = core_of(batch_size=3)
    state = start(core, 2)
    core.step(state, torch.tensor([0, 1]))
    core.step(state, torch.tensor([2, 3]))
    promised = core.oracle(state).look_ahead(torch.tensor([[4], [5]]))
    assert state.terms.pending.sum() == 4
    core.step(state, torch.tensor([4, 5]))
    torch.testing.assert_close(promised.accuracy[:, 0], state.metrics.accuracy)


def test_a_return_over_money_is_the_area_under_accuracy_over_money() -> None:
    core = core_of(**TERMS["item_costs"])
    state = start(core)
    total, accuracy, spent = play(core, state)
    area = sum((spent[t + 1] - spent[t]) * accuracy[t] for t in range(len(spent) - 1))
    area = (area + (6 - spent[-1]) * accuracy[-1]) / 6
    torch.testing.assert_close(total, area - accuracy[0])
    torch.testing.assert_close(core.aulc(state), area)
    free = state.task.pool_mask & ~state.labelled
    assert (state.terms.cost[free] > state.terms.money_left.unsqueeze(1).expand_as(free)[free]).all()
    bought = (state.terms.cost * state.labelled).sum(1)
    torch.testing.assert_close(bought, spent[-1])
    assert len(state.count.unique()) > 2, "as many labels whatever they cost"


def test_costs_follow_hardness_as_far_as_they_are_asked_to() -> None:
    pooled = {}
    for correlation in (0.0, 0.9):
        core = make_core(
            cluster_dataset(), way=3, pool_size=60, budget=9, item_costs=0.5, cost_hardness=correlation
        )
        state = start(core, 24)
        cost, mask = state.terms.cost, state.task.pool_mask
        assert cost.min() >= np.exp(-1) - 1e-5 and cost.max() <= np.exp(1) + 1e-5
        assert cost[mask].log().mean() == pytest.approx(0, abs=0.06)
        hard = hardness(state.task, state.prepared)
        pooled[correlation] = np.corrcoef(cost[mask].log(), hard[mask])[0, 1]
    assert abs(pooled[0.0]) < 0.1 and pooled[0.9] == pytest.approx(0.9, abs=0.05)


def test_what_cannot_be_paid_for_is_masked_and_wastes_what_is_left() -> None:
    core = core_of(item_costs=0.6, budget=4, reward="aulc_over_money")
    state = start(core)
    dear = (state.terms.cost * state.task.pool_mask).argmax(1)
    core.step(state, dear)
    unaffordable = state.task.pool_mask & ~state.labelled & ~state.selectable
    rows = torch.nonzero(unaffordable.any(1) & ~state.ended).squeeze(1)
    assert len(rows)
    left, labelled = state.terms.money_left, state.labelled
    result = core.step(state, unaffordable.int().argmax(1))
    assert not result.valid[rows].any() and (result.reward[rows] == 0).all()
    assert torch.equal(state.labelled[rows], labelled[rows])
    torch.testing.assert_close(state.terms.money_left[rows], (left - 1).clamp(min=0)[rows])


def test_a_return_to_a_target_is_minus_the_labels_that_it_took() -> None:
    core = core_of(**TERMS["target"])
    state = start(core, 32)
    target, everything = (
        state.terms.target,
        core.learner.adapt(
            state.prepared, state.task.oracle_labels, state.task.pool_mask, state.task.class_mask
        ),
    )
    logits = core.learner.predict(everything, state.prepared_reward)
    reachable = score_logits(logits, state.task.reward_labels).accuracy
    share = (target - state.metrics.accuracy) / (reachable - state.metrics.accuracy)
    torch.testing.assert_close(share, state.task.target_share)
    assert share.min() >= 0.299 and share.max() <= 0.801 and share.std() > 0.1
    total, accuracy, _ = play(core, state)
    reached = torch.stack(accuracy[1:]) >= target - 1e-6
    first = torch.where(reached.any(0), reached.int().argmax(0) + 1, 6)
    torch.testing.assert_close(total, -first.float())
    assert torch.equal(state.used, first) and len(first.unique()) > 3


def test_wasted_labels_count_against_a_target() -> None:
    core = core_of(**TERMS["target"])
    state = start(core, 4)
    core.step(state, torch.zeros(4, dtype=torch.long))
    running = ~state.ended
    assert (core.step(state, torch.zeros(4, dtype=torch.long)).reward[running] == -1).all()


@pytest.mark.parametrize("options", [*TERMS.values(), ALL], ids=[*TERMS, "all"])
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_batches_equal_gymnasium_s_loop_of_single_environments(
    mode: AutoresetMode, options: dict[str, Any]
) -> None:
    arguments = {"dataset": cluster_dataset()} | SMALL | options
    ours = gym.make_vec("MetaAL-v0", num_envs=3, autoreset_mode=mode, **arguments)
    theirs = gym.vector.SyncVectorEnv([lambda: gym.make("MetaAL-v0", **arguments)] * 3, autoreset_mode=mode)
    assert ours.single_action_space == theirs.single_action_space
    observation, expected, rng = ours.reset(seed=7)[0], theirs.reset(seed=7)[0], np.random.default_rng(0)
    endings = 0
    for _ in range(24):
        for key, value in expected.items():
            np.testing.assert_allclose(observation[key], value, atol=2e-4, err_msg=key)
        assert observation["action_mask"].any(1).all() and observation in ours.observation_space
        actions = rng.integers(0, ours.single_action_space.n, 3)  # type: ignore[attr-defined]
        observation, reward, ended, truncated, info = ours.step(actions)
        expected, expected_reward, expected_ended, _, expected_info = theirs.step(actions)
        np.testing.assert_allclose(reward, expected_reward, atol=1e-5)
        assert np.array_equal(ended, expected_ended) and not truncated.any()
        if ended.any():
            endings += 1
            found, wanted = (x.get("final_info", x) for x in (info, expected_info))
            for key in {"aulc", "accuracy", "labels", "return", "stopped", "spent"} & wanted.keys():
                np.testing.assert_allclose(found[key][ended], wanted[key][ended], atol=1e-5, err_msg=key)
    assert endings >= 2


def test_the_observation_shows_the_terms() -> None:
    envs = MetaALVectorEnv(4, dataset=cluster_dataset(), observation="full", **SMALL | ALL)
    names = envs.shown.names
    assert {"cheapness", "log_cost", "cost_share", "in_batch", "near_batch"} <= set(names.items)
    assert {"batch_left", "log_price", "price_of_rest", "mean_confidence", "target", "best_gain"} <= set(
        names.pool_features
    )
    envs.reset_tensors()
    result = envs.advance(torch.zeros(4, dtype=torch.long))
    assert result.valid.all() and (envs.observe()["labels"][:, 0] == PENDING).all()
    view = envs.view()
    shown = extract(view, names)
    items = dict(zip(names.items, shown.items.unbind(-1), strict=True))
    pool = dict(zip(names.pool_features, shown.episode.unbind(-1), strict=True))
    assert view.terms is not None
    torch.testing.assert_close(items["log_cost"], view.terms.cost.log() * view.valid)
    assert (items["in_batch"].sum(1) == 1).all() and (items["near_batch"][:, 0] == 1).all()
    torch.testing.assert_close(pool["log_price"], 5 + view.terms.price.log())
    torch.testing.assert_close(pool["batch_left"], (view.terms.batch_size - 1) / view.terms.batch_size)
    torch.testing.assert_close(pool["budget_left"], view.terms.money_left / 6)
    torch.testing.assert_close(pool["target"], view.terms.target)
    plain = MetaALVectorEnv(1, dataset=cluster_dataset(), observation="full", **SMALL)
    assert plain.shown.names == FeatureNames.registered() and "log_cost" not in plain.shown.names.items


def test_a_view_of_picks_yet_to_be_labelled_pays_for_them() -> None:
    core = core_of(item_costs=0.5, batch_size=3)
    view = core.view(start(core, 3))
    pick = torch.tensor([2, -1, 4])
    later = view.with_pending(pick)
    assert view.terms is not None and later.terms is not None
    paid = view.terms.money_left - later.terms.money_left
    torch.testing.assert_close(
        paid, torch.stack([view.terms.cost[0, 2], torch.tensor(0.0), view.terms.cost[2, 4]])
    )
    assert (
        later.terms.pending.sum(1).tolist() == [1, 0, 1] and later.rows(torch.tensor([2])).terms is not None
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"price": -0.1}, "price=-0.1 must be between 0 and 1"),
        ({"price": (0, 0.1)}, r"price=\(0, 0.1\) must begin above 0"),
        ({"price": "free"}, "price='free' must be a number"),
        ({"batch_size": 0}, "batch_size=0 must be between 1 and"),
        ({"item_costs": (0.1, 0.2)}, "item_costs=.* must be a number"),
        ({"item_costs": 1.0}, "item_costs=1.0 makes items cost up to 7.39, more than budget=6"),
        ({"cost_hardness": 2}, "cost_hardness=2 must be between -1 and 1"),
        ({"cost_hardness": 0.5}, "cost_hardness=0.5 needs item_costs above 0"),
        ({"target": (0.9, 0.5)}, "target=.* must be 0 ≤ low ≤ high ≤ 1"),
        ({"target": float("nan")}, "target=nan"),
    ],
)
def test_bad_terms_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        TaskConfig(**SMALL | options)


def test_terms_change_no_task() -> None:
    """Same seeds, same pools: rules can be compared across problems."""
    plain, other = core_of(), core_of(**ALL)
    one, two = (core.sampler.sample(generators(4)) for core in (plain, other))
    for name in ("pool", "pool_labels", "reward", "test", "seed", "budget"):
        assert torch.equal(getattr(one, name), getattr(two, name))
