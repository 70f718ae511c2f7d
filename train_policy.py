"""Trains an acquisition policy: inner learner → environment → imitation → PPO → verdict on classes it has never seen.

``python train_policy.py`` needs no download and no GPU. Run it again to continue after an interruption, also with
more --ppo.iterations or other --verdict-tasks, and ``tensorboard --logdir runs`` to watch it.
"""

from __future__ import annotations

import os

# Before torch is imported: two busy threads on two cores wait for each other more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import tyro
from filelock import FileLock
from rich.console import Console
from stable_baselines3.common.logger import configure
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.evaluation import Episodes, play, verdict
from agents.evaluation.measures import aulc
from agents.evaluation.report.pictures import verdict_figure
from agents.evaluation.report.plots import rendered
from agents.evaluation.report.tensorboard import StrategyCharts
from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import train_ppo
from agents.training.run_card import write_run_card
from agents.training.run_record import FINISHED, fingerprints, settle
from agents.training.task_mixture import Mixture, load_sources
from agents.training.validation import validate
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.errors import InputError
from metaal_env.learners import InnerLearner, build_learner, load_learner, save_learner
from metaal_env.learners.base import LEARNERS
from metaal_env.make import check_device
from metaal_env.meta_training.train import MetaTrainConfig, meta_train
from metaal_env.rewards import REWARDS
from metaal_env.runtime.command_line import run_cli
from metaal_env.runtime.files import write_atomic
from metaal_env.runtime.locks import lock_folder
from metaal_env.sampler import TaskSampler
from metaal_env.tasks import TaskConfig

ORACLE = "greedy_lookahead"
BASELINES = ("random", "margin", "max_herding", "uherding", ORACLE)
Flat = tyro.conf.OmitArgPrefixes


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Everything it makes lies in ``runs/<name>/``."""

    dataset: str = "glyphs"
    """Registered data set, or path of a npz or csv file or an image folder."""
    learner: str = "maml"
    """Inner learner: a registered name, or a run folder or file with a meta-trained one."""
    learner_options: dict[str, str] = field(default_factory=dict)
    """Options of the learner, e.g. ``depth last_block steps 3``."""
    name: str | None = None
    """Folder under `out`; the default names data set, learner and seed."""
    out: Path = Path("runs")
    task: Flat[TaskConfig] = field(default_factory=TaskConfig)
    """What tasks look like."""
    also: tuple[str, ...] = ()
    """Further sources of tasks for the policy, each DATASET@LEARNER; data sets joined by + count as one."""
    vary: bool = True
    """Train on task shapes drawn widely (classes, pool, budget, imbalance, noise) instead of `task` alone."""
    reward: str = "aulc"
    """What the policy is paid for; see `metaal_env.rewards`."""
    meta: MetaTrainConfig = field(default_factory=MetaTrainConfig)
    """Meta-training of the inner learner."""
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    """Training of the policy by look-ahead."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Training of the policy by whole episodes."""
    verdict_tasks: int = 256
    """Paired tasks of unseen classes on which the verdict is given."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""

    @property
    def folder(self) -> Path:
        stem = Path(self.dataset).stem if self.dataset else "data"
        return self.out / (self.name or f"{stem}-{Path(self.learner).name}-{self.ppo.seed}")


def main(config: TrainConfig) -> None:
    """Runs the stages that are not finished yet."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    parts = check(config)
    with claim(config, parts):
        write_run_card(config.folder, asdict(config))
        policy, unseen = train(config, *parts)
        give_verdict(config, unseen, policy)


def train(
    config: TrainConfig, train: ClassDataset, validation: ClassDataset, test: ClassDataset
) -> tuple[LearnedStrategy, Core]:
    """The policy, and the environment of unseen classes with its learner."""
    learner_part, policy_part = learner_and_policy_parts(train)
    learner = make_learner(config, learner_part, validation)

    def core(part: ClassDataset) -> Core:
        return Core(part, learner, config.task, REWARDS[config.reward], device=config.device)

    training, validating = load_sources(config.also, config.task, config.reward, config.device)
    validating = [[core(validation)], *validating]
    if config.vary:
        validating += balanced(validating)
    return make_policy(config, [[core(policy_part)], *training], validating), core(test)


def balanced(families: list[list[Core]]) -> list[list[Core]]:
    """The same with equal class shares in every pool: what wins in unequal ones may lose there."""
    return [[c.with_task(replace(c.config, imbalance=float("inf"))) for c in family] for family in families]


def check(config: TrainConfig) -> tuple[ClassDataset, ClassDataset, ClassDataset]:
    """The train, validation and test classes; refuses what cannot work before any work is done or lost.

    Raises:
        InputError: one sentence on what is wrong and how to mend it.
    """
    REWARDS[config.reward]
    check_device(config.device)
    if config.verdict_tasks < 2:
        raise InputError(f"verdict_tasks={config.verdict_tasks} must be at least 2 to give an interval.")
    if config.name is not None and (not config.name or Path(config.name).name != config.name):
        raise InputError(f"name={config.name!r} must be a plain folder name, without separators.")
    data = load_dataset(config.dataset)
    parts = data.split("train"), data.split("validation"), data.split("test")
    load_sources(config.also, config.task, config.reward, config.device)
    if config.ppo.start is not None:
        LearnedStrategy.load(config.ppo.start)
    for part in (*parts, learner_and_policy_parts(parts[0])[1]):
        TaskSampler(part, config.task)
    if config.learner in LEARNERS:
        build_learner(config.learner, data.input_shape, **learner_options(config))
    else:
        load_learner(config.learner, data.input_shape)
    return parts


def learner_options(config: TrainConfig) -> dict[str, object]:
    """The learner's options with numbers and booleans read as such."""
    options: dict[str, object] = {}
    for key, text in config.learner_options.items():
        try:
            options[key] = json.loads(text)
        except json.JSONDecodeError:
            options[key] = text
    return options


def claim(config: TrainConfig, parts: Sequence[ClassDataset] = ()) -> FileLock:
    """Makes the run folder this process's own and records the configuration.

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
        notes = settle(config.folder, settings, prints)
    except BaseException:
        lock.release()
        raise
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return lock


def make_learner(config: TrainConfig, train: ClassDataset, validation: ClassDataset) -> InnerLearner:
    """The run's inner learner: finished before, given, or meta-trained now."""
    stem = config.folder / "learner"
    if stem.with_suffix(".json").is_file():
        return load_learner(stem, train.input_shape)
    if config.learner not in LEARNERS:
        learner = load_learner(config.learner, train.input_shape)
        for suffix in (".json", ".safetensors"):
            source = Path(config.learner)
            source = source / "learner" if source.is_dir() else source
            write_atomic(stem.with_suffix(suffix), source.with_name(source.name + suffix).read_bytes())
        return learner
    torch.manual_seed(config.meta.seed)
    options = learner_options(config)
    learner = build_learner(config.learner, train.input_shape, **options).to(config.device)
    writer = SummaryWriter(str(config.folder / "tensorboard" / "learner"))
    summary = meta_train(
        learner, train, validation, config.meta, config.folder / "checkpoints" / "learner.pt", writer
    )
    writer.close()
    save_learner(learner, stem, config.learner, train.input_shape, options, summary._asdict())
    return learner


def make_policy(
    config: TrainConfig, families: list[list[Core]], validating: list[list[Core]]
) -> LearnedStrategy:
    """Trains the policy, or loads it when its training is finished."""
    done = config.folder / FINISHED
    if done.is_file():
        return LearnedStrategy.load(config.folder)
    # On a mixture the look-ahead would take as long as a good part of the training.
    rules = [name for name in BASELINES if name != ORACLE or not config.also]
    baselines = {
        name: validate(validating, load_strategy(name), config.ppo.validation_tasks)[0]
        for name in tqdm(rules, desc="rules on validation tasks", unit="rule")
    }
    logger = configure(str(config.folder / "tensorboard"), ["tensorboard"])
    policy = train_ppo(
        mixture_of(config, families),
        validating,
        config.ppo,
        baselines,
        config.folder,
        logger,
        config.imitation,
    )
    logger.close()
    write_atomic(done, b"")
    return policy


def mixture_of(config: TrainConfig, families: list[list[Core]]) -> Mixture:
    """What roll-outs draw their tasks from."""
    ppo = config.ppo
    return Mixture(
        families, n_envs=ppo.n_envs, paired=ppo.paired, groups=ppo.groups, vary=config.vary, seed=ppo.seed
    )


def give_verdict(config: TrainConfig, core: Core, policy: LearnedStrategy) -> dict[str, Episodes]:
    """Plays policy and rules on the same unseen-class tasks and prints the comparison."""
    strategies = {"policy": policy} | {name: load_strategy(name) for name in BASELINES}
    results = {}
    bar = tqdm(total=len(strategies) * config.verdict_tasks, desc="verdict", unit="task")
    for name, strategy in strategies.items():
        results[name] = play(
            core, strategy, range(config.verdict_tasks), name=name, progress=lambda n: bar.update(n) and None
        )
    bar.close()
    title = f"{config.verdict_tasks} paired tasks of unseen classes of {config.dataset}"
    console = Console()
    console.print(verdict(results, title=title))
    figure = verdict_figure(core, policy, 0, results)
    write_atomic(config.folder / "verdict.png", rendered(figure, "png"))
    with SummaryWriter(str(config.folder / "tensorboard")) as writer:
        writer.add_figure("verdict", figure)
    charts = StrategyCharts(config.folder / "tensorboard")
    charts.add("verdict/aulc", {name: float(aulc(played).mean()) for name, played in results.items()}, 0)
    charts.close()
    console.print(f"policy: {config.folder}  ·  python evaluate.py  ·  tensorboard --logdir {config.out}")
    return results


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(TrainConfig, description=__doc__))))
