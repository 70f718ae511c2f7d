"""`TaskMixture`: from which data sets, learners and task shapes the episodes of a roll-out come."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch

from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset, Split
from metaal_env.datasets.sources.synthetic import log_uniform
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames
from metaal_env.learners.base import LEARNERS
from metaal_env.make import make_core
from metaal_env.supply import fit_task
from metaal_env.tasks import Range, TaskConfig, bounds
from metaal_env.vector_env import MetaALVectorEnv

Families: TypeAlias = Sequence[Sequence[Core]]
"""Environments by family. The cores of a family, e.g. the tables of one collection, count as one source of tasks."""

WHOLE_TABLES = 5
"""Collections of at least this many data sets are split by data set: every fifth validates, the others train."""

ATTEMPTS = 20
"""Shapes that are tried on one data set before giving up; small ones cannot supply every shape."""

ODD = 1 / 6
"""Share of the drawn task shapes with wrong labels, with distractors, and with initial labels."""

TWO_CLASSES = 1 / 4
"""Share of the drawn task shapes that have two classes, which are most people's tasks."""

RARE_SHARES = (0.01, 0.1)
"""In every second of these one class is rare; its share is drawn log-uniformly from this range."""


class TaskMixture:
    """Draws the parts of a roll-out: each part has one data set, one learner and one task shape.

    A roll-out depends on its number alone, so that a training can continue anywhere.

    Args:
        families: where tasks come from. A family is drawn with equal probability, then a core of it.
        n_envs: episodes per roll-out, over all its parts.
        paired: episodes that share a task.
        shapes_per_rollout: parts of a roll-out, each with one data set and one task shape.
        random_task_shapes: draws classes, pool, budget, class shares, noise, distractors and initial labels widely
            (`random_task_shape`) instead of from the core's own settings.
        seed: of all draws.
        names: features of the observation; by default all that are registered.
    """

    def __init__(
        self,
        families: Families,
        *,
        n_envs: int,
        paired: int,
        shapes_per_rollout: int = 1,
        random_task_shapes: bool = False,
        seed: int = 0,
        names: FeatureNames | None = None,
    ):
        self.names = names or FeatureNames.registered()
        self.families, self.random_task_shapes, self.seed = families, random_task_shapes, seed
        self.paired, self.shapes_per_rollout, self.size = (
            paired,
            shapes_per_rollout,
            n_envs // shapes_per_rollout,
        )

    def resized(self, n_envs: int, shapes_per_rollout: int) -> TaskMixture:
        """The same sources for roll-outs of another size, without companions."""
        return TaskMixture(
            self.families,
            n_envs=n_envs,
            paired=1,
            shapes_per_rollout=shapes_per_rollout,
            random_task_shapes=self.random_task_shapes,
            seed=self.seed,
            names=self.names,
        )

    def on(self, families: Families) -> TaskMixture:
        """The same mixture of other sources; of none, it is small enough to be sent to workers that have them."""
        other = copy(self)
        other.families = families
        return other

    def draw(self, number: int) -> list[MetaALVectorEnv]:
        """The environments of roll-out `number`, ready to be reset."""
        return [self._part(*shape) for shape in self._shapes(number)]

    def draw_part(self, number: int, place: int) -> MetaALVectorEnv:
        """The environments of one part of roll-out `number`; those of the others are not made."""
        return self._part(*self._shapes(number)[place])

    def _shapes(self, number: int) -> list[tuple[Core, list[int]]]:
        """Returns what the parts of a roll-out play, and the seeds of their episodes."""
        rng = np.random.default_rng([self.seed, number])
        # Every family once before any comes twice.
        rounds = -(-self.shapes_per_rollout // len(self.families))
        order = np.concatenate([rng.permutation(len(self.families)) for _ in range(rounds)])
        shapes = []
        for family in (self.families[place] for place in order[: self.shapes_per_rollout]):
            core = self._shaped(family[int(rng.integers(len(family)))], rng)
            shapes.append((core, rng.integers(2**62, size=self.size).tolist()))
        return shapes

    def _part(self, core: Core, seeds: list[int]) -> MetaALVectorEnv:
        # Only what the network reads, and no embeddings.
        observation = self.names.items + self.names.pool_features
        envs = MetaALVectorEnv(self.size, paired=self.paired, core=core, observation=observation)
        envs.seed_episodes(seeds)
        return envs

    def _shaped(self, core: Core, rng: np.random.Generator) -> Core:
        for _ in range(ATTEMPTS):
            config = (
                random_task_shape(core.config, core.dataset, rng) if self.random_task_shapes else core.config
            )
            try:
                shape = fit_task(config, core.dataset, set())[0] if self.random_task_shapes else config
                return core.with_task(one_shape(shape, rng))
            except InputError:
                continue
        return core.with_task(one_shape(core.config, rng))


def one_shape(config: TaskConfig, rng: np.random.Generator) -> TaskConfig:
    """`config` with every range replaced by one number of it: tasks of a part then need no padding."""

    def pick(value: Range) -> int:
        return int(rng.integers(*bounds(value), endpoint=True))

    ranges = ("way", "pool_size", "budget", "initial_labels")
    return replace(config, **{name: pick(getattr(config, name)) for name in ranges})


def random_task_shape(base: TaskConfig, data: ClassDataset, rng: np.random.Generator) -> TaskConfig:
    """A task shape drawn as widely as a general policy must cope with.

    A quarter has two classes, the others 3–20 (2 where there are no more), log-uniformly. Also log-uniform: labels from
    one per class (5 at least) to four per class (20 at least), pools of 30–300. Class shares are equal in half of the
    draws, else from Dirichlet(.3) or Dirichlet(1). In half of the tasks with two classes one has a share of 1–10 %; as
    the reward set holds equally many items of both, the reward is balanced accuracy. In one draw of six each: wrong
    labels (10 %), distractors (20 %), initial labels (up to one per class). Training has no use for a test set: the
    reward set takes its items, up to 30 per class, for a reward with less noise.
    """
    n_classes, sizes = data.n_classes, np.bincount(data.labels.numpy())

    two = rng.random() < TWO_CLASSES
    way = 2 if two else round(log_uniform(rng, min(3, n_classes), min(20, n_classes)))
    budget = round(log_uniform(rng, max(5, way), max(20, 4 * way)))
    initial = int(rng.integers(1, way, endpoint=True)) if rng.random() < ODD else 0
    return replace(
        base,
        way=way,
        budget=budget,
        pool_size=round(log_uniform(rng, max(30, 2 * (budget + initial)), 300)),
        class_concentration=float(rng.choice([0.3, 1.0, np.inf, np.inf])),
        rare_share=log_uniform(rng, *RARE_SHARES) if two and rng.random() < 0.5 else 0.0,
        label_noise=0.1 if rng.random() < ODD else 0.0,
        distractors=0.2 if rng.random() < ODD and n_classes > way else 0.0,
        initial_labels=initial,
        reward_per_class=int(np.clip(np.median(sizes) // 2 - 1, 2, 30)),
        test_per_class=1,
    )


def load_sources(
    specs: Sequence[str], task: TaskConfig, reward: str, device: str = "auto"
) -> tuple[Families, Families]:
    """Returns the families to train on and those to validate on.

    Args:
        specs: ``DATASET@LEARNER``; several data sets joined by ``+`` are one family. Without a learner it is
            ``prototype``.
        task: shrunk to what each data set can supply.

    Raises:
        InputError: a data set or learner is unknown, unusable, or does not fit the other.
    """
    training, validation = [], []
    for spec in specs:
        names, _, learner = spec.partition("@")
        files = names.split("+")

        def core(file: str, split: Split, learner: str = learner or "prototype") -> Core:
            data = load_dataset(file).split(split)
            if split == "train" and learner not in LEARNERS:  # meta-trained, perhaps on these very classes
                data = learner_and_policy_parts(data)[1]
            shape = fit_task(task, data, set())[0]
            torch.manual_seed(0)  # a learner given by name alone starts from the same weights everywhere
            return make_core(data, split="all", learner=learner, task=shape, reward=reward, device=device)

        if len(files) >= WHOLE_TABLES:
            cores = [core(file, "all") for file in files]
            validation.append(cores[::WHOLE_TABLES])
            training.append([c for place, c in enumerate(cores) if place % WHOLE_TABLES])
        else:
            training.append([core(file, "train") for file in files])
            validation.append([core(file, "validation") for file in files])
    return training, validation
