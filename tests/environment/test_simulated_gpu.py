"""Learners, features, strategies and environments on a simulated GPU: one device each, and the CPU's results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.both_devices import on_both_devices
from helpers.simulated_tasks import ONLY_IMAGES, core_on, data, moment_of

from agents.loading import load_strategy
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.pretrained import shipped_policies
from agents.strategies import STRATEGIES, PrivilegedStrategy, Strategy
from agents.strategies.fitted.base import FITTED
from metaal_env.core import Core
from metaal_env.features import ITEM_FEATURES, ITEM_SCORES, POOL_FEATURES
from metaal_env.learners import LEARNERS, build_learner
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS
from metaal_env.sb3 import SB3VecEnv
from metaal_env.vector_env import MetaALVectorEnv

DEPTHS = ("head", "last_block", "all")
SHORT: dict[str, dict[str, Any]] = {
    "svm": {"iterations": 12, "unrolled": 4},
    "metaoptnet": {"iterations": 12, "unrolled": 4},
    "finn_maml": {"steps": 2},
}
"""Options of learners whose iterations are many, and all alike."""
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, SHORT.get(name, {})) for name in LEARNERS),
    *(("maml", {"depth": depth, "steps": 2}) for depth in DEPTHS),
]
FEATURES = {"scores": ITEM_SCORES, "items": ITEM_FEATURES, "pool": POOL_FEATURES}


def of_images(name: str, options: dict[str, Any]) -> Any:
    """One learner of each body's blocks is enough for every run."""
    return pytest.param("image", name, options, marks=[] if name == "maml" else pytest.mark.slow)


@pytest.mark.parametrize(
    ("modality", "name", "options"),
    [*(("vector", *variant) for variant in VARIANTS), *(of_images(*variant) for variant in VARIANTS)],
)
def test_learners(modality: str, name: str, options: dict[str, Any]) -> None:
    if modality == "vector" and name in ONLY_IMAGES:
        options = options | {"body": "mlp"}

    def play(device: str) -> Any:
        core = core_on(device, name, dataset=data(modality), options=options)
        state = moment_of(core)
        oracle, places = core.oracle(state), torch.arange(3, device=core.device).expand(3, 3)
        ahead = [oracle.look_ahead(places, exact=exact) for exact in (True, False)]
        return state.embeddings, state.logits, core.test_logits(state), state.metrics, ahead

    on_both_devices(play, tolerance=1e-4)


@pytest.mark.parametrize("name", REWARDS)
def test_rewards(name: str) -> None:
    def play(device: str) -> Any:
        core = core_on(device, reward=name)
        state = moment_of(core, steps=1)
        return core.step(state, torch.tensor([5, 6, 7]))

    on_both_devices(play)


@pytest.mark.parametrize("kind", FEATURES)
def test_features(kind: str) -> None:
    def compute(device: str) -> Any:
        core = core_on(device, "maml")
        state = moment_of(core)
        return {name: feature.function(core.view(state)) for name, feature in FEATURES[kind].items()}

    on_both_devices(compute, tolerance=1e-4)


def scores_and_picks(strategy: Strategy, core: Core) -> Any:
    state = moment_of(core)
    view, oracle = core.view(state), core.oracle(state)
    privileged = isinstance(strategy, PrivilegedStrategy)
    scores = strategy.score_with(view, oracle) if privileged else strategy.score(view)
    batch = strategy.select_batch(view, 2, oracle if strategy.privileged else None)
    return scores.double().masked_fill(~view.selectable, 0), batch


# With a closed form of look-ahead and without.
@pytest.mark.parametrize("learner", ["prototype", pytest.param("ridge", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies(name: str, learner: str) -> None:
    on_both_devices(
        lambda device: scores_and_picks(load_strategy(name), core_on(device, learner)), tolerance=1e-3
    )


@pytest.mark.parametrize("name", FITTED)
def test_fitted_strategies(name: str) -> None:
    def fit(device: str) -> Any:
        core, strategy = core_on(device, pool_size=12, budget=2), FITTED[name](seed=1)
        losses = strategy.fit([core], tasks=1, iterations=2)  # type: ignore[attr-defined]
        return losses, strategy.network.state_dict(), scores_and_picks(strategy, core)

    on_both_devices(fit, tolerance=1e-3)


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies(name: str) -> None:
    on_both_devices(lambda device: scores_and_picks(load_strategy(name), core_on(device)), tolerance=1e-3)


def test_strategies_of_scikit_activeml() -> None:
    pool = pytest.importorskip("skactiveml.pool")
    from agents.strategies.scikit_activeml import QueryStrategyAdapter

    on_both_devices(
        lambda device: scores_and_picks(QueryStrategyAdapter(pool.UncertaintySampling()), core_on(device))
    )


def test_pools_of_ones_own() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(12, 3)), np.array([0, 1, 2] + [-1] * 9)

    def query(device: str) -> Any:
        learner = build_learner("prototype", (3,))
        view = PoolView.from_arrays(x, None, labels, budget=4, learner=learner, device=device)
        return view.probs, load_strategy("uherding").score(view), load_strategy("random").score(view)

    on_both_devices(query)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_roll_outs(mode: str) -> None:
    def roll_out(device: str) -> Any:
        envs = MetaALVectorEnv(2, core=core_on(device, budget=(1, 3)), autoreset_mode=mode)
        observation, info = envs.reset(seed=0)
        seen = [(observation, info)]
        for _ in range(4):  # past the first episodes' end
            *step, info = envs.step(observation["action_mask"].argmax(1))
            observation = step[0]
            final = info.get("final_info", info)
            seen.append((step, info["accuracy"], {k: final[k] for k in ("aulc", "return") if k in final}))
        return seen

    on_both_devices(roll_out, tolerance=1e-4)


def test_resets_of_some_episodes() -> None:
    def roll_out(device: str) -> Any:
        envs = MetaALVectorEnv(3, core=core_on(device), autoreset_mode="Disabled")
        first, _ = envs.reset(seed=0)
        envs.step(first["action_mask"].argmax(1))
        return envs.reset(options={"reset_mask": np.array([True, False, True])})

    on_both_devices(roll_out, tolerance=1e-4)


def test_roll_outs_of_stable_baselines3() -> None:
    def roll_out(device: str) -> Any:
        envs = SB3VecEnv(MetaALVectorEnv(2, core=core_on(device, budget=2)))
        envs.seed(0)
        observation, seen = envs.reset(), []
        for _ in range(3):
            observation, rewards, ended, infos = envs.step(observation["action_mask"].argmax(1))
            seen.append((observation, rewards, ended, [info.get("aulc", 0.0) for info in infos]))
            masks = envs.env_method("action_masks")
        return seen, masks

    on_both_devices(roll_out, tolerance=1e-4)


def test_learned_policies() -> None:
    def score(device: str) -> Any:
        torch.manual_seed(0)
        return scores_and_picks(LearnedStrategy(AcquisitionNetwork(width=8)), core_on(device))

    on_both_devices(score, tolerance=1e-3)
