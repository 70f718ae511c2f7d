"""Strategies with weights: fitting improves what is fitted, saving keeps it, any pool can use it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.task_cores import label, make_core, sample

from agents.loading import load_strategy
from agents.strategies.fitted.base import FITTED, FittedStrategy
from agents.strategies.fitted.gain_models import LAL, GainModel, MetaModel
from agents.strategies.fitted.lal_rl import ACTION, LALRL, STATE, QNetwork, Transitions, describe
from metaal_env.errors import InputError
from metaal_env.pool.view import PoolView

NAMES = sorted(FITTED)


@pytest.fixture(scope="module")
def fitted() -> dict[str, tuple[FittedStrategy, list[float]]]:
    core = make_core(reward_per_class=8, initial_labels=0)
    made: dict[str, tuple[FittedStrategy, list[float]]] = {}
    for name in NAMES:
        strategy = FITTED[name]()
        few = {"tasks": 8, "iterations": 6}
        made[name] = strategy, strategy.fit([core], **few)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("strategy", [LAL, MetaModel])
def test_fitting_lowers_the_loss_on_states_not_yet_learned(
    strategy: type[GainModel], fitted: dict[str, tuple[FittedStrategy, list[float]]]
) -> None:
    _, losses = fitted[strategy.name]
    assert np.mean(losses[-2:]) < 0.9 * losses[0]


@pytest.mark.parametrize("strategy", [LAL, MetaModel])
def test_a_fitted_model_ranks_by_gain_on_new_tasks(
    strategy: type[GainModel], fitted: dict[str, tuple[FittedStrategy, list[float]]]
) -> None:
    core = make_core(reward_per_class=8, initial_labels=0)
    gains: dict[str, list[float]] = {"fitted": [], "random": []}
    for name, one in (("fitted", fitted[strategy.name][0]), ("random", load_strategy("random"))):
        state = core.reset(sample(core, 32, seed=9))
        for _ in range(4):
            core.step(state, one.select(core.view(state)))
        gains[name] = state.accuracy_sum.tolist()
    assert np.mean(gains["fitted"]) > np.mean(gains["random"])


def test_double_q_learning_lowers_the_bellman_error() -> None:
    """On a game of known length: from distance a to the target, a labels are needed."""
    rng = np.random.default_rng(0)
    left = torch.from_numpy(rng.integers(1, 6, 400)).float()
    action, following = torch.zeros(400, ACTION), torch.zeros(400, 3, ACTION)
    action[:, 0], following[..., 0] = left, (left - 1).unsqueeze(1)
    mask = (left > 1).unsqueeze(1).expand(-1, 3)
    game = Transitions(torch.zeros(400, STATE), action, torch.zeros(400, STATE), following, mask)
    strategy = LALRL()
    start = float(strategy.bellman_loss(game, strategy.network).detach())
    optimizer = torch.optim.Adam(strategy.network.parameters(), lr=0.03)
    for _ in range(12):
        target: QNetwork = copy.deepcopy(strategy.network)
        for _ in range(80):
            optimizer.zero_grad()
            strategy.bellman_loss(game, target).backward()
            optimizer.step()
    assert float(strategy.bellman_loss(game, strategy.network).detach()) < 0.1 * start
    value = strategy.network(game.state, game.action.unsqueeze(1)).squeeze(1)
    assert float((value + left).abs().mean().detach()) < 0.6


def test_lal_rl_state_and_action_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, probs = rng.normal(size=(12, 3)), rng.dirichlet(np.ones(4), size=12)
    labels = np.full(12, -1)
    labels[[2, 5]] = 0, 1
    view = PoolView.from_arrays(x, probs, labels, dtype=torch.float64)
    state, action = describe(view)
    top, open_ = probs.max(1), labels < 0
    assert state.shape == (1, STATE)
    assert float(state[0, 0]) == pytest.approx(top[open_].min(), abs=1e-6)
    assert float(state[0, -1]) == pytest.approx(top[open_].max(), abs=1e-6)
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    unit = float(view.geometry.mean_sq_dist) ** 0.5
    np.testing.assert_allclose(action[0, :, 0], top, atol=1e-6)
    np.testing.assert_allclose(action[0, :, 1], distance[:, ~open_].mean(1) / unit, atol=1e-5)
    np.testing.assert_allclose(action[0, :, 2], distance[:, open_].mean(1) / unit, atol=1e-5)


def test_lal_rl_labels_until_the_target(fitted: dict[str, tuple[FittedStrategy, list[float]]]) -> None:
    _, lengths = fitted["lal_rl"]
    assert all(1 <= length <= 6 for length in lengths)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_by_path(
    name: str, fitted: dict[str, tuple[FittedStrategy, list[float]]], tmp_path: Path
) -> None:
    strategy, _ = fitted[name]
    strategy.save(tmp_path, {"note": "tiny"})
    loaded = load_strategy(str(tmp_path))
    assert type(loaded) is type(strategy)
    core = make_core()
    state = core.reset(sample(core, 4))
    for _ in range(3):
        view = core.view(state)
        assert torch.equal(strategy.score(view), loaded.score(view))
        picks = loaded.select(view)
        assert bool(torch.take_along_dim(view.selectable, picks.unsqueeze(1), 1).all())
        label(core, state, 1)
    (tmp_path / "strategy.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match="damaged"):
        load_strategy(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_scores_follow_a_permutation_and_do_not_depend_on_the_batch(
    name: str, fitted: dict[str, tuple[FittedStrategy, list[float]]]
) -> None:
    rng = np.random.default_rng(0)
    x, probs = rng.normal(size=(2, 20, 3)), rng.dirichlet(np.ones(4), size=(2, 20))
    labels = np.full((2, 20), -1)
    labels[:, [2, 5, 7]] = 0, 1, 3
    order = rng.permutation(20)
    one = fitted[name][0].score(PoolView.from_arrays(x, probs, labels))
    moved = fitted[name][0].score(PoolView.from_arrays(x[:, order], probs[:, order], labels[:, order]))
    torch.testing.assert_close(one[:, order], moved, atol=1e-4, rtol=1e-4)
    alone = fitted[name][0].score(PoolView.from_arrays(x[1], probs[1], labels[1]))
    torch.testing.assert_close(one[1:], alone, atol=1e-4, rtol=1e-4)


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(InputError, match="share"):
        MetaModel(share=1.5)
