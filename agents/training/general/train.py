"""Trains a policy by a recipe: imitations with several seeds as one graph of parts, pooled in one fit, validated.

    metaal train --recipe general --data DATA --workers 16
    metaal train --status runs/general                     # from another shell

Every part leaves a file, so that the same command continues after any end; ``tensorboard --logdir runs/general`` shows
all seeds together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import tyro
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.config import TrainConfig
from agents.training.general.recipe import Recipe, read_recipe
from agents.training.imitation.examples import Examples
from agents.training.imitation.imitate import ImitationConfig, fit_mean
from agents.training.imitation.rounds import Imitation, fit_round, rollout_examples
from agents.training.learner import make_learner
from agents.training.ppo.train import initial_network, rollout_mixture
from agents.training.run import begin_run, check, run, workers_of
from agents.training.run_record import fingerprints, record_run
from agents.training.task_mixture import Families, load_sources
from agents.training.validation import validate
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.errors import InputError, some_of
from metaal_env.make import make_core
from metaal_env.runtime.executor import Executor, Part, WorkerOptions
from metaal_env.runtime.executor.progress import PROGRESS, Progress
from metaal_env.runtime.files import read_json, write_atomic
from metaal_env.runtime.locks import lock_folder
from metaal_env.tasks import TaskConfig

RULES = ("random", "margin", "max_herding", "uherding")
"""Rules that play the validation tasks, too."""

VALIDATION = "validation.json"


@dataclass
class RecipeOptions:
    """Says how a recipe is carried out."""

    recipe: str
    """Name of a recipe that ships with metaal (general, images, vectors, synthetic), or a TOML file."""
    data: Path | None = None
    """Folder that holds omniglot_28.npz, intents/*.npz and pmlb/*.npz, where the recipe needs them."""
    name: str | None = None
    """Folder under --out. By default it is named after the recipe."""
    out: Path = Path("runs")
    """Folder of all runs."""
    seeds: int | None = None
    """Number of seeds, instead of the recipe's."""
    spread: tyro.conf.OmitArgPrefixes[WorkerOptions] = field(default_factory=WorkerOptions)
    """Where parts are computed, and how many at a time; one at a time on a GPU."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""


def train_by_recipe(options: RecipeOptions) -> Path:
    """Carries out a recipe, or what is left of it; returns the folder with the policy.

    Raises:
        InputError: the recipe or its sources are unusable, the folder holds another run, or parts failed.
    """
    recipe = read_recipe(options.recipe)
    if options.seeds is not None:
        recipe = replace(recipe, seeds=options.seeds)
    folder = options.out / (options.name or recipe.name)
    omniglot = options.out / "omniglot-learner"
    dataset, learner, extra = recipe.sources(options.data, omniglot)
    base = TrainConfig(
        dataset=dataset, learner=learner, out=folder, extra_sources=extra, task=recipe.task,
        device=options.device, ppo=recipe.ppo, spread=options.spread,
    )  # fmt: skip
    with (
        lock_folder(folder, f"name={folder.name!r}"),
        workers_of(replace(base, out=options.out, name=folder.name)) as executor,
    ):
        if recipe.needs_omniglot:
            executor.map(
                meta_train_omniglot,
                [(options.data, options.out, options.device)],
                names=["learner of Omniglot"],
            )
        seeds = [seed_config(base, recipe, seed) for seed in range(recipe.seeds)]
        prints = fingerprints(asdict(base))
        for config in seeds:
            config.folder.mkdir(parents=True, exist_ok=True)
            record_run(config.folder, asdict(config), prints)
        training, validating = families(base)
        play_graph(recipe, seeds, training, folder, executor)
        judge(recipe, folder, validating, executor)
    if recipe.ppo.iterations:
        run(
            replace(
                seeds[0],
                name="ppo",
                imitation=ImitationConfig(iterations=0),
                ppo=replace(recipe.ppo, start=str(folder)),
            )
        )
    return folder


def seed_config(base: TrainConfig, recipe: Recipe, seed: int) -> TrainConfig:
    """Returns the settings of one seed's imitation."""
    return replace(
        base,
        name=f"seed-{seed}",
        imitation=replace(recipe.imitation, seed=seed),
        ppo=replace(recipe.ppo, seed=seed),
    )


def families(config: TrainConfig) -> tuple[Families, Families]:
    """Returns the environments to train on and those to validate on."""
    training, validating = load_sources(config.extra_sources, config.task, config.reward, config.device)
    first = first_source(config)
    held_back = make_core(
        load_dataset(config.dataset), split="validation", learner=first.learner, task=first.config,
        reward=config.reward, device=config.device,
    )  # fmt: skip
    return [[first], *training], [[held_back], *validating]


def imitation_of(config: TrainConfig, sources: Families) -> Imitation:
    """Returns the imitation of one seed, whose parts any worker may compute."""
    mixture = rollout_mixture(config.ppo, sources, config.random_task_shapes)
    tasks = mixture.resized(config.imitation.n_envs, config.imitation.shapes_per_rollout)
    network = initial_network(config.ppo, sources[0][0].config)
    name = f"{config.folder.name} "
    return Imitation(network, tasks.on(()), config.imitation, config.folder / "checkpoints", name)


def play_graph(
    recipe: Recipe, seeds: Sequence[TrainConfig], sources: Families, folder: Path, executor: Executor
) -> None:
    """Computes what is left of all seeds and the fit of their examples; a broken seed does not stop the others.

    Raises:
        InputError: names what is broken.
    """
    if (folder / "policy.json").is_file():
        return
    jobs, left, broken = [imitation_of(config, sources) for config in seeds], [], []
    for job in jobs:
        try:
            left.append(job.parts())
        except InputError as error:
            broken.append(str(error))
    # Round by round over all seeds, so that they end together.
    parts = list(chain.from_iterable(chain.from_iterable(zip_longest(*left, fillvalue=[]))))
    if not broken:
        pooled = Part(
            "pooled fit", fit_pooled, (tuple(jobs), folder), tuple(part.name for part in parts), "pooled fit"
        )
        parts.append(pooled)
    per_seed = recipe.imitation.iterations * recipe.imitation.shapes_per_rollout + len(jobs[0].ends)
    watcher = Progress(folder.name, recipe.seeds * per_seed + 1, folder / PROGRESS)
    writers = {job.name: SummaryWriter(str(job.folder.parent / "tensorboard")) for job in jobs}

    def done(part: Part, result: Any) -> None:
        if part.function is fit_round:
            job, end = part.arguments
            writers[job.name].add_scalar("imitation_by_rollout/expected_gain", result, end)
            writers[job.name].flush()

    try:
        executor.run(parts, shared=sources, watcher=watcher, done=done)
    finally:
        for writer in writers.values():
            writer.close()
    if broken:
        named = some_of(broken, 3, "; ")
        raise InputError(f"{len(broken)} of {len(jobs)} seeds cannot go on, the others did: {named}")


def fit_pooled(sources: Families, jobs: Sequence[Imitation], folder: Path) -> None:
    """Fits one policy to the examples of all seeds, and writes the policy of each seed as well."""
    first, found = jobs[0], []
    for job in jobs:
        found += [rollout_examples(job, n) for n in range(job.first_returns, job.config.iterations)]
        own = deepcopy(job.network)
        job.progress(own)
        LearnedStrategy(own).save(job.folder.parent / "policy", {"imitated": job.config.iterations})
    examples, network = Examples.joined(found), deepcopy(first.network)
    network.to(sources[0][0].device)
    fit_mean(network, examples, first.config)
    summary = {"runs": [job.name.strip() for job in jobs], "states": len(examples.gain)}
    LearnedStrategy(network.cpu()).save(folder / "policy", summary)


def judge(recipe: Recipe, folder: Path, validating: Families, executor: Executor) -> dict[str, float]:
    """Lets the policy and some rules play the validation tasks, keeps and returns their areas under the curve."""
    file = folder / VALIDATION
    found: dict[str, float] = read_json(file, f"validation={str(file)!r}") if file.is_file() else {}
    strategies: dict[str, Callable[[], Any]] = {"policy": lambda: LearnedStrategy.load(folder)}
    strategies |= {name: partial(load_strategy, name) for name in RULES}
    for name, load in tqdm(strategies.items(), desc="validation", unit="strategy"):
        if name not in found:
            found[name] = validate(validating, load(), recipe.validation_tasks, executor)[0]
            write_atomic(file, json.dumps(found, indent=1).encode())
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        writer.add_scalars("validation/aulc", found)
    return found


def meta_train_omniglot(data: Path, out: Path, device: str) -> None:
    """Meta-trains the learner of Omniglot's background alphabets, unless it is there already."""
    learner = TrainConfig(
        dataset=str(data / "omniglot_28.npz"),
        out=out,
        name="omniglot-learner",
        task=TaskConfig(reward_per_class=5, test_per_class=5),
        device=device,
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
