"""Fits LAL, the meta-model or LAL-RL on training classes and says what it reaches on validation classes.

    python -m benchmarks.strategies.fit_strategies lal --out runs/lal --dataset languages
    python -m benchmarks.strategies.fit_strategies lal_rl --out runs/lal_rl --dataset glyphs --learner runs/x/learner
    metaal evaluate --strategies runs/lal margin uherding --dataset languages

Several data sets make a mixture; ``--learner`` names one learner per data set, or one for all. The folder ``--out``
is a strategy like any other name.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.evaluation.protocol.loading import load_split
from agents.loading import load_strategy
from agents.strategies.fitted.base import FITTED
from metaal_env.core import Core
from metaal_env.errors import InputError, unknown_name
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig


def core_of(dataset: str, learner: str, split: str) -> Core:
    """The environment, with as many reward items as a split can spare: gains are judged on them."""
    data = load_split(dataset, split)
    task, _ = fit_task(TaskConfig(reward_per_class=5, test_per_class=5), data, set())
    return make_core(dataset, split=split, learner=learner, task=task)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Options:
    """What to fit, and on what."""

    name: tyro.conf.Positional[str]
    """Which strategy: lal, lal_rl, meta_model or another of agents.strategies.fitted."""
    out: Path
    """Folder of the fitted strategy; it is a strategy like any other name."""
    dataset: tuple[str, ...] = ("languages",)
    """Data sets whose training classes it is fitted on."""
    learner: tuple[str, ...] = ("prototype",)
    """One inner learner per data set, or one for all."""
    tasks: int = 32
    """Episodes per data set and iteration."""
    iterations: int = 0
    """Iterations of the fit; 0 = the strategy's own default."""
    validation_tasks: int = 128
    """Tasks of validation classes on which it is measured."""


def main(options: Options) -> None:
    if options.name not in FITTED:
        raise unknown_name("name", options.name, FITTED)
    if len(options.learner) not in (1, len(options.dataset)):
        raise InputError(
            f"learner={' '.join(options.learner)!r} must be one, or one for each of {len(options.dataset)} data sets."
        )
    learners = options.learner * (len(options.dataset) if len(options.learner) == 1 else 1)
    pairs = list(zip(options.dataset, learners, strict=True))

    strategy = FITTED[options.name]()
    given = {"iterations": options.iterations} if options.iterations else {}
    history = strategy.fit(  # type: ignore[attr-defined]
        [core_of(*pair, "train") for pair in pairs],
        tasks=options.tasks,
        progress=lambda i, value: print(f"iteration {i}: {value:.4f}", flush=True),
        **given,
    )
    reached = {}
    for dataset, learner in pairs:
        core = core_of(dataset, learner, "validation")
        for name, one in (("random", "random"), ("uherding", "uherding"), (options.name, "")):
            chosen = load_strategy(one) if one else strategy
            episodes = play(core, chosen, range(options.validation_tasks), measure_on="reward")
            reached[f"{Path(dataset).stem} {name}"] = round(float(aulc(episodes).mean()), 4)
    print(*(f"{name}: {value:.4f}" for name, value in reached.items()), sep="\n")
    strategy.save(options.out, {"history": history, "validation_aulc": reached, "data": options.dataset})


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
