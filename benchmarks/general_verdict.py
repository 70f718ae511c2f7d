"""Judges general policies on classes and domains that they have not seen, against the best rule of every cell.

    python benchmarks/general_verdict.py --data DATA --policies runs/general-all-*

A cell is a data set × number of classes × labels per class × class shares. The rival is the rule with the highest
mean *in that cell, in hindsight*; intervals are paired, over tasks and policy seeds together. Rows are kept in
``--out``: run again to continue, or with more policies; with changed rules or features, in another folder.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from rich.progress import Progress

from agents.evaluation.episodes import Episodes
from agents.evaluation.protocol.cells import cells_of, core_of, pending
from agents.evaluation.protocol.loading import learner_digest, load_parts, strategy_digest
from agents.evaluation.protocol.protocol import Contestant, Protocol, Scenario
from agents.evaluation.protocol.rows import read_results
from agents.evaluation.statistics.comparisons import LOOKAHEAD
from agents.evaluation.workers import run_cells
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError
from metaal_env.metrics import score_logits
from metaal_env.runtime.command_line import run_cli
from metaal_env.runtime.files import write_atomic
from metaal_env.sampler import TaskSampler, fit_task
from metaal_env.tasks import TaskConfig

sys.path.insert(0, str(Path(__file__).parent))
from general_policy import GLYPHS, tables
from verdict_cells import COMPARED, HEADER, OWN_RULE, RULES, Cell, judge, line, summary

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
    imbalance: tuple[float, ...] = (1.0, float("inf"))
    rivals: tuple[str, ...] = RULES
    """Rules of which the best in each cell is the one to beat; margin and the herding rules must be there."""
    n_tasks: int = 200
    policy_tasks: int | None = None
    """Of these, how many the policies play; all by default, fewer where there are many policies."""
    oracle_tasks: int = 64
    """Of these, how many the costly greedy look-ahead plays, for the share of the gap."""
    workers: int = 1
    out: Path = Path("results/general")

    def __post_init__(self) -> None:
        if missing := [name for name in COMPARED if name not in self.rivals]:
            raise InputError(f"rivals={' '.join(self.rivals)!r} must include {missing[0]}.")
        if not self.oracle_tasks <= self.played <= self.n_tasks:
            raise InputError(
                f"policy_tasks={self.played} must be at least oracle_tasks={self.oracle_tasks} "
                f"and at most n_tasks={self.n_tasks}."
            )

    @property
    def played(self) -> int:
        """Tasks of the policies."""
        return self.n_tasks if self.policy_tasks is None else self.policy_tasks


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
        "glyphs": [Column("glyphs", "test", f"{GLYPHS}/learner")],
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
    """One setting, shrunk to what the data has but for what is `fixed`; None where that cannot be had."""
    data, learner = load_parts(column.source, column.split, column.learner)
    if column.unequal_pool and np.isfinite(wanted.imbalance):
        wanted = replace(wanted, pool_size=column.unequal_pool * wanted.max_way)
    task = fit_task(replace(wanted, test_per_class=column.test_per_class), data, fixed)[0]
    try:
        TaskSampler(data, task)
    except InputError:
        return None
    digests = data.fingerprint, learner_digest(column.learner, learner)
    return Scenario(column.source, column.split, task, column.learner, *digests)


def play(
    folder: Path, found: Sequence[Scenario], specs: dict[str, str], n_tasks: int, workers: int
) -> dict[str, Episodes]:
    """Rows of `specs` (name → strategy) on the scenarios; what is there already is not played again."""
    contestants = tuple(Contestant(name, spec, strategy_digest(spec)) for name, spec in specs.items())
    protocol = Protocol(tuple(found), contestants, n_tasks)
    everything = protocol.joined_to(folder / "protocol.json")
    cells = pending(cells_of(protocol, folder), protocol)
    everything.save(folder / "protocol.json")
    with Progress() as bar:
        line = bar.add_task(folder.name, total=len(cells))
        run_cells(cells, workers=workers, done=lambda cell: bar.advance(line))
    return {name: episodes for name, episodes in read_results(folder, everything).items() if name in specs}


def full_pool_accuracy(core: Core, n_tasks: int) -> float:
    """Mean test accuracy once every item of the pool is labelled."""
    task = core.sampler.sample([np.random.default_rng(seed) for seed in range(n_tasks)])
    with torch.no_grad():
        known = task.pool_mask & (task.pool_labels >= 0)
        adapted = core.learner.adapt(core.prepared[task.pool], task.pool_labels, known, task.class_mask)
        logits = core.learner.predict(adapted, core.prepared[task.test])
    return float(score_logits(logits, task.test_labels).accuracy.mean())


def all_cells(options: Options) -> list[Cell]:
    """Plays what is missing and judges every cell."""
    judged = []
    for dataset, parts in columns(options).items():
        collection = dataset in ("uci", "pmlb")
        for way in (10,) if collection else options.ways:
            fixed = {"budget"} if collection else {"way", "budget"}
            budgets = [k * way for k in options.labels_per_class]
            for imbalance in options.imbalance:
                wanted = replace(BASE, way=way, imbalance=imbalance, pool_size=max(100, 10 * way))
                title = f"{dataset} {'' if collection else f'{way}-way '}"
                title += "balanced" if np.isinf(imbalance) else "unbalanced"
                judged += judge_setting(title, parts, wanted, fixed, budgets, options)
    return judged


def judge_setting(
    title: str, parts: list[Column], wanted: TaskConfig, fixed: set[str], budgets: list[int], options: Options
) -> list[Cell]:
    """The cells that differ in their budget alone.

    Neither the rules nor a learned policy look at the budget, so that a curve at a small one is the beginning of the
    curve at the largest, which alone is played.
    """
    longest = replace(wanted, budget=max(budgets))
    found = [s for s in (scenario(part, longest, fixed) for part in parts) if s is not None]
    if not found:
        return []

    def plays(kind: str, specs: dict[str, str], n_tasks: int) -> dict[str, Episodes]:
        folder = options.out / kind / f"{title} {found[0].task.budget}".replace(" ", "-")
        return play(folder, found, specs, n_tasks, options.workers)

    rules = plays("rules", {name: name for name in (*options.rivals, OWN_RULE)}, options.n_tasks)
    oracle = plays("oracle", {LOOKAHEAD: LOOKAHEAD}, options.oracle_tasks)[LOOKAHEAD]
    policies = plays("policies", {Path(p).name: p for p in options.policies}, options.played)
    full = float(np.mean([full_pool_accuracy(core_of(s), options.n_tasks) for s in found]))
    judged = []
    for budget in budgets:
        judged.append(judge(f"{title} {budget} labels", budget, rules, policies, oracle, full))
        print(line(judged[-1]), flush=True)
    return judged


def main(options: Options) -> None:
    cells = all_cells(options)
    text = "\n".join([HEADER, *map(line, cells), "", summary(cells), ""])
    write_atomic(options.out / "verdict.md", text.encode())
    rows = [cell._asdict() | {"labels": {n: round(v, 2) for n, v in cell.labels.items()}} for cell in cells]
    for row in rows:
        for key in ("gain", "over_margin", "over_herding", "over_own", "gap"):
            row[key] = [None if np.isnan(v) else round(v, 5) for v in row[key][:3]]
        row["labels"] = {n: None if np.isinf(v) else v for n, v in row["labels"].items()}
        row["to_oracle"] = [round(v, 5) for v in row["to_oracle"]]
        row["floor"] = round(row["floor"], 3) if np.isfinite(row["floor"]) else None
    found = {
        "tasks": options.played,
        "policies": len(options.policies),
        "summary": summary(cells),
        "cells": rows,
    }
    write_atomic(options.out / "verdict.json", json.dumps(found, indent=1).encode())
    print(summary(cells))


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(Options, description=__doc__))))
