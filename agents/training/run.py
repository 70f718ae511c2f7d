"""Trains an acquisition policy: inner learner → environment → imitation → PPO → verdict on classes it has never seen.

It needs no download and no GPU. Run the command again to continue after an interruption, also with more
--ppo.iterations or other --verdict-tasks, and ``tensorboard --logdir runs`` to watch it. Two other forms have options
of their own: --recipe general --data DATA carries out a recipe (--recipe general --help lists them), and --status RUN
looks at a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from filelock import FileLock
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.config import TrainConfig
from agents.training.learner import check_learner, make_learner
from agents.training.ppo.train import rollout_mixture, train_ppo
from agents.training.run_card import write_run_card
from agents.training.run_record import FINISHED, fingerprints, record_run
from agents.training.task_mixture import Families, load_sources
from agents.training.validation import validate
from agents.training.verdict import BASELINES, LOOKAHEAD, give_verdict
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.errors import InputError
from metaal_env.make import check_device
from metaal_env.rewards import REWARDS
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.executor import Executor, in_this_process, open_executor
from metaal_env.runtime.files import refuse_unwritable, write_atomic
from metaal_env.runtime.locks import lock_folder
from metaal_env.runtime.memory import keep_memory
from metaal_env.sampler import TaskSampler
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig


@dataclass(frozen=True)
class Inputs:
    """Holds everything that a run reads, loaded and checked to fit together."""

    parts: tuple[ClassDataset, ClassDataset, ClassDataset]
    """Train, validation and test classes."""
    training: Families
    """Extra sources to train on."""
    validating: Families
    """Extra sources to validate on."""
    task: TaskConfig
    """Shape of the tasks: the run's settings, with defaults fitted to the data."""


def run(config: TrainConfig) -> None:
    """Runs the stages that are not finished yet, from the inner learner to the verdict."""
    keep_memory()
    inputs = check(config)
    with begin_run(config, inputs.parts):
        write_run_card(config.folder, asdict(config))
        with workers_of(config) as executor:
            policy, unseen = train(config, inputs, executor)
        give_verdict(config, unseen, policy)


def check(config: TrainConfig) -> Inputs:
    """Loads what the run needs; refuses what cannot work before any work is done or lost.

    Raises:
        InputError: one sentence says what is wrong, and what to do.
    """
    REWARDS[config.reward]
    check_device(config.device)
    if config.verdict_tasks < 2:
        raise InputError(f"verdict_tasks={config.verdict_tasks} must be at least 2 to give an interval.")
    if config.name is not None and (not config.name or Path(config.name).name != config.name):
        raise InputError(f"name={config.name!r} must be a plain folder name, without separators.")
    refuse_unwritable(config.out, f"out={str(config.out)!r}")
    data = load_dataset(config.dataset)
    parts = data.split("train"), data.split("validation"), data.split("test")
    sources = load_sources(config.extra_sources, config.task, config.reward, config.device)
    if config.ppo.start is not None:
        LearnedStrategy.load(config.ppo.start)
    task = fit_defaults(config.task, (*parts, learner_and_policy_parts(parts[0])[1]))
    check_learner(config, data.input_shape)
    return Inputs(parts, *sources, task)


def fit_defaults(task: TaskConfig, parts: Sequence[ClassDataset]) -> TaskConfig:
    """Returns a task that every part of the data can supply, and prints what had to change.

    Settings that differ from their defaults were chosen and stay as they are.

    Raises:
        InputError: a part cannot supply the tasks that were asked for.
    """
    chosen = {f.name for f in fields(TaskConfig) if getattr(task, f.name) != f.default}
    notes: dict[str, None] = {}
    for part in parts:
        task, changes = fit_task(task, part, chosen)
        notes.update(dict.fromkeys(changes))
    for part in parts:
        TaskSampler(part, task)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return task


def begin_run(config: TrainConfig, parts: Sequence[ClassDataset] = ()) -> FileLock:
    """Locks the run folder for this process and records the configuration.

    Args:
        parts: train, validation and test classes, where they are loaded already.

    Raises:
        InputError: another process is at work there, or the folder holds a link that leads out of it or a run that
            these settings would not continue; see `agents.training.run_record`.
    """
    settings = asdict(config)
    prints = fingerprints(settings, parts)
    lock = lock_folder(config.folder, f"name={config.folder.name!r}")
    try:
        notes = record_run(config.folder, settings, prints)
    except BaseException:
        lock.release()
        raise
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return lock


def workers_of(config: TrainConfig) -> Executor:
    """Returns the executor of a run: what it asks for, or this process on a GPU, which processes would share."""
    if check_device(config.device).type != "cpu":
        return in_this_process()
    return open_executor(config.spread, config.folder)


def train(
    config: TrainConfig, inputs: Inputs, executor: Executor | None = None
) -> tuple[LearnedStrategy, Core]:
    """Returns the trained policy, and the environment of unseen classes with its learner.

    Args:
        executor: plays roll-outs and validation tasks; this process by default.
    """
    train, validation, test = inputs.parts
    learner_part, policy_part = learner_and_policy_parts(train)
    learner = make_learner(config, learner_part, validation)
    device = check_device(config.device)

    def core(part: ClassDataset) -> Core:
        return Core(part, learner, inputs.task, REWARDS[config.reward], device=device)

    validating = [[core(validation)], *inputs.validating]
    if config.random_task_shapes:
        validating += balanced(validating)
    policy = make_policy(config, [[core(policy_part)], *inputs.training], validating, executor)
    return policy, core(test)


def balanced(families: Families) -> list[list[Core]]:
    """Returns the same cores with equal class shares in every pool: what wins in unequal pools may lose there."""
    infinity = float("inf")
    return [
        [core.with_task(replace(core.config, class_concentration=infinity)) for core in family]
        for family in families
    ]


def make_policy(
    config: TrainConfig, families: Families, validating: Families, executor: Executor | None = None
) -> LearnedStrategy:
    """Trains the policy by imitation and PPO, or loads it when its training is finished."""
    done = config.folder / FINISHED
    if done.is_file():
        return LearnedStrategy.load(config.folder)
    # With extra sources, look-ahead would take as long as a good part of the training.
    rules = [name for name in BASELINES if name != LOOKAHEAD or not config.extra_sources]
    baselines = {
        name: validate(validating, load_strategy(name), config.ppo.validation_tasks, executor)[0]
        for name in tqdm(rules, desc="rules on validation tasks", unit="rule")
    }
    mixture = rollout_mixture(config.ppo, families, config.random_task_shapes)
    logger = configure(str(config.folder / "tensorboard"), ["tensorboard"])
    policy = train_ppo(
        mixture, validating, config.ppo, baselines, config.folder, logger, config.imitation, executor
    )
    logger.close()
    write_atomic(done, b"")
    return policy


def main(arguments: Sequence[str] | None = None, program: str = "metaal train") -> int:
    """Reads the command line, trains, and returns the exit code."""
    return run_command(TrainConfig, run, __doc__, arguments=arguments, program=program)
