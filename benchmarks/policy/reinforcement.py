"""What reinforcement learning is worth after imitation, on every problem, for unseen glyph scripts.

    python -m benchmarks.policy.reinforcement --problems Stop Batch --seeds 3

For each problem the policies are trained with a learner of the recipe of ``metaal train`` and cheap features: imitation
of what one label earns, the same with vine roll-outs, PPO after imitation, and PPO from the rule alone. The best
hand-made answer is tuned on validation tasks. All play the same tasks of unseen classes by the environment's own rules,
and their returns are compared. ``--write`` puts tables and the curves of validation into docs/measured. Run again to
continue.
"""

from __future__ import annotations

import json
import sys
import time
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from stable_baselines3.common.logger import KVWriter, configure

from agents.evaluation.report.formats import number
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from agents.training.general.sources import IMAGE_LEARNER
from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import rollout_mixture, train_ppo
from agents.training.validation import play_returns, validation_seeds
from benchmarks.policy.hand_made import best_answer
from benchmarks.tables import MEASURED, mean_difference, write_table
from metaal_env import PROBLEMS
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.learners import load_learner
from metaal_env.rewards import REWARDS
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic
from metaal_env.tasks import TaskConfig

Kind = Literal["imitation", "vine", "ppo", "ppo alone"]
WORDS: dict[Kind, str] = {
    "imitation": "imitation of one label",
    "vine": "imitation of returns (vine)",
    "ppo": "PPO after imitation",
    "ppo alone": "PPO from the rule",
}
Problem = Literal["AULC", "Stop", "Batch", "Cost", "Target"]
CURVE = "curve.jsonl"
"""File of a policy's validations, see `Curve`."""


@dataclass(frozen=True)
class Options:
    """What to train and to compare."""

    problems: tuple[Problem, ...] = ("AULC", "Stop", "Batch", "Cost", "Target")
    """Problems: the area under the learning curve, or the ids MetaAL-<name>-v0."""
    kinds: tuple[Kind, ...] = ("imitation", "vine", "ppo", "ppo alone")
    """Policies."""
    seeds: int = 3
    """Policies of each kind."""
    n_tasks: int = 1024
    """Paired tasks of unseen scripts."""
    iterations: int = 10
    """Roll-outs of PPO."""
    imitation_rollouts: int = 3
    """Roll-outs of imitation, of 128 episodes each."""
    n_envs: int = 512
    """Episodes in each."""
    validate_every: int = 5
    """Roll-outs between validations."""
    learning_rate: float = 7e-4
    """Step size of PPO."""
    validation_tasks: int = 512
    """Tasks of validation classes on which weights and hand-made answers are chosen."""
    out: Path = Path("runs/reinforcement")
    """Folder of the runs."""
    write: bool = False
    """Write docs/measured/reinforcement_*.json."""


def cores(problem: Problem, made: dict[str, Core]) -> dict[str, Core]:
    """Returns the environments of a problem on training, validation and test classes.

    Args:
        made: environments of any problem with the same data; filled where it is empty.
    """
    if not made:
        glyphs = load_dataset("glyphs")
        learner = load_learner(IMAGE_LEARNER, glyphs.input_shape)
        parts = {
            "train": learner_and_policy_parts(glyphs.split("train"))[1],
            "validation": glyphs.split("validation"),
            "test": glyphs.split("test"),
        }
        made |= {name: Core(part, learner, TaskConfig(), REWARDS["aulc"]) for name, part in parts.items()}
    options: dict[str, Any] = {} if problem == "AULC" else dict(PROBLEMS[f"MetaAL-{problem}-v0"])
    reward = REWARDS[options.pop("reward", "aulc")]
    # More items than by default, for rewards with less noise.
    return {
        name: _variant(core, TaskConfig(reward_per_class=20, **options), reward)
        for name, core in made.items()
    }


def _variant(core: Core, task: TaskConfig, reward: Any) -> Core:
    other = copy(core.with_task(task))
    other.reward = reward
    return other


def configs(options: Options, kind: Kind, seed: int) -> tuple[PPOConfig, ImitationConfig]:
    """Returns the settings of a policy."""
    ppo = PPOConfig(
        iterations=options.iterations if kind in ("ppo", "ppo alone") else 0,
        n_envs=options.n_envs,
        shapes_per_rollout=1,
        batch_size=1024,
        epochs=2,
        learning_rate=options.learning_rate,
        anchor=0.02 if kind == "ppo" else 0.0,
        width=16,
        features=("standard",),
        validate_every=options.validate_every,
        validation_tasks=options.validation_tasks,
        seed=seed,
    )
    imitation = ImitationConfig(
        iterations=0 if kind == "ppo alone" else options.imitation_rollouts,
        rounds=3,
        gain="return" if kind == "vine" else "one_step",
        n_envs=128,
        shapes_per_rollout=1,
        seed=seed,
    )
    return ppo, imitation


class Curve(KVWriter):
    """Keeps the validations of a training in a file, one JSON object a line; a continued training goes on there."""

    def __init__(self, file: Path):
        self.file, self.last = file, {"labels": -1, "core_seconds": 0.0}
        if file.is_file():
            self.last = json.loads(file.read_text().splitlines()[-1])
        self.began = time.process_time() - self.last["core_seconds"]

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        if "validation/aulc" not in key_values or step <= self.last["labels"]:
            return
        found = {
            "labels": step,
            "validation": float(key_values["validation/aulc"]),
            "core_seconds": time.process_time() - self.began,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as lines:
            lines.write(json.dumps(found) + "\n")

    def close(self) -> None:
        pass


def folder_of(options: Options, problem: Problem, kind: Kind, seed: int) -> Path:
    """Returns the folder of a policy."""
    return options.out / f"{problem}-{kind.replace(' ', '-')}-{seed}"


def policy(options: Options, problem: Problem, kind: Kind, seed: int, of: dict[str, Core]) -> LearnedStrategy:
    """Returns a trained policy, from its folder if it is there."""
    folder = folder_of(options, problem, kind, seed)
    if not (folder / "finished").is_file():
        ppo, imitation = configs(options, kind, seed)
        if kind == "ppo":  # from the imitation that there is
            policy(options, problem, "imitation", seed, of)
            ppo = replace(ppo, start=str(folder_of(options, problem, "imitation", seed)))
        logger = configure(None, [])
        logger.output_formats.append(Curve(folder / CURVE))
        mixture = rollout_mixture(ppo, [[of["train"]]], random_task_shapes=False)
        train_ppo(mixture, [[of["validation"]]], ppo, {}, folder, logger, imitation)
        write_atomic(folder / "finished", b"")
    return LearnedStrategy.load(folder)


def compare(options: Options, problem: Problem, of: dict[str, Core], console: Console) -> dict[str, Any]:
    """Plays a problem's policies and hand-made answer, and returns the table of docs/measured."""

    def returns(strategy: Strategy) -> np.ndarray:
        return play_returns(of["test"], strategy, range(options.n_tasks))["return"]

    answer = best_answer(of["validation"], validation_seeds(options.validation_tasks))
    rule = returns(answer.strategy)
    console.print(f"{problem}: {answer.words}: validation {answer.validation:.4f}, test {rule.mean():.4f}")
    columns = {}
    for kind in options.kinds:
        seeds = []
        for seed in range(options.seeds):
            seeds.append(returns(policy(options, problem, kind, seed, of)))
            console.print(f"{problem}: {WORDS[kind]} {seed}: {seeds[-1].mean():.4f}")
        columns[kind] = np.stack(seeds, 1)
    base = columns.get("imitation")
    rows = [[f"hand-made: {answer.words}", number(float(rule.mean()), 4), "", ""]]
    for kind, values in columns.items():
        ahead = "" if base is None or kind == "imitation" else mean_difference(values - base)
        rows.append(
            [WORDS[kind], number(float(values.mean()), 4), mean_difference(values - rule[:, None]), ahead]
        )
    return {
        "title": f"Reinforcement learning: {'MetaAL-v0' if problem == 'AULC' else f'MetaAL-{problem}-v0'}",
        "command": f"python -m benchmarks.policy.reinforcement --problems {problem} --seeds {options.seeds} "
        f"--kinds {' '.join(repr(kind) if ' ' in kind else kind for kind in options.kinds)} "
        f"--iterations {options.iterations} --validation-tasks {options.validation_tasks}",
        "text": [
            f"Mean return on {options.n_tasks} paired tasks of unseen glyph scripts, {options.seeds} policies of each "
            f"kind; PPO plays {options.iterations * options.n_envs:,} episodes. Features are the standard ones."
        ],
        "columns": ["policy", "return", "− hand-made [95 %]", "− imitation of one label [95 %]"],
        "rows": rows,
    }


def curve_table(options: Options, problem: Problem) -> dict[str, Any]:
    """Returns the mean validation of PPO against episodes, as a table of docs/measured."""
    kinds = [kind for kind in options.kinds if kind.startswith("ppo")]
    found = {}
    for kind in kinds:
        folders = [folder_of(options, problem, kind, seed) for seed in range(options.seeds)]
        files = [folder / CURVE for folder in folders]
        found[kind] = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    points = min(len(curve) for curves in found.values() for curve in curves)
    every = min(options.validate_every, options.iterations)
    rows = []
    for point in range(points):
        row = [f"{point * every * options.n_envs:,}"]
        for kind in kinds:
            row.append(number(float(np.mean([curve[point]["validation"] for curve in found[kind]])), 4))
            row.append(f"{np.mean([curve[point]['core_seconds'] for curve in found[kind]]):.0f}")
        rows.append(row)
    columns = ["episodes"]
    for kind in kinds:
        columns += [WORDS[kind], "core-seconds"]
    return {
        "title": f"Curve of validation against episodes: {problem}",
        "command": "",
        "text": [
            f"Mean return of {options.seeds} policies on {options.validation_tasks} tasks of validation classes."
        ],
        "columns": columns,
        "rows": rows,
    }


def main(options: Options) -> None:
    """Trains and compares. Raises: `InputError` for a run of other settings."""
    console, made = Console(width=200), {}  # type: ignore[var-annotated]
    for problem in options.problems:
        of = cores(problem, made)
        tables = {f"reinforcement_{problem.lower()}": compare(options, problem, of, console)}
        if any(kind.startswith("ppo") for kind in options.kinds):
            tables[f"reinforcement_{problem.lower()}_curve"] = curve_table(options, problem)
        for name, table in tables.items():
            console.print(table)
            if options.write:
                write_table(MEASURED / f"{name}.json", table)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
