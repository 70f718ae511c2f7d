"""Trains the general policy: the examples of several seeds, pooled in one fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from agents.policy.sb3_policy import LearnedStrategy
from agents.training.config import TrainConfig
from agents.training.general.sources import Kinds, sources
from agents.training.imitation.examples import Examples, load_all_examples
from agents.training.imitation.imitate import ImitationConfig, fit_mean
from agents.training.imitation.rounds import imitate
from agents.training.learner import make_learner
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import initial_network, rollout_mixture
from agents.training.run import begin_run, check, run
from agents.training.task_mixture import load_sources
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.make import make_core
from metaal_env.tasks import TaskConfig


@dataclass
class GeneralConfig:
    """How the general policy is trained."""

    data: Path
    """Folder that holds omniglot_28.npz, intents/*.npz and pmlb/*.npz."""
    out: Path = Path("runs")
    """Folder of the runs."""
    sources: Kinds = "all"
    """Which sources of tasks beside synthetic ones. The other domains then stay unseen."""
    imitation: int = 24
    """Roll-outs for each seed, whose states become examples."""
    seeds: int = 5
    """Number of policies, with seeds 0, 1, …; the general one is fitted to the examples of all."""
    ppo: int = 0
    """Roll-outs of PPO from there, in a run of its own that ends with the weights that validation classes prefer."""
    only: int | None = None
    """Train the policy of this seed and end there, so that several processes can share the work."""


def run_of_seed(config: GeneralConfig, seed: int) -> TrainConfig:
    """Returns the settings of one seed's run."""
    dataset, learner, extra = sources(config.sources, config.data, config.out / "omniglot-learner")
    return TrainConfig(
        dataset=dataset,
        learner=learner,
        name=f"general-{config.sources}-{seed}",
        out=config.out,
        extra_sources=extra,
        imitation=ImitationConfig(iterations=config.imitation, seed=seed),
        ppo=PPOConfig(seed=seed),
    )


def meta_train_omniglot(config: GeneralConfig) -> None:
    """Meta-trains the learner of Omniglot's background alphabets, unless it is there already."""
    learner = TrainConfig(
        dataset=str(config.data / "omniglot_28.npz"),
        out=config.out,
        name="omniglot-learner",
        task=TaskConfig(reward_per_class=5, test_per_class=5),
    )
    if not (learner.folder / "learner.json").is_file():
        train, validation, _ = parts = check(learner).parts
        with begin_run(learner, parts):
            make_learner(learner, train, validation)


def first_source(config: TrainConfig) -> Core:
    """Returns the environment of a run's data set, with the training classes that are left to the policy."""
    data = learner_and_policy_parts(load_dataset(config.dataset).split("train"))[1]
    return make_core(
        data,
        split="all",
        learner=config.learner,
        task=config.task,
        reward=config.reward,
        device=config.device,
    )


def train_by_imitation(config: TrainConfig) -> Path:
    """Trains by imitation alone, unless that is done; keeps the examples and returns the run's folder."""
    if not (config.folder / "policy.json").is_file():
        with begin_run(config):
            extra, _ = load_sources(config.extra_sources, config.task, config.reward, config.device)
            mixture = rollout_mixture(config.ppo, [[first_source(config)], *extra], config.random_task_shapes)
            tasks = mixture.resized(config.imitation.n_envs, config.imitation.shapes_per_rollout)
            network = initial_network(config.ppo).to(tasks.families[0][0].device)
            imitate(network, tasks, config.imitation, config.folder / "checkpoints")
            LearnedStrategy(network).save(config.folder / "policy", {"imitated": config.imitation.iterations})
    return config.folder


def fit_pooled(config: GeneralConfig) -> Path:
    """Fits one policy to the examples of all seeds, and returns its folder."""
    runs = [run_of_seed(config, seed) for seed in range(config.seeds)]
    parts = [
        load_all_examples(train_by_imitation(one) / "checkpoints", config.imitation, one.imitation)
        for one in runs
    ]
    examples = Examples.joined(parts)
    network = initial_network(runs[0].ppo)
    fit_mean(network, examples, runs[0].imitation)
    folder = config.out / f"general-{config.sources}"
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"runs": [one.name for one in runs], "states": len(examples.gain)}
    LearnedStrategy(network).save(folder / "policy", summary)
    return folder


def run_of_ppo(config: GeneralConfig, start: Path) -> TrainConfig:
    """Returns the settings of PPO on the same tasks, from the policy in `start`."""
    ppo = PPOConfig(
        iterations=config.ppo,
        shapes_per_rollout=8,
        n_envs=256,
        epochs=2,
        start=str(start),
        validate_every=10,
        validation_tasks=640,
    )
    return replace(run_of_seed(config, 0), name=f"general-{config.sources}-ppo", ppo=ppo)


def train_general(config: GeneralConfig) -> None:
    """Trains the general policy, or the part of it that `config.only` names; continues what is unfinished."""
    if config.sources in ("all", "images"):
        meta_train_omniglot(config)
    if config.only is not None:
        train_by_imitation(run_of_seed(config, config.only))
        return
    folder = fit_pooled(config)
    if config.ppo:
        run(run_of_ppo(config, folder))
