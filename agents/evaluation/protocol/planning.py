"""From the options of the command line to a `Protocol`: which scenarios, which strategies."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.evaluation.protocol.loading import (
    DEFAULT_DATASET,
    DEFAULT_LEARNER,
    Run,
    learner_digest,
    learner_fits,
    load_parts,
    load_split,
    newest_run,
    read_run,
    strategy_digest,
)
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.scenario import Scenario
from agents.evaluation.protocol.task_grid import TaskGrid, grid_tasks
from agents.loading import load_strategy
from agents.strategies import STRATEGIES
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.sampler import TaskSampler
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig

DEFAULT_RULES = (
    "random",
    "least_confident",
    "entropy",
    "margin",
    "k_center",
    "typiclust",
    "max_herding",
    "uherding",
    "class_balanced",
    "greedy_lookahead",
)
"""Played beside a policy unless `strategies` says otherwise."""


@dataclass
class Plan:
    """Says what to evaluate. A task option means what it means in training; given again, it spans another scenario:
    --way 5 20 is a range, --way 5 --way 20 are two scenarios. Task options left out come from the run of the
    (first) policy, else from the defaults."""

    dataset: tuple[str, ...] = ()
    """Names or files of data sets; the run's own one when left out."""
    split: Literal["test", "validation", "train", "all"] = "test"
    """Part of the data set whose classes (or items) tasks are drawn from."""
    policy: tuple[str, ...] = ()
    """Folders of trained policies, or names of policies that ship with the package. When neither this nor
    --strategies is given: the newest run, else a shipped one."""
    strategies: tuple[str, ...] = ()
    """Rules to play instead of the usual ones, by name, as name@1 (another seed), or as file.py:Name for one of your
    own or a scikit-activeml query strategy."""
    extra_strategies: tuple[str, ...] = ()
    """Strategies to play beside the usual ones, named in the same way."""
    learner: tuple[str, ...] = ()
    """Inner learners: registered names or saved weights; the run's own one when left out."""
    task: Annotated[TaskGrid, tyro.conf.arg(name="")] = field(default_factory=TaskGrid)
    """What tasks look like."""
    matrix: bool = False
    """Vary way, pool, budget, class concentration, noise and initial labels, one at a time."""
    n_tasks: int = 200
    """Tasks per scenario and seed."""
    seeds: tuple[int, ...] = (0,)
    """Streams of tasks."""


@dataclass
class Planned:
    """A protocol, and remarks on how it came about.

    Attributes:
        protocol: what to play.
        notes: what was fitted to the data or left out.
        judged: one line per policy: its name in tables, where it comes from and why it is judged.
    """

    protocol: Protocol
    notes: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)


def make_protocol(plan: Plan) -> Planned:
    """Resolves defaults, loads everything once to refuse what cannot work, and fingerprints it.

    Raises:
        InputError: unknown names, missing files, settings that do not fit each other.
    """
    runs = _runs(plan)
    contestants = _contestants(plan, runs)
    run, notes = runs[0] if runs else None, []
    if len(runs) > 1 and not plan.learner:
        notes.append(f"all policies are played with the learner of {runs[0].folder.name}")
    scenarios: dict[str, Scenario] = {}
    datasets = plan.dataset or (run.dataset if run else DEFAULT_DATASET,)
    for dataset, learner in itertools.product(datasets, plan.learner or (None,)):
        data = load_split(dataset, plan.split) if plan.dataset or run is None else _own_split(run, plan.split)
        foreign = run is None or not run.was_trained_on(dataset)
        if run is not None and foreign and dataset == run.dataset:
            notes.append(
                f"{dataset}: the content has changed since {run.folder.name} was trained on it, which may have "
                "seen these classes"
            )
        chosen = learner or (run.learner if run else DEFAULT_LEARNER)
        if learner is None and not learner_fits(chosen, data):
            notes.append(
                f"{dataset}: the run's learner does not fit inputs {data.input_shape}; "
                f"using {DEFAULT_LEARNER}"
            )
            chosen = DEFAULT_LEARNER
        digests = data.fingerprint, learner_digest(chosen, load_parts(dataset, plan.split, chosen)[1])
        for wanted in grid_tasks(plan.task, run.task if run else TaskConfig(), plan.matrix):
            task = wanted.task
            if foreign:
                task, changes = fit_task(task, data, set(wanted.chosen))
                if changes and not wanted.is_variation:
                    notes.append(f"{dataset}: settings fitted to the data: {', '.join(changes)}")
            try:
                TaskSampler(data, task)
            except InputError as error:
                if not wanted.is_variation:
                    raise
                notes.append(f"left out: {error}")
                continue
            scenario = Scenario(dataset, plan.split, task, chosen, *digests)
            scenarios.setdefault(scenario.key, scenario)
    protocol = Protocol(tuple(scenarios.values()), contestants, plan.n_tasks, tuple(plan.seeds))
    judged = [f"{_policy_name(run)}, {run.reason}" for run in runs]
    return Planned(protocol, list(dict.fromkeys(notes)), judged)


def _own_split(run: Run, split: str) -> ClassDataset:
    """A part of the run's own data set. Raises: `InputError` if it lies elsewhere now."""
    try:
        return load_split(run.dataset, split)
    except InputError as error:
        raise InputError(
            f"dataset={run.dataset!r}, which policy={run.policy!r} was trained on, cannot be used ({error}); "
            "name the data with --dataset."
        ) from error


def _runs(plan: Plan) -> list[Run]:
    """Returns the policies asked for; the newest one when nothing was."""
    if plan.policy:
        return [read_run(spec) for spec in plan.policy]
    if plan.strategies:
        return []
    try:
        return [newest_run()]
    except InputError:
        if plan.extra_strategies:
            return []  # one's own strategy can be compared with the rules alone
        raise


def _contestants(plan: Plan, runs: Sequence[Run]) -> tuple[Contestant, ...]:
    """Returns policies, then rules; each is built once, so that bad ones are refused before anything runs."""
    specs = [(_policy_name(run), run.policy) for run in runs]
    rules = plan.strategies or DEFAULT_RULES
    specs += [(_short(spec), spec) for spec in (*rules, *plan.extra_strategies)]
    for _, spec in specs:
        load_strategy(spec)
    return tuple(Contestant(name, spec, strategy_digest(spec)) for name, spec in dict.fromkeys(specs))


def _policy_name(run: Run) -> str:
    """Returns what tables call the policy of a run."""
    return f"policy {run.folder.name or run.folder.resolve().name}"


def _short(spec: str) -> str:
    """Returns ``Name`` for ``path/to/file.py:Name``, and the last part of a path."""
    file, _, name = spec.rpartition(":")
    return name if file.endswith(".py") else spec if spec in STRATEGIES else Path(spec).name


def fitted_scenario(
    dataset: str, split: str, learner: str, task: TaskConfig, fixed: Collection[str] = ()
) -> Scenario:
    """Returns the scenario with `task` shrunk to what the data set has, but for the settings in `fixed`.

    Raises:
        InputError: data or learner cannot be loaded or do not fit each other, or the tasks cannot be had.
    """
    data, weights = load_parts(dataset, split, learner)
    fitted, _ = fit_task(task, data, set(fixed))
    TaskSampler(data, fitted)
    return Scenario(dataset, split, fitted, learner, data.fingerprint, learner_digest(learner, weights))
