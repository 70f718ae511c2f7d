"""What reinforcement learning starts from: vine returns, the critic, the anchor, and episodes of unequal length."""

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.tiny_training import CONFIG, TASK, WARM, train
from stable_baselines3.common.logger import configure

from agents.policy.network import AcquisitionNetwork, action_logits
from agents.policy.sb3_policy import LearnedStrategy, best_actions
from agents.training.imitation.examples import Examples, centred, collect_examples
from agents.training.imitation.imitate import ImitationConfig, fit
from agents.training.imitation.rounds import imitate
from agents.training.imitation.vine import CANDIDATES, near_and_far, returns_to_go
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.episode_ppo import EpisodePPO
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer
from agents.training.ppo.train import make_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.features import extract
from metaal_env.make import make_core
from metaal_env.runtime.artifacts import load_artifact


def tiny(**more: Any) -> Core:
    return make_core(cluster_dataset(items=12), **(TASK | more))


def network(seed: int = 0) -> AcquisitionNetwork:
    torch.manual_seed(seed)
    made = AcquisitionNetwork(width=8)
    torch.nn.init.normal_(made.correction.weight)
    return made


def ppo(config: PPOConfig = CONFIG, **more: Any) -> EpisodePPO:
    mixture = TaskMixture([[tiny(**more)]], n_envs=config.n_envs, paired=config.paired)
    return make_ppo(mixture, config, configure(None, []))


def test_vine_returns_are_what_playing_by_hand_pays() -> None:
    core, policy = tiny(budget=4), network()
    state = core.reset(core.sampler.sample([np.random.default_rng(seed) for seed in range(3)]))
    core.step(state, torch.tensor([0, 1, 2]))
    places = torch.tensor([[3, 5], [4, 6], [7, 8]])
    real = torch.tensor([[True, True], [True, False], [True, True]])
    found = returns_to_go(policy, core.oracle(deepcopy(state)), places, real)
    for column in range(2):
        played, total = deepcopy(state), torch.zeros(3)
        actions = places[:, column]
        for _ in range(3):
            total += core.step(played, actions).reward
            view = core.view(played)
            features = extract(view, policy.names)
            scores = policy(features.items, features.episode, view.valid).logits
            actions = scores.masked_fill(~view.selectable, -torch.inf).argmax(1)
        torch.testing.assert_close(found[:, column], total * real[:, column])
    assert found.std() > 0


def test_candidates_of_vine_hold_the_best_and_some_of_the_rest() -> None:
    scores = torch.arange(40.0).expand(64, -1)
    selectable = torch.ones(64, 40, dtype=torch.bool)
    keys = near_and_far(
        scores * 2, selectable, torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    )
    chosen = keys.topk(CANDIDATES, 1).indices
    near = (chosen >= 28).sum(1)
    assert near.min() >= CANDIDATES // 2 and near.float().mean() < CANDIDATES - 2
    assert (chosen < 28).any(0).any()


def test_the_same_states_and_candidates_serve_both_gains() -> None:
    policy = network()
    found = {
        gain: collect_examples(
            policy,
            TaskMixture([[tiny()]], n_envs=6, paired=1).draw(0)[0],
            np.random.default_rng(0),
            gain,
            played_out=True,
        )
        for gain in ("one_step", "return")
    }
    assert torch.equal(found["one_step"].items, found["return"].items)
    assert not torch.equal(found["one_step"].gain, found["return"].gain)


def test_examples_of_unlike_width_are_joined() -> None:
    parts = [Examples(torch.ones(2, c, 3), torch.ones(2, 4), torch.ones(2, c), torch.ones(2, c) > 0, torch.ones(2))
             for c in (2, 5)]  # fmt: skip
    whole = Examples.joined(parts)
    assert whole.items.shape == (4, 5, 3) and whole.candidates.sum(1).tolist() == [2, 2, 5, 5]
    assert not whole.gain[:2, 2:].any()


def test_imitation_goes_on_with_returns_after_its_first_round(tmp_path: Path) -> None:
    config = ImitationConfig(iterations=3, rounds=3, gain="return", n_envs=4, shapes_per_rollout=1, epochs=1)
    policy = network()
    imitate(policy, TaskMixture([[tiny()]], n_envs=4, paired=1), config, tmp_path)
    widths = [
        torch.load(tmp_path / f"examples-{number:03d}.pt", weights_only=True)["gain"].shape[1]
        for number in range(3)
    ]
    assert widths == [64, CANDIDATES, CANDIDATES]


def test_a_network_learns_to_stop_where_labels_gain_less_than_nothing() -> None:
    torch.manual_seed(0)
    policy = AcquisitionNetwork(width=8, stop=True)
    names = policy.names
    episode = torch.randn(400, len(names.pool_features))
    worth = episode[:, names.pool_features.index(names.context[0])]  # of a label; stopping is worth 0
    gain, mean = centred(worth.unsqueeze(1) + 0.1 * torch.randn(400, 6), torch.ones(400, 6, dtype=torch.bool))
    examples = Examples(torch.randn(400, 6, len(names.items)), episode, gain, torch.ones(400, 6) > 0, -mean)
    fit(policy, examples, ImitationConfig(epochs=40))
    stop = policy(examples.items, episode, examples.candidates).stop
    assert stop is not None
    clear = worth.abs() > 0.5
    assert ((stop > 0) == (worth < 0))[clear].float().mean() > 0.9


def test_the_probability_to_stop_is_that_of_its_own_logit() -> None:
    items = torch.tensor([[5.0, 1.0, 9.0], [-2.0, 0.0, 3.0]])
    allowed = torch.tensor([[True, True, False, True], [True, True, True, True]])
    stop = torch.tensor([1.0, -2.0])
    probs = action_logits(items, allowed[:, :3], stop).softmax(1)
    torch.testing.assert_close(probs[:, 3], stop.sigmoid())
    assert probs[0, 2] == 0
    assert best_actions(items, allowed, stop).tolist() == [3, 2]
    assert best_actions(items, allowed, None).tolist() == [0, 2]


@pytest.mark.parametrize("critic", ["own", "privileged", "look_ahead"])
def test_a_critic_is_fitted_before_the_first_update_and_leaves_the_policy_alone(critic: Any) -> None:
    model = ppo(replace(CONFIG, critic=critic, n_envs=32, paired=4))
    before = deepcopy(model.policy.network.state_dict())
    assert model.begin(3) > (0.2 if critic == "own" else 0.5)
    after = model.policy.network.state_dict()
    same = [name for name in before if not name.startswith("value.")]
    assert all(torch.equal(before[name], after[name]) for name in same)
    moved = model.policy.network.value if critic == "own" else model.policy.critic
    assert moved is not None and any(weight.grad is not None for weight in moved.parameters())


def test_the_critic_never_enters_the_artifact(tmp_path: Path) -> None:
    train(tmp_path, replace(CONFIG, critic="privileged"))
    _, tensors = load_artifact(tmp_path / "policy", "policy")
    assert set(tensors) == set(AcquisitionNetwork(width=CONFIG.width).state_dict())
    saved = torch.load(tmp_path / "checkpoints" / "ppo.pt", weights_only=True)["policy"]
    assert any(name.startswith("critic.") for name in saved)


def test_the_loss_of_the_value_does_not_reach_the_policy() -> None:
    policy = network()
    output = policy(torch.randn(4, 5, len(policy.names.items)), torch.randn(4, len(policy.names.pool_features)),
                    torch.ones(4, 5, dtype=torch.bool))  # fmt: skip
    output.value.square().sum().backward()
    assert policy.items.weight.grad is None and policy.value[0].weight.grad is not None


def test_the_anchor_fades_and_holds_the_policy_back() -> None:
    weights: list[float] = []

    class Watched(EpisodePPO):
        def train(self) -> None:
            super().train()
            weights.append(self.policy.anchor_weight)

    def moved(anchor: float) -> float:
        model = ppo(replace(CONFIG, anchor=anchor, learning_rate=0.03))
        model.__class__ = Watched
        model.begin(1)
        start = deepcopy(model.policy.network.state_dict())
        model.learn(sys.maxsize)
        now = model.policy.network.state_dict()
        return float(sum((now[name] - start[name]).abs().sum() for name in ("rule_weights", "gate")))

    free = moved(0.0)
    weights.clear()
    held = moved(100.0)
    assert weights == pytest.approx([100, 80, 60, 40, 20])
    assert held < 0.8 * free


def test_without_ppo_the_policy_is_the_one_of_imitation(tmp_path: Path) -> None:
    core = tiny()
    mixture = TaskMixture([[core]], n_envs=4, paired=2)
    from agents.training.ppo.train import train_ppo

    off = replace(CONFIG, iterations=0)
    found = train_ppo(mixture, [[core]], off, {}, tmp_path / "off", configure(None, []), WARM)
    start = torch.load(tmp_path / "off" / "checkpoints" / "imitation.pt", weights_only=True)["network"]
    assert all(torch.equal(value, start[name]) for name, value in found.network.state_dict().items())


def test_samples_end_with_their_episode_and_so_do_companions() -> None:
    envs = TaskMixture([[tiny()]], n_envs=4, paired=2).draw(0)[0]
    buffer = MixedRolloutBuffer(device="cpu", gamma=1.0, gae_lambda=1.0)
    part = buffer.open(envs, 5)
    observation = envs.reset_tensors()
    ends = np.array([1, 3, 2, 2])
    for step in range(3):
        running = step < ends
        part.add(
            observation,
            np.zeros(4),
            np.ones(4),
            np.full(4, step == 0),
            torch.zeros(4),
            torch.zeros(4),
            running=running,
        )
    part.close()
    part.compute_returns_and_advantage(torch.zeros(4), np.ones(4, dtype=bool))
    # Returns to go: 1, 3 | 2, 2 at the start; alone afterwards, the second keeps what is left.
    np.testing.assert_allclose(part.advantages[0], [-2, 2, 0, 0])
    np.testing.assert_allclose(part.advantages[1], [0, 2, 0, 0])
    assert len(np.concatenate(part.chunks(2, 100))) == ends.sum() == len(buffer.returns)
    assert sorted(buffer.returns) == [1, 1, 1, 1, 2, 2, 2, 3]
    batches = list(buffer.get(100))
    assert sum(len(batch.returns) for batch in batches) == ends.sum()
    assert sorted(buffer.returns) == [1, 1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("wrong", [{"anchor": -1.0}, {"critic_rollouts": -1}, {"features": ("raw",)},
                                   {"features": ("marign", "uherding")}])  # fmt: skip
def test_bad_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="feature" if "features" in wrong else next(iter(wrong))):
        PPOConfig(**wrong)


def test_cheap_features_train_a_policy_that_loads_anywhere(tmp_path: Path) -> None:
    config = replace(CONFIG, features=("standard",), iterations=1)
    core = tiny()
    names = config.names()
    mixture = TaskMixture([[core]], n_envs=4, paired=2, names=names)
    from agents.training.ppo.train import train_ppo

    train_ppo(mixture, [[core]], config, {}, tmp_path, configure(None, []))
    policy = LearnedStrategy.load(tmp_path)
    assert policy.network.names == names and "walk_margin" not in names.items
    state = core.reset(core.sampler.sample([np.random.default_rng(0)]))
    assert 0 <= int(policy.select(core.view(state))[0]) < 12
