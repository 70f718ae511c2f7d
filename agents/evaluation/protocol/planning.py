"""From the options of the command line to a `Protocol`: which scenarios, which strategies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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
from agents.evaluation.protocol.protocol import SCHEMA, Contestant, Protocol, Scenario
from agents.loading import load_strategy, runs_code
from agents.strategies import STRATEGIES
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.sampler import TaskSampler, fit_task
from metaal_env.tasks import TaskConfig

RULES = (
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
"""Played beside a policy unless `strategies` says otherwise; names that are not registered are left out."""

AXES: dict[str, tuple[str, ...]] = {
    "way": ("5", "20"),
    "pool_size": ("50", "200"),
    "budget": ("10", "40"),
    "imbalance": ("0.3", "inf"),
    "label_noise": ("0.1",),
    "initial_labels": ("5",),
}
"""Task settings that `matrix` changes, one at a time."""


@dataclass
class Plan:
    """What to evaluate. Several values of one setting span a matrix of scenarios. Task settings left empty
    come from the run of the (first) policy, else from the defaults; ranges are written 5-20.

    Attributes:
        dataset: names or files of data sets; the run's own one when left out.
        split: classes (or items) from which tasks are drawn.
        policy: folders of trained policies; the newest run when neither this nor --strategies is given.
        strategies: rules to play, instead of the usual ones.
        strategy: further strategies: a name, name@1 (another seed), or file.py:Name for one of your own or a
            scikit-activeml query strategy.
        learner: inner learners: registered names or saved weights; the run's own one when left out.
        way: classes per task.
        pool_size: unlabelled items per task.
        budget: labels an episode may buy.
        initial_labels: labels given at the start.
        imbalance: concentration of the Dirichlet of class shares (inf = balanced).
        label_noise: probabilities of a wrong label.
        distractors: shares of the pool that belong to no class of the task.
        test_per_class: test items per class.
        reward_per_class: reward-set items per class (only privileged look-ahead sees them).
        matrix: vary way, pool, budget, imbalance, noise and initial labels, one at a time.
        n_tasks: tasks per scenario and seed.
        seeds: streams of tasks.
    """

    dataset: tuple[str, ...] = ()
    split: Literal["test", "validation", "train", "all"] = "test"
    policy: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    strategy: tuple[str, ...] = ()
    learner: tuple[str, ...] = ()
    way: tuple[str, ...] = ()
    pool_size: tuple[str, ...] = ()
    budget: tuple[str, ...] = ()
    initial_labels: tuple[str, ...] = ()
    imbalance: tuple[str, ...] = ()
    label_noise: tuple[str, ...] = ()
    distractors: tuple[str, ...] = ()
    test_per_class: int | None = None
    reward_per_class: int | None = None
    matrix: bool = False
    n_tasks: int = 200
    seeds: tuple[int, ...] = (0,)


@dataclass
class Planned:
    """A protocol, and remarks on how it came about: what was fitted to the data or left out."""

    protocol: Protocol
    notes: list[str] = field(default_factory=list)


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
        for task, fixed, is_variant in _tasks(plan, run.task if run else TaskConfig()):
            if foreign:
                task, changes = fit_task(task, data, fixed)
                if changes and not is_variant:
                    notes.append(f"{dataset}: settings fitted to the data: {', '.join(changes)}")
            try:
                TaskSampler(data, task)
            except InputError as error:
                if not is_variant:
                    raise
                notes.append(f"left out: {error}")
                continue
            scenario = Scenario(dataset, plan.split, task, chosen, *digests)
            scenarios.setdefault(scenario.key, scenario)
    protocol = Protocol(tuple(scenarios.values()), contestants, plan.n_tasks, tuple(plan.seeds))
    return Planned(protocol, notes)


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
    """The policies asked for; the newest one when nothing was."""
    if plan.policy:
        return [read_run(spec) for spec in plan.policy]
    if plan.strategies:
        return []
    try:
        return [newest_run()]
    except InputError:
        if plan.strategy:
            return []  # one's own strategy can be compared with the rules alone
        raise


def replay(path: Path, trusted: Sequence[str] = ()) -> Planned:
    """A saved protocol, to be played again here; says where data, learner or strategies differ from then.

    Args:
        trusted: ``file.py:Name`` strategies that may be imported: a protocol may come from a stranger.

    Raises:
        InputError: the protocol, or something that it names, is missing or damaged, or names a Python file that
            is not trusted.
    """
    saved = Protocol.load(path / "protocol.json" if path.is_dir() else path)
    for contestant in saved.contestants:
        if runs_code(contestant.spec) and contestant.spec not in trusted:
            raise InputError(
                f"protocol={str(path)!r} would run the code in {contestant.spec!r}; if you trust it, add: "
                f"--strategy {contestant.spec}"
            )
    scenarios, notes = [], []
    for scenario in saved.scenarios:
        data, learner = load_parts(scenario.dataset, scenario.split, scenario.learner)
        TaskSampler(data, scenario.task)
        now = replace(
            scenario,
            data_digest=data.fingerprint,
            learner_digest=learner_digest(scenario.learner, learner),
            schema=SCHEMA,
        )
        for what in ("data", "learner"):
            if scenario.schema == SCHEMA and getattr(now, f"{what}_digest") != getattr(
                scenario, f"{what}_digest"
            ):
                notes.append(f"{scenario.dataset}: the {what} differ(s) from when the protocol was saved")
        scenarios.append(now)
    contestants = []
    for contestant in saved.contestants:
        load_strategy(contestant.spec)
        digest = strategy_digest(contestant.spec)
        if digest != contestant.digest:
            notes.append(f"{contestant.name} differs from when the protocol was saved")
        contestants.append(replace(contestant, digest=digest))
    if saved.schema != SCHEMA:
        notes.append(
            f"protocol of version {saved.schema}: whether data and learners differ from then is unknown"
        )
    return Planned(
        replace(saved, schema=SCHEMA, scenarios=tuple(scenarios), contestants=tuple(contestants)), notes
    )


def _contestants(plan: Plan, runs: Sequence[Run]) -> tuple[Contestant, ...]:
    """Policies first, then rules; each is built once, so that bad ones are refused before anything runs."""
    names = ["policy"] if len(runs) == 1 else [f"policy {run.folder.name}" for run in runs]
    specs = list(zip(names, [run.policy for run in runs], strict=True))
    rules = plan.strategies or tuple(name for name in RULES if name in STRATEGIES)
    specs += [(_short(spec), spec) for spec in (*rules, *plan.strategy)]
    for _, spec in specs:
        load_strategy(spec)
    return tuple(Contestant(name, spec, strategy_digest(spec)) for name, spec in dict.fromkeys(specs))


def _short(spec: str) -> str:
    """``path/to/file.py:Name`` → ``Name``; paths → their last part."""
    file, _, name = spec.rpartition(":")
    return name if file.endswith(".py") else spec if spec in STRATEGIES else Path(spec).name


def _tasks(plan: Plan, base: TaskConfig) -> Iterator[tuple[TaskConfig, set[str], bool]]:
    """Task settings: the product of the values given, then the one-at-a-time variants of `matrix`.

    Yields the settings, the names that were chosen explicitly, and whether it is such a variant.
    """
    for name in ("test_per_class", "reward_per_class"):
        if getattr(plan, name) is not None:
            base = replace(base, **{name: getattr(plan, name)})
    fixed = {n for n in ("test_per_class", "reward_per_class") if getattr(plan, n) is not None}
    given = {name: getattr(plan, name) for name in (*AXES, "distractors") if getattr(plan, name)}
    fixed |= set(given)
    for values in itertools.product(*given.values()):
        chosen = {n: parse_setting(n, v) for n, v in zip(given, values, strict=True)}
        yield replace(base, **chosen), fixed, False
        if plan.matrix:
            for name, alternatives in AXES.items():
                for text in alternatives:
                    varied = chosen | {name: parse_setting(name, text)}
                    try:
                        yield replace(base, **varied), fixed | {name}, True
                    except InputError:
                        continue  # e.g. a budget beyond the pool: no such scenario


def parse_setting(name: str, text: str) -> Any:
    """One value of a task setting: ``"10"``, ``"5-20"`` or, for probabilities and shares, ``"0.1"``.

    Raises:
        InputError: neither a number nor a range.
    """
    try:
        if name in ("imbalance", "label_noise", "distractors"):
            return float(text)
        low, dash, high = text.partition("-")
        return (int(low), int(high)) if dash else int(low)
    except ValueError:
        raise InputError(f"{name}={text!r} is no number; write e.g. 10, or 5-20 for a range.") from None
