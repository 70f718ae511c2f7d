"""Trains one acquisition policy for images, texts and tables, from a mixture of tasks.

    python benchmarks/general_policy.py --data DATA                     # → runs/general-all-prior
    python benchmarks/general_policy.py --data DATA --sources images    # never sees texts and tables
    python benchmarks/general_policy.py --data DATA --iterations 30     # and PPO from there → runs/general-all-0

``DATA`` holds ``omniglot_28.npz``, ``intents/*.npz`` and ``pmlb/*.npz`` (Lake et al. 2015, MIT; CLINC150 and
BANKING77 as MiniLM-L6 embeddings, CC BY; Penn Machine Learning Benchmarks, MIT). What is held back, and so fit
for testing: unseen glyph scripts, Omniglot's evaluation alphabets, the test splits of languages and intents, the
UCI tables, and every fourth PMLB table.
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
from agents.evolution import CONTEXT_DRAWS, EvolutionConfig, averaged, evolve, examples, set_temperature
from agents.mixture import Mixture, load_sources
from agents.networks import AcquisitionNetwork
from agents.policy import LearnedStrategy
from agents.ppo import PPOConfig
from agents.trainer import validate
from metaal_env.cli import run_cli
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.augment import learner_and_policy_parts
from metaal_env.setup import make_core
from metaal_env.tasks import TaskConfig

GLYPHS = "agents/pretrained/metaal-general"
"""A learner of images, as ``python train_policy.py`` makes it; training, verdict and release share it."""

PRIOR = "prior"
"""Name of the run folder of what the searches found."""

GROUPS = 8
"""Data sets in a roll-out, each with 32 episodes."""

SAME_AS_UCI = (
    "australian", "crx", "buggyCrx", "breast_cancer", "diabetes", "flare", "solar_flare_1", "solar_flare_2",
    "german", "credit_g", "heart_statlog", "heart_c", "heart_h", "cleve", "hungarian", "mushroom", "wdbc",
    "breast", "breast_w", "breast_cancer_wisconsin",
)  # fmt: skip
"""PMLB tables that are, or come from the same study as, one of the ten UCI sets on which the policy is judged."""

UNUSABLE = ("auto", "flags", "penguins")
"""PMLB tables with missing values or classes of one or two rows."""


@dataclass
class Options:
    """How to train the general policy."""

    data: Path
    """Folder of the data."""
    out: Path = Path("runs")
    seed: int = 0
    sources: Literal["all", "images", "vectors"] = "all"
    """Which sources of tasks; the other domains then stay unseen."""
    iterations: int = 0
    """Roll-outs of PPO. On mixtures they have brought nothing that could be measured (docs/experiments.md, row 29)."""
    evolution: int = 320
    """Roll-outs of a search for the prior."""
    searches: int = 2
    """Searches with seeds 0, 1, …; validation chooses one of them or their mean, which is also the start of PPO."""
    validation_tasks: int = 640
    """By which it is chosen, over all sources, half of them with equal class shares."""
    only: int | None = None
    """Make the search of this seed and end there, so that several processes can share the work."""


def tables(data: Path, *, held_back: bool) -> list[Path]:
    """The PMLB tables to train on, or every fourth, which only tests see."""
    names = sorted(f for f in (data / "pmlb").glob("*.npz") if f.stem not in (*SAME_AS_UCI, *UNUSABLE))
    return [f for place, f in enumerate(names) if (place % 4 == 1) == held_back]


def configuration(options: Options) -> train_policy.TrainConfig:
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
        "all": (("glyphs", GLYPHS), images + vectors),
        "images": (("glyphs", GLYPHS), images),
        "vectors": (("languages", "prototype"), vectors[1:]),
    }[options.sources]
    return train_policy.TrainConfig(
        dataset=first[0],
        learner=first[1],
        name=f"general-{options.sources}-{options.seed}",
        out=options.out,
        task=TaskConfig(),
        also=also,
        vary=True,
        evolution=EvolutionConfig(iterations=options.evolution, learning_rate=0.03),
        ppo=PPOConfig(
            iterations=max(1, options.iterations),
            groups=GROUPS,
            n_envs=32 * GROUPS,
            epochs=2,
            start=str(options.out / f"general-{options.sources}-{PRIOR}"),
            validate_every=10,
            validation_tasks=320,
            seed=options.seed,
        ),
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


def search(options: Options, seed: int) -> Path:
    """One search for the prior; its run folder."""
    base = configuration(options)
    return searched(
        replace(
            base,
            name=f"general-{options.sources}-search-{seed}",
            ppo=replace(base.ppo, seed=seed, start=None),
            evolution=replace(base.evolution, seed=seed),
        )
    )


def searched(config: train_policy.TrainConfig) -> Path:
    """The folder of `config`'s run, with the policy that its search finds; no PPO."""
    if not (config.folder / "policy.json").is_file():
        with train_policy.claim(config):
            network, tasks = untrained(config)
            evolve(network, tasks, config.evolution, config.folder / "checkpoints" / "evolution.pt")
            LearnedStrategy(network).save(config.folder / "policy", {"searched": config.evolution.iterations})
    return config.folder


def untrained(config: train_policy.TrainConfig) -> tuple[AcquisitionNetwork, Mixture]:
    """A policy that knows what episodes of `config` look like, and the tasks on which it is to be trained."""
    torch.manual_seed(config.ppo.seed)
    tasks, network = mixture(config), AcquisitionNetwork()
    network.fit_context(examples(network, tasks, CONTEXT_DRAWS)[0])
    return network, tasks


def first_source(config: train_policy.TrainConfig) -> Core:
    """The environment of `config`'s data set, with the training classes that are left to the policy."""
    data = learner_and_policy_parts(load_dataset(config.dataset).split("train"))[1]
    return make_core(data, split="all", learner=config.learner, task=config.task, reward=config.reward)


def mixture(config: train_policy.TrainConfig) -> Mixture:
    """The tasks on which the policy of `config` is trained."""
    return train_policy.mixture_of(
        config, [[first_source(config)], *load_sources(config.also, config.task, config.reward)[0]]
    )


def mean_of(networks: list[AcquisitionNetwork], tasks: Mixture) -> AcquisitionNetwork:
    """The mean of several searches, all of which count alike."""
    temperature = EvolutionConfig().temperature
    for network in networks:
        set_temperature(network, tasks, temperature)
    mean = averaged(networks, examples(networks[0], tasks, CONTEXT_DRAWS)[0])
    set_temperature(mean, tasks, temperature)
    return mean


def validation(config: train_policy.TrainConfig) -> list[list[Core]]:
    """Tasks of validation classes, in pools as they are drawn and in balanced ones."""
    data = load_dataset(config.dataset).split("validation")
    own = make_core(data, split="all", learner=config.learner, task=config.task, reward=config.reward)
    families = [[own], *load_sources(config.also, config.task, config.reward)[1]]
    return families + train_policy.balanced(families)


def prior(options: Options) -> Path:
    """The search, or the mean of all, that validation classes prefer; its folder."""
    folder = options.out / f"general-{options.sources}-{PRIOR}"
    found = {f"search {seed}": search(options, seed) for seed in range(options.searches)}
    if not (folder / "policy.json").is_file():
        config = configuration(options)
        networks = {name: LearnedStrategy.load(each).network for name, each in found.items()}
        networks["mean"] = mean_of(
            [LearnedStrategy.load(each).network for each in found.values()], mixture(config)
        )
        families = validation(config)
        value = {
            name: validate(families, LearnedStrategy(network), options.validation_tasks)[0]
            for name, network in networks.items()
        }
        best = max(value, key=lambda name: value[name])
        folder.mkdir(parents=True, exist_ok=True)
        LearnedStrategy(networks[best]).save(folder / "policy", {"chosen": best, "validation": value})
    return folder


def main(options: Options) -> None:
    if options.sources != "vectors" and not (options.out / "omniglot-learner" / "learner.json").is_file():
        omniglot_learner(options)
    if options.only is not None:
        search(options, options.only)
        return
    prior(options)
    if options.iterations:
        train_policy.main(configuration(options))


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(Options, description=__doc__))))
