"""Rules, references and trained agents on every registered problem: ``python -m benchmarks.policy.baselines``.

Agents learn on training classes and knobs are chosen on validation classes; all play the same tasks of unseen classes
by the environment's own rules. Each cell is kept as soon as it is known and is not repeated. ``--write`` puts all that
are known into docs/measured/baselines.json, from which `benchmarks.results_page` makes its part of docs/results.md.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import configure
from torch import Tensor

import metaal_env
from agents.evaluation.report.formats import number
from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from agents.strategies.fitted.lal_rl import LALRL
from agents.training.ppo.train import rollout_mixture, train_ppo
from agents.training.validation import play_returns, validation_seeds
from benchmarks.policy.hand_made import best_answer
from benchmarks.policy.reinforcement import Options as TrainingOptions
from benchmarks.policy.reinforcement import configs
from benchmarks.tables import MEASURED, write_table
from metaal_env.core import Core
from metaal_env.errors import unknown_name
from metaal_env.make import make_core
from metaal_env.observation import mask_actions
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic
from metaal_env.sb3 import SB3VecEnv
from metaal_env.vector_env import MetaALVectorEnv

IDS = ("MetaAL-v0", *metaal_env.PROBLEMS)
AT_ONCE = 64
"""Episodes of stock agents that are played together."""


@dataclass(frozen=True)
class Options:
    """What to play."""

    ids: tuple[str, ...] = IDS
    """Registered ids."""
    agents: tuple[str, ...] = ()
    """Names in the table; by default all."""
    n_tasks: int = 512
    """Paired tasks of unseen classes."""
    validation_tasks: int = 256
    """Tasks of validation classes on which the best rule and checkpoints are chosen."""
    steps: int = 200_000
    """Steps of stock agents."""
    iterations: int = 15
    """Roll-outs of PPO with our network."""
    n_envs: int = 256
    """Episodes in each."""
    policy: str = "metaal-general"
    """Shipped policy."""
    out: Path = Path("runs/baselines")
    """Folder of the cells."""
    write: bool = False
    """Write docs/measured/baselines.json after every cell."""


@dataclass(frozen=True)
class Problem:
    """An id on training, validation and test classes."""

    env_id: str
    options: Options

    def core(self, split: Any) -> Core:
        spec = gym.spec(self.env_id)
        return make_core(**{**spec.kwargs, "split": split})

    def envs(self, split: str, n: int) -> MetaALVectorEnv:
        return gym.make_vec(self.env_id, num_envs=n, split=split, observation="compact")  # type: ignore[return-value]


class AnyAction(Strategy):
    """Acts at random among what the mask allows, the end of the episode included."""

    stochastic = True

    def score(self, view: PoolView) -> Tensor:
        n = view.valid.shape[1] + 1
        return view.random(lambda rng: rng.random(n), self.seed)[:, :-1]

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        n = view.valid.shape[1] + 1
        stop = view.terms is not None and bool((view.terms.price > 0).all())
        chances = view.random(lambda rng: rng.random(n), self.seed)[:, : n - 1 + stop]
        return chances.masked_fill(~mask_actions(view.selectable, view.valid, stop), -1.0).argmax(1)


Returns = tuple[np.ndarray, str]
"""(n,) returns on the test tasks, and what the agent was in words where its name does not say it."""


def rule(name: str) -> Callable[[Problem], Returns]:
    """Returns a function that plays a strategy by name."""
    return lambda problem: (test_returns(problem, load_strategy(name)), "")


def test_returns(problem: Problem, strategy: Strategy) -> np.ndarray:
    """Returns the (n,) returns of a strategy on the test tasks."""
    return play_returns(problem.core("test"), strategy, range(problem.options.n_tasks))["return"]


def best_rule(problem: Problem) -> Returns:
    """Plays the hand-made answer that is best on validation tasks."""
    answer = best_answer(problem.core("validation"), validation_seeds(problem.options.validation_tasks))
    return test_returns(problem, answer.strategy), answer.words


def lal_rl(problem: Problem) -> Returns:
    """Fits LAL-RL, which knows of no terms, to learning curves of the id's data."""
    strategy = LALRL()
    core = problem.core("train")
    plain = replace(core.config, price=0.0, batch_size=1, item_costs=0.0, target=0.0)
    strategy.fit([core.with_task(plain)], tasks=32)
    return test_returns(problem, strategy), ""


def maskable_ppo(problem: Problem) -> Returns:
    """Trains sb3-contrib's MaskablePPO as it is, on flattened observations."""
    envs = SB3VecEnv(problem.envs("train", AT_ONCE))
    model = MaskablePPO("MultiInputPolicy", envs, n_steps=40, batch_size=640, gamma=1.0, seed=0, device="cpu")
    model.learn(problem.options.steps)
    return stock_returns(problem, model), f"{problem.options.steps:,} steps"


class Agent(Protocol):
    """What has a trained model's ``predict`` as of stable-baselines3."""

    @property
    def predict(self) -> Callable[..., tuple[np.ndarray, Any]]:
        """Observation, ``deterministic`` and ``action_masks`` → (B,) actions, and a state of no use here."""


def stock_returns(problem: Problem, model: Agent) -> np.ndarray:
    """Returns the (n,) returns of a trained model on the test tasks, whose seeds are those of `play_returns`."""
    parts = []
    for first in range(0, problem.options.n_tasks, AT_ONCE):
        seeds = list(range(first, min(first + AT_ONCE, problem.options.n_tasks)))
        envs = problem.envs("test", len(seeds))
        envs.seed_episodes(seeds)
        observation = envs.reset_tensors()
        while not bool(envs.state.ended.all()):
            arrays = {key: value.numpy() for key, value in observation.items()}
            actions, _ = model.predict(arrays, deterministic=True, action_masks=envs.action_masks())
            envs.advance(torch.from_numpy(actions))
            observation = envs.observe()
        parts.append(envs.outcome(torch.arange(len(seeds)))["return"].double().numpy())
    return np.concatenate(parts)


def our_ppo(problem: Problem) -> Returns:
    """Trains PPO with our network from the prior rule alone."""
    options = problem.options
    training = TrainingOptions(
        iterations=options.iterations, n_envs=options.n_envs, validation_tasks=options.validation_tasks
    )
    ppo, imitation = configs(training, "ppo alone", 0)
    folder = options.out / problem.env_id / "ppo"
    mixture = rollout_mixture(ppo, [[problem.core("train")]], random_task_shapes=False)
    train_ppo(mixture, [[problem.core("validation")]], ppo, {}, folder, configure(None, []), imitation)
    episodes = options.iterations * options.n_envs
    return test_returns(problem, LearnedStrategy.load(folder)), f"{episodes:,} episodes"


def shipped(problem: Problem) -> Returns:
    """Plays the shipped policy, which knows of no terms."""
    return test_returns(problem, load_strategy(problem.options.policy)), problem.options.policy


AGENTS: dict[str, Callable[[Problem], Returns]] = {
    "random": lambda problem: (test_returns(problem, AnyAction()), ""),
    "margin": rule("margin"),
    "UHerding": rule("uherding"),
    "best rule": best_rule,
    "greedy look-ahead*": rule("greedy_on_terms"),
    "LAL-RL": lal_rl,
    "MaskablePPO": maskable_ppo,
    "PPO, our network": our_ppo,
    "shipped policy": shipped,
}


def file_of(options: Options, env_id: str, agent: str) -> Path:
    """Returns the file of a cell."""
    return options.out / env_id / f"{agent}.json"


def known_cells(options: Options) -> list[dict[str, Any]]:
    """Returns all cells that are known, id by id."""
    files = [file_of(options, env_id, agent) for env_id in metaal_env.VARIANTS for agent in AGENTS]
    return [json.loads(file.read_bytes()) for file in files if file.is_file()]


def cell(problem: Problem, agent: str) -> dict[str, Any]:
    """Returns a cell of the table, from its file if it is there."""
    file = file_of(problem.options, problem.env_id, agent)
    if file.is_file():
        return json.loads(file.read_bytes())
    began = time.process_time()
    returns, words = AGENTS[agent](problem)
    found = {
        "id": problem.env_id,
        "agent": agent,
        "words": words,
        "mean": float(returns.mean()),
        "error": float(1.96 * returns.std(ddof=1) / len(returns) ** 0.5),
        "episodes": len(returns),
        "core_minutes": (time.process_time() - began) / 60,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(found, ensure_ascii=False).encode())
    return found


def table(cells: list[dict[str, Any]], options: Options) -> dict[str, Any]:
    """Returns docs/measured/baselines.json."""
    rows = []
    for found in cells:
        low, high = (number(found["mean"] + sign * found["error"], 4, "+") for sign in (-1, 1))
        rows.append(
            [
                f"`{found['id']}`",
                f"{found['agent']} ({found['words']})" if found["words"] else found["agent"],
                f"{number(found['mean'], 4, '+')} [{low}, {high}]",
                str(found["episodes"]),
                f"{found['core_minutes']:.1f}",
            ]
        )
    return {
        "title": "Baselines on every problem",
        "command": f"python -m benchmarks.policy.baselines --n-tasks {options.n_tasks} --validation-tasks "
        f"{options.validation_tasks} --steps {options.steps} --iterations {options.iterations} --write",
        "text": [
            "Mean return on paired tasks of unseen classes, by the environment's own rules; the best rule and its "
            "constants are chosen on validation tasks. Rules that know of no price label until the budget is spent. "
            "Core-minutes are those of training, tuning and playing. An asterisk marks what sees hidden labels."
        ],
        "columns": ["id", "agent", "return [95 %]", "episodes", "core-minutes"],
        "rows": rows,
    }


def main(options: Options) -> None:
    """Fills the table cell by cell. Raises: `InputError` for an unknown id or agent."""
    agents = options.agents or tuple(AGENTS)
    for argument, given, known in (("ids", options.ids, metaal_env.VARIANTS), ("agents", agents, AGENTS)):
        for name in given:
            if name not in known:
                raise unknown_name(argument, name, known)
    console = Console(width=160)
    for agent, env_id in product(agents, options.ids):  # cheap agents first
        found = cell(Problem(env_id, options), agent)
        console.print(f"{env_id} {agent}: {found['mean']:+.4f} ± {found['error']:.4f} {found['words']}")
        if options.write:
            write_table(MEASURED / "baselines.json", table(known_cells(options), options))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
