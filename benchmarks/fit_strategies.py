"""Fits LAL, the meta-model or LAL-RL on training classes and says what it reaches on validation classes.

    python benchmarks/fit_strategies.py lal --out runs/lal --dataset languages
    python benchmarks/fit_strategies.py lal_rl --out runs/lal_rl --dataset glyphs --learner runs/x/learner
    python evaluate.py --strategies runs/lal margin uherding --dataset languages

Several data sets make a mixture; ``--learner`` names one learner per data set, or one for all. The folder ``--out``
is a strategy like any other name.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.evaluation.protocol.loading import load_split
from agents.loading import load_strategy
from agents.strategies.fitted.base import FITTED
from metaal_env.core import Core
from metaal_env.make import make_core
from metaal_env.sampler import fit_task
from metaal_env.tasks import TaskConfig


def core_of(dataset: str, learner: str, split: str) -> Core:
    """The environment, with as many reward items as a split can spare: gains are judged on them."""
    data = load_split(dataset, split)
    task, _ = fit_task(TaskConfig(reward_per_class=5, test_per_class=5), data, set())
    return make_core(dataset, split=split, learner=learner, task=task)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=list(FITTED))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset", nargs="+", default=["languages"])
    parser.add_argument("--learner", nargs="+", default=["prototype"])
    parser.add_argument("--tasks", type=int, default=32, help="episodes per data set and iteration")
    parser.add_argument("--iterations", type=int, default=0, help="0 = the strategy's own default")
    parser.add_argument("--validation-tasks", type=int, default=128)
    arguments = parser.parse_args()
    learners = arguments.learner * (len(arguments.dataset) if len(arguments.learner) == 1 else 1)
    pairs = list(zip(arguments.dataset, learners, strict=True))

    strategy = FITTED[arguments.name]()
    options = {"iterations": arguments.iterations} if arguments.iterations else {}
    history = strategy.fit(  # type: ignore[attr-defined]
        [core_of(*pair, "train") for pair in pairs],
        tasks=arguments.tasks,
        progress=lambda i, value: print(f"iteration {i}: {value:.4f}", flush=True),
        **options,
    )
    reached = {}
    for dataset, learner in pairs:
        core = core_of(dataset, learner, "validation")
        for name, one in (("random", "random"), ("uherding", "uherding"), (arguments.name, "")):
            chosen = load_strategy(one) if one else strategy
            episodes = play(core, chosen, range(arguments.validation_tasks), measure_on="reward")
            reached[f"{Path(dataset).stem} {name}"] = round(float(aulc(episodes).mean()), 4)
    print(*(f"{name}: {value:.4f}" for name, value in reached.items()), sep="\n")
    strategy.save(arguments.out, {"history": history, "validation_aulc": reached, "data": arguments.dataset})


if __name__ == "__main__":
    main()
