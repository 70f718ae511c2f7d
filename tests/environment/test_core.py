"""The batched core: budgets, masks, oracle, rewards that telescope, batch equal to singles."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.make import make_core
from metaal_env.metrics import score_logits
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig


def roll(
    core: Core, rngs: list[np.random.Generator], choose: Callable[[PoolView], torch.Tensor]
) -> tuple[Any, ...]:
    state = core.reset(core.sampler.sample(rngs))
    start, rewards, accuracies = state.metrics, [], []
    while True:
        result = core.step(state, choose(core.view(state)))
        rewards.append(result.reward)
        accuracies.append(state.metrics.accuracy)
        if bool(result.terminated.all()):
            return state, start, torch.stack(rewards), torch.stack(accuracies)


def first_selectable(view: PoolView) -> torch.Tensor:
    return view.selectable.int().argmax(1)


def test_return_of_the_default_reward_is_the_area_under_the_learning_curve(core: Core) -> None:
    state, start, rewards, accuracies = roll(core, generators(16), first_selectable)
    torch.testing.assert_close(rewards.sum(0) + start.accuracy, accuracies.mean(0))
    torch.testing.assert_close(state.accuracy_sum / state.used, accuracies.mean(0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy_gain", lambda start, end, n: end.accuracy - start.accuracy),
        ("log_loss_decrease", lambda start, end, n: start.log_loss - end.log_loss),
        ("final_accuracy", lambda start, end, n: end.accuracy),
        ("label_cost", lambda start, end, n: torch.full_like(end.accuracy, -n)),
    ],
)
def test_returns_of_the_other_rewards(
    clusters: ClassDataset, small_task: TaskConfig, name: str, expected: Any
) -> None:
    core = Core(clusters, build_learner("prototype", clusters.input_shape), small_task, REWARDS[name])
    state, start, rewards, _ = roll(core, generators(8), first_selectable)
    torch.testing.assert_close(rewards.sum(0), expected(start, state.metrics, small_task.budget))


def test_repicking_changes_nothing_costs_budget_and_pays_nothing(core: Core) -> None:
    state = core.reset(core.sampler.sample(generators(2)))
    core.step(state, torch.tensor([3, 4]))
    before = state.logits.clone()
    result = core.step(state, torch.tensor([3, 5]))
    assert result.valid.tolist() == [False, True] and result.reward[0] == 0
    torch.testing.assert_close(state.logits[0], before[0])
    assert state.used.tolist() == [2, 2] and (state.order >= 0).sum(1).tolist() == [1, 2]


@pytest.mark.parametrize("depth", ["head", "last_block", "all"])
def test_a_batch_of_episodes_equals_its_members_alone(depth: str) -> None:
    data = cluster_dataset()
    torch.manual_seed(0)
    config = TaskConfig(way=(2, 4), pool_size=(12, 20), budget=(3, 6), initial_labels=(0, 2), label_noise=0.1,
                        distractors=0.1, reward_per_class=4, test_per_class=4)  # fmt: skip
    learner = build_learner("maml", data.input_shape, width=8, depth=depth, steps=2)
    core = Core(data, learner, config, REWARDS["aulc"])
    actions = torch.from_numpy(np.random.default_rng(0).permuted(np.tile(np.arange(12), (5, 1)), axis=1))
    batch = core.reset(core.sampler.sample(generators(5)))
    singles = [core.reset(core.sampler.sample(generators(1, seed=i))) for i in range(5)]
    for step in range(3):
        result = core.step(batch, actions[:, step])
        for i, single in enumerate(singles):
            alone = core.step(single, actions[i : i + 1, step])
            torch.testing.assert_close(alone.reward[0], result.reward[i], atol=1e-5, rtol=1e-5)
            n = int(single.task.pool_mask.sum())
            torch.testing.assert_close(single.logits[0, :n], batch.logits[i, :n], atol=1e-4, rtol=1e-5)


def test_episodes_end_at_their_own_budget_or_target() -> None:
    core = make_core(
        cluster_dataset(), way=3, pool_size=20, budget=(2, 6), reward_per_class=4, test_per_class=4
    )
    state = core.reset(core.sampler.sample(generators(20)))
    for step in range(1, 7):
        result = core.step(state, first_selectable(core.view(state)))
        assert torch.equal(result.terminated, state.task.budget <= step)
    easy = make_core(cluster_dataset(spread=0.01), way=2, pool_size=20, budget=10, target_accuracy=0.99)
    state, _, rewards, accuracies = roll(
        easy, generators(1), lambda v: v.embeddings[..., 0].masked_fill(~v.selectable, -9).argmax(1)
    )
    assert accuracies[-1] >= 0.99 and len(rewards) <= 10


def test_oracle_reveals_noisy_labels_and_look_ahead_equals_stepping(clusters: ClassDataset) -> None:
    config = TaskConfig(way=4, pool_size=20, budget=5, label_noise=0.3, reward_per_class=5, test_per_class=5)
    core = Core(clusters, build_learner("ridge", clusters.input_shape), config, REWARDS["aulc"])
    state = core.reset(core.sampler.sample(generators(3)))
    core.step(state, torch.tensor([0, 1, 2]))
    oracle = core.oracle(state)
    everything = torch.arange(20).expand(3, 20)
    assert torch.equal(oracle.reveal(everything), state.task.oracle_labels)
    assert (oracle.true_labels != state.task.oracle_labels).any()
    promised = oracle.look_ahead(torch.tensor([[7], [8], [9]]))
    core.step(state, torch.tensor([7, 8, 9]))
    torch.testing.assert_close(promised.accuracy[:, 0], state.metrics.accuracy)
    torch.testing.assert_close(promised.log_loss[:, 0], state.metrics.log_loss, atol=1e-5, rtol=1e-5)


def test_the_test_set_reaches_nothing_but_test_logits(core: Core) -> None:
    """Scrambling test items and labels changes no observation, reward or metric."""
    tasks = core.sampler.sample(generators(4))
    state, other = core.reset(tasks), core.reset(tasks.rows(torch.arange(4)))
    other.task.test.zero_()
    other.task.test_labels.zero_()
    for step in range(3):
        action = torch.full((4,), step)
        assert torch.equal(core.step(state, action).reward, core.step(other, action).reward)
        assert torch.equal(state.logits, other.logits)
    assert not torch.equal(core.test_logits(state), core.test_logits(other))


def test_scores_against_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 7, 3)), rng.integers(0, 3, (2, 7))
    labels[1, 4:] = -1
    scores = score_logits(torch.from_numpy(logits), torch.from_numpy(labels))
    for b in range(2):
        real = labels[b] >= 0
        p = np.exp(logits[b][real]) / np.exp(logits[b][real]).sum(1, keepdims=True)
        true = p[np.arange(real.sum()), labels[b][real]]
        assert float(scores.accuracy[b]) == pytest.approx((p.argmax(1) == labels[b][real]).mean())
        assert float(scores.likelihood[b]) == pytest.approx(true.mean())
        assert float(scores.log_loss[b]) == pytest.approx(-np.log(true).mean())


@pytest.mark.parametrize("upfront", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [("prototype", {}), ("protonet", {"width": 8}), ("maml", {"width": 8, "steps": 3, "inner_lr": 0.3}),
     ("ridge", {}), ("ridge", {"intercept": True}), ("logistic", {"iterations": 9}), ("svm", {})],
)  # fmt: skip
def test_predictions_from_inner_products_equal_those_from_items(
    name: str, options: dict[str, Any], upfront: bool
) -> None:
    data = cluster_dataset()
    data = replace(data, inputs=data.inputs + 3)  # a common mean must cost no digits
    torch.manual_seed(0)
    pool = (14, 20) if upfront else (80, 90)  # large beside the labels: products only when they are asked for
    config = TaskConfig(way=(2, 4), pool_size=pool, budget=(3, 6), initial_labels=(0, 3), label_noise=0.2,
                        distractors=0.2, reward_per_class=4, test_per_class=4)  # fmt: skip
    learner = build_learner(name, data.input_shape, **options)
    assert learner.products is not None
    core = Core(data, learner, config, REWARDS["aulc"])
    state = core.reset(core.sampler.sample(generators(6)))
    assert (state.products.gram is not None) == upfront
    for step in range(7):
        if step == 4:  # some start anew, and are as many as before
            state.replace_rows(torch.tensor([4, 1]), core.reset(core.sampler.sample(generators(2, seed=9))))
            state = state.rows(torch.tensor([1, 0, 2, 4, 5]))
        elif step:
            core.step(state, torch.randint(14, (len(state),)))
        adapted = learner.adapt(*state.support, state.task.class_mask)
        # The SVM's solver stops after a number of steps, in which differences of rounding grow.
        atol = 4e-4 if name == "svm" else 5e-5
        torch.testing.assert_close(
            state.logits, learner.predict(adapted, state.prepared), atol=atol, rtol=1e-4
        )
        scores = score_logits(learner.predict(adapted, state.prepared_reward), state.task.reward_labels)
        torch.testing.assert_close(state.metrics.log_loss, scores.log_loss, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(state.metrics.accuracy, scores.accuracy)
    assert core.view(state).adapted.keys() == state.adapted.keys()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType; it must return a tensor of shape"),
        (1.0, "returned float; it must return a tensor of shape"),
        (torch.zeros(3), r"returned \(3,\); it must return a tensor of shape \(2,\)"),
    ],
)
def test_a_reward_of_another_shape_is_refused(core: Core, returned: object, message: str) -> None:
    core.reward = lambda *given: returned  # type: ignore[assignment, return-value]
    state = core.reset(core.sampler.sample(generators(2)))
    with pytest.raises(InputError, match=message):
        core.step(state, first_selectable(core.view(state)))


def test_logits_of_another_shape_are_refused(clusters: ClassDataset, small_task: TaskConfig) -> None:
    learner = build_learner("matching", clusters.input_shape)
    learner.predict = lambda adapted, prepared: torch.zeros(prepared.shape[:2])  # type: ignore[method-assign]
    core = Core(clusters, learner, small_task, REWARDS["aulc"])
    with pytest.raises(InputError, match=r"predict of the learner \w+ returned shape \(2, \d+\)"):
        core.reset(core.sampler.sample(generators(2)))
