"""Trains one acquisition policy for images, texts, tables and spaces of other kinds, from a mixture of tasks.

    python benchmarks/general_policy.py --data DATA                     # → runs/general-all-0 … -4, runs/general-all
    python benchmarks/general_policy.py --data DATA --sources images    # never sees texts and tables
    python benchmarks/general_policy.py --data DATA --sources synthetic # never sees real data

``DATA`` holds ``omniglot_28.npz``, ``intents/*.npz`` and ``pmlb/*.npz`` (Lake et al. 2015, MIT; CLINC150 and
BANKING77 as MiniLM-L6 embeddings, CC BY; Penn Machine Learning Benchmarks, MIT). What is held back, and so fit
for testing: unseen glyph scripts, Omniglot's evaluation alphabets, the test splits of languages and intents, the
UCI tables, and every fourth PMLB table. The digits of scikit-learn are not: they are PMLB's ``optdigits``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro

import train_policy
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.imitation.examples import States, all_states
from agents.training.imitation.imitate import ImitationConfig, fit_mean, imitate
from agents.training.ppo.config import PPOConfig
from agents.training.task_mixture import Mixture, load_sources
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_cli
from metaal_env.tasks import TaskConfig

GLYPHS = "agents/pretrained/metaal-general"
"""A learner of images, as ``python train_policy.py`` makes it; training, verdict and release share it."""

SAME_AS_UCI = (
    "australian", "crx", "buggyCrx", "breast_cancer", "diabetes", "flare", "solar_flare_1", "solar_flare_2",
    "german", "credit_g", "heart_statlog", "heart_c", "heart_h", "cleve", "hungarian", "mushroom", "wdbc",
    "breast", "breast_w", "breast_cancer_wisconsin",
)  # fmt: skip
"""PMLB tables that are, or come from the same study as, one of the ten UCI sets on which the policy is judged."""

SAME_AS_TRAINED = ("allrep", "ann_thyroid", "clean2", "horse_colic", "spectf")
"""PMLB tables that come from the same study as one that is trained on: neither trained on nor held back."""

SPACES = 200
"""Synthetic spaces to train on."""

UNUSABLE = ("auto", "flags", "penguins")
"""PMLB tables with missing values or classes of one or two rows."""


@dataclass
class Options:
    """How to train the general policy."""

    data: Path
    """Folder of the data."""
    out: Path = Path("runs")
    sources: Literal["all", "images", "vectors", "synthetic"] = "all"
    """Which sources of tasks, beside synthetic ones; the other domains then stay unseen."""
    imitation: int = 24
    """Roll-outs whose states are learned from, for each seed."""
    seeds: int = 5
    """Policies with seeds 0, 1, …; the general one is fitted to the states of all."""
    ppo: int = 0
    """Roll-outs of PPO from there → runs/general-all-ppo, with the weights that validation classes prefer."""
    only: int | None = None
    """Train the policy of this seed and end there, so that several processes can share the work."""


def tables(data: Path, *, held_back: bool) -> list[Path]:
    """The PMLB tables to train on, or every fourth, which only tests see."""
    names = sorted(f for f in (data / "pmlb").glob("*.npz") if f.stem not in (*SAME_AS_UCI, *UNUSABLE))
    parts = [f for place, f in enumerate(names) if (place % 4 == 1) == held_back]
    return [f for f in parts if f.stem not in SAME_AS_TRAINED]


def synthetic(families: int) -> tuple[str, ...]:
    """`SPACES` drawn spaces, in as many families as are to count like one real source each."""
    parts = ["+".join(f"synthetic:{n}" for n in range(first, SPACES, families)) for first in range(families)]
    return tuple(f"{part}@{('prototype', 'logistic')[place % 2]}" for place, part in enumerate(parts))


def configuration(options: Options, seed: int) -> train_policy.TrainConfig:
    """The training run of `options`."""
    data, learner = options.data, options.out / "omniglot-learner"
    omniglot, intents = data / "omniglot_28.npz", data / "intents"
    pmlb = "+".join(map(str, tables(data, held_back=False)))
    images = (f"{omniglot}@{learner}", f"{omniglot}@{GLYPHS}")
    vectors = (
        "languages@prototype",
        "languages@logistic",
        f"{intents}/clinc150_minilm384.npz@prototype",
        f"{intents}/clinc150_minilm384.npz@logistic",
        f"{intents}/banking77_minilm384.npz@prototype",
        f"{pmlb}@prototype",
        f"{pmlb}@logistic",
    )
    first, also = {
        "all": (("glyphs", GLYPHS), images + vectors + synthetic(4)),
        "images": (("glyphs", GLYPHS), images + synthetic(3)),
        "vectors": (("languages", "prototype"), vectors[1:] + synthetic(4)),
        "synthetic": ((f"synthetic:{SPACES}", "prototype"), synthetic(10)),
    }[options.sources]
    return train_policy.TrainConfig(
        dataset=first[0],
        learner=first[1],
        name=f"general-{options.sources}-{seed}",
        out=options.out,
        task=TaskConfig(),
        also=also,
        vary=True,
        imitation=ImitationConfig(iterations=options.imitation, seed=seed),
        ppo=PPOConfig(seed=seed),
    )


def omniglot_learner(options: Options) -> None:
    """Meta-trains the learner of Omniglot's background alphabets."""
    config = train_policy.TrainConfig(
        dataset=str(options.data / "omniglot_28.npz"),
        out=options.out,
        name="omniglot-learner",
        task=TaskConfig(reward_per_class=5, test_per_class=5),
    )
    train, validation, _ = train_policy.check(config)
    with train_policy.claim(config):
        train_policy.make_learner(config, train, validation)


def imitated(config: train_policy.TrainConfig) -> Path:
    """The folder of `config`'s run, with the policy that imitation alone finds; no PPO."""
    if not (config.folder / "policy.json").is_file():
        with train_policy.claim(config):
            network = untrained(config)
            tasks = mixture(config).resized(config.imitation.n_envs, config.imitation.groups)
            imitate(network, tasks, config.imitation, config.folder / "checkpoints")
            LearnedStrategy(network).save(config.folder / "policy", {"imitated": config.imitation.iterations})
    return config.folder


def untrained(config: train_policy.TrainConfig) -> AcquisitionNetwork:
    """The network with which every training of `config` begins."""
    torch.manual_seed(config.ppo.seed)
    return AcquisitionNetwork(config.ppo.prior, config.ppo.temperature, config.ppo.width)


def first_source(config: train_policy.TrainConfig) -> Core:
    """The environment of `config`'s data set, with the training classes that are left to the policy."""
    data = learner_and_policy_parts(load_dataset(config.dataset).split("train"))[1]
    return make_core(data, split="all", learner=config.learner, task=config.task, reward=config.reward)


def mixture(config: train_policy.TrainConfig) -> Mixture:
    """The tasks on which the policy of `config` is trained."""
    return train_policy.mixture_of(
        config, [[first_source(config)], *load_sources(config.also, config.task, config.reward)[0]]
    )


def pooled(options: Options) -> Path:
    """One policy from the states of all seeds; its folder."""
    runs = [configuration(options, seed) for seed in range(options.seeds)]
    parts = [all_states(imitated(run) / "checkpoints", options.imitation, run.imitation) for run in runs]
    states = States.joined(parts)
    network = untrained(runs[0])
    fit_mean(network, states, runs[0].imitation)
    folder = options.out / f"general-{options.sources}"
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"runs": [run.name for run in runs], "states": len(states.gain)}
    LearnedStrategy(network).save(folder / "policy", summary)
    return folder


def continued(options: Options, start: Path) -> train_policy.TrainConfig:
    """PPO on the same mixture from the policy in `start`."""
    ppo = PPOConfig(
        iterations=options.ppo,
        groups=8,
        n_envs=256,
        epochs=2,
        start=str(start),
        validate_every=10,
        validation_tasks=640,
    )
    return replace(configuration(options, 0), name=f"general-{options.sources}-ppo", ppo=ppo)


def main(options: Options) -> None:
    if (
        options.sources in ("all", "images")
        and not (options.out / "omniglot-learner" / "learner.json").is_file()
    ):
        omniglot_learner(options)
    if options.only is not None:
        imitated(configuration(options, options.only))
        return
    found = pooled(options)
    if options.ppo:
        train_policy.main(continued(options, found))


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(Options, description=__doc__))))
