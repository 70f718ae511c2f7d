"""Judges general policies on classes and domains that they have not seen, against the best rule of every cell.

    python -m benchmarks.policy.general_verdict --data DATA --policies runs/general/seed-*

A cell is a data set × number of classes × labels per class × class shares. The rival is the rule with the highest
mean *in that cell, in hindsight*; intervals are paired, over tasks and policy seeds together. Rows are kept in
``--out``: run again to continue, or with more policies; with changed rules or features, in another folder.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from agents.evaluation.episodes import Episodes
from agents.evaluation.hindsight.cell import COMPARED, OWN_RULE, RANDOM, RULES, Cell, judge
from agents.evaluation.hindsight.full_pool import full_pool_accuracy
from agents.evaluation.hindsight.table import HEADER, line, summary, to_json
from agents.evaluation.play_protocol import play_protocol
from agents.evaluation.protocol.cells import core_of
from agents.evaluation.protocol.loading import load_parts, strategy_digest
from agents.evaluation.protocol.planning import fitted_scenario
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.scenario import Scenario
from agents.evaluation.statistics.comparisons import LOOKAHEAD
from agents.training.general.sources import IMAGE_LEARNER, tables
from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.executor import WorkerOptions, open_executor
from metaal_env.runtime.files import write_atomic
from metaal_env.tasks import TaskConfig

BASE = TaskConfig(reward_per_class=5)
FEW = 5
"""Test items per class where a data set has few: of Omniglot's twenty drawings ten are needed for the pool."""


@dataclass
class Options:
    """What to judge, and on what."""

    policies: tuple[str, ...]
    """Run folders of the policies: seeds of one recipe."""
    data: Path
    """Folder of the benchmark data."""
    omniglot_learner: str = "runs/omniglot-learner"
    """Learner for Omniglot."""
    datasets: tuple[str, ...] = ("glyphs", "omniglot", "languages", "clinc150")
    """Columns of cells; also: clinc150_no_cards, banking77, uci, pmlb (held-back tables)."""
    ways: tuple[int, ...] = (5, 10, 20)
    """Classes per task; tables are played with all of theirs."""
    labels_per_class: tuple[int, ...] = (1, 2, 4)
    """Budgets; tables have 10 times as many labels."""
    class_concentrations: tuple[float, ...] = (1.0, float("inf"))
    """Concentrations of the class shares; inf is balanced."""
    rivals: tuple[str, ...] = RULES
    """Rules of which the best in each cell is the one to beat; margin and the herding rules must be there."""
    n_tasks: tuple[int, ...] = (200,)
    """Tasks of the rules in each scenario: one number, or one for each of the ways, as small tasks cost little."""
    policy_tasks: int | None = None
    """Of these, how many the policies play; all by default, fewer where there are many policies."""
    oracle_tasks: int = 64
    """Of these, how many the costly greedy look-ahead plays, for the share of the gap."""
    spread: tyro.conf.OmitArgPrefixes[WorkerOptions] = field(default_factory=WorkerOptions)
    """Where cells are played, and how many at a time."""
    out: Path = Path("results/general")
    """Folder of rows and tables."""

    def __post_init__(self) -> None:
        if missing := [name for name in COMPARED if name not in self.rivals]:
            raise InputError(f"rivals={' '.join(self.rivals)!r} must include {missing[0]}.")
        if len(self.n_tasks) not in (1, len(self.ways)):
            raise InputError(
                f"n_tasks={' '.join(map(str, self.n_tasks))!r} must be one number, or one for each of "
                f"ways={' '.join(map(str, self.ways))!r}."
            )
        for tasks in self.n_tasks:
            if not self.oracle_tasks <= self.played(tasks) <= tasks:
                raise InputError(
                    f"policy_tasks={self.played(tasks)} must be at least oracle_tasks={self.oracle_tasks} "
                    f"and at most n_tasks={tasks}."
                )

    def tasks_of(self, way: int) -> int:
        """Returns how many tasks the rules play with so many classes; tables take the first number."""
        return self.n_tasks[self.ways.index(way) if len(self.n_tasks) > 1 and way in self.ways else 0]

    def played(self, tasks: int) -> int:
        """Returns how many of the rules' tasks the policies play."""
        return tasks if self.policy_tasks is None else self.policy_tasks


class Column(NamedTuple):
    """A data set to be judged on."""

    source: str
    split: str
    learner: str
    test_per_class: int = BASE.test_per_class
    unequal_pool: int | None = None
    """Items per class in pools of unequal shares, where larger ones would take all that there are."""


def columns(options: Options) -> dict[str, list[Column]]:
    """Data sets by name; the tables of a collection are judged together."""
    data, intents = options.data, options.data / "intents"
    uci, held_back = sorted((data / "uci").glob("*.npz")), tables(data, held_back=True)
    known = {
        "glyphs": [Column("glyphs", "test", f"{IMAGE_LEARNER}/learner")],
        "omniglot": [
            Column(f"{data}/omniglot_28.npz", "test", f"{options.omniglot_learner}/learner", FEW, 5)
        ],
        "languages": [Column("languages", "test", "prototype")],
        "clinc150": [Column(f"{intents}/clinc150_minilm384.npz", "test", "prototype")],
        "banking77": [Column(f"{intents}/banking77_minilm384.npz", "test", "prototype")],
        "uci": [Column(str(file), "all", "prototype", FEW) for file in uci],
        "pmlb": [Column(str(file), "all", "prototype", FEW) for file in held_back],
    }
    if "clinc150_no_cards" in options.datasets:
        known["clinc150_no_cards"] = [Column(without_cards(intents, options.out), "all", "prototype")]
    if unknown := [name for name in options.datasets if name not in known]:
        raise InputError(f"datasets={unknown[0]!r} is unknown; choose from: {', '.join(known)}.")
    return {name: known[name] for name in options.datasets}


def without_cards(intents: Path, out: Path) -> str:
    """CLINC150's test classes but those of credit cards, which BANKING77's training classes resemble; the file."""
    data = load_dataset(str(intents / "clinc150_minilm384.npz")).split("test")
    data = data.classes([c for c, group in enumerate(data.groups) if group != "credit_cards"])
    file = out / "clinc150_no_cards.npz"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(file, X=data.inputs.numpy(), y=data.labels.numpy())
    return str(file)


def scenario(column: Column, wanted: TaskConfig, fixed: set[str]) -> Scenario | None:
    """Returns one setting, shrunk to what the data has but for what is `fixed`; None where that cannot be had."""
    if column.unequal_pool and np.isfinite(wanted.class_concentration):
        wanted = replace(wanted, pool_size=column.unequal_pool * wanted.max_way)
    wanted = replace(wanted, test_per_class=column.test_per_class)
    # What is missing or does not fit ends the verdict.
    load_parts(column.source, column.split, column.learner)
    try:
        return fitted_scenario(column.source, column.split, column.learner, wanted, fixed)
    except InputError:
        return None


def all_cells(options: Options) -> list[Cell]:
    """Plays what is missing and judges every cell."""
    judged = []
    for dataset, parts in columns(options).items():
        collection = dataset in ("uci", "pmlb")
        for way in (10,) if collection else options.ways:
            fixed = {"budget"} if collection else {"way", "budget"}
            budgets = [k * way for k in options.labels_per_class]
            for concentration in options.class_concentrations:
                wanted = replace(
                    BASE, way=way, class_concentration=concentration, pool_size=max(100, 10 * way)
                )
                title = f"{dataset} {'' if collection else f'{way}-way '}"
                title += "balanced" if np.isinf(concentration) else "unbalanced"
                judged += judge_setting(title, parts, wanted, fixed, budgets, options)
    return judged


def judge_setting(
    title: str, parts: list[Column], wanted: TaskConfig, fixed: set[str], budgets: list[int], options: Options
) -> list[Cell]:
    """The cells that differ in their budget alone.

    Neither the rules nor a learned policy look at the budget, so that a curve at a small one is the beginning of the
    curve at the largest, which alone is played.
    """
    longest, tasks = replace(wanted, budget=max(budgets)), options.tasks_of(wanted.max_way)
    found = [s for s in (scenario(part, longest, fixed) for part in parts) if s is not None]
    if not found:
        return []

    def plays(kind: str, specs: dict[str, str], n_tasks: int) -> dict[str, Episodes]:
        folder = options.out / kind / f"{title} {found[0].task.budget}".replace(" ", "-")
        contestants = tuple(Contestant(name, spec, strategy_digest(spec)) for name, spec in specs.items())
        protocol = Protocol(tuple(found), contestants, n_tasks)
        with open_executor(options.spread, folder) as executor:
            return play_protocol(protocol, folder, executor=executor, title=folder.name)

    rules = plays("rules", {name: name for name in (*options.rivals, RANDOM, OWN_RULE)}, tasks)
    oracle = plays("oracle", {LOOKAHEAD: LOOKAHEAD}, options.oracle_tasks)[LOOKAHEAD]
    policies = plays("policies", {Path(p).name: p for p in options.policies}, options.played(tasks))
    full = float(np.mean([full_pool_accuracy(core_of(s), tasks) for s in found]))
    judged = []
    for budget in budgets:
        judged.append(judge(f"{title} {budget} labels", budget, rules, policies, oracle, full))
        print(line(judged[-1]), flush=True)
    return judged


def main(options: Options) -> None:
    cells = all_cells(options)
    text = "\n".join([HEADER, *map(line, cells), "", summary(cells), ""])
    write_atomic(options.out / "verdict.md", text.encode())
    found = {
        "tasks": [options.played(tasks) for tasks in options.n_tasks],
        "ways": options.ways,
        "rivals": options.rivals,
        "oracle_tasks": options.oracle_tasks,
        "policies": len(options.policies),
        "summary": summary(cells),
        "cells": [to_json(cell) for cell in cells],
    }
    write_atomic(options.out / "verdict.json", json.dumps(found, indent=1).encode())
    print(summary(cells))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
