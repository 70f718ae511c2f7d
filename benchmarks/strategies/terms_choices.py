"""Chooses constants of rules for batches, costs, prices and targets: ``python -m benchmarks.strategies.terms_choices``.

Every choice is made on tasks of validation classes, by the mean return of `agents.evaluation.returns`. The constants in
`agents/strategies/terms.py` and the candidates for the best rule in `benchmarks/policy/baselines.py` come from here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product

from rich.console import Console
from rich.table import Table

import metaal_env
from agents.evaluation.returns import play_returns
from agents.loading import load_strategy
from agents.strategies.base import Strategy
from agents.strategies.herding import MaxHerding, UHerding
from agents.strategies.terms import PerCost, StopByCurve, StopByGain
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command

RULES = ("margin", "max_herding", "uherding", "typiclust", "probcover", "partition_lookahead")
"""Rules without constants of their own here, played in every problem."""

Candidates = dict[str, Callable[[], Strategy]]


def herding() -> Candidates:
    """Returns herding rules of several widths."""
    found: Candidates = {}
    for width in (0.1, 0.2, 0.4, 0.8):
        found[f"max_herding, width {width}"] = partial(MaxHerding, width=width)
        found[f"uherding, width {width}"] = partial(UHerding, width=width)
    return found


def plain() -> Candidates:
    """Returns rules that know nothing of terms; in batches each plays its batch form."""
    return {name: partial(load_strategy, name) for name in RULES} | herding()


def stopping() -> Candidates:
    """Returns rules that stop by the curve or by the closed form, over grids of their constants."""
    found: Candidates = {}
    for rule, height, half in product(("uherding", "max_herding"), (0.35, 0.43, 0.5), (0.7, 1.0, 1.4)):
        make = partial(StopByCurve, rule=rule, height=height, half=half)
        found[f"stop_by_curve, {rule}, height {height}, half {half}"] = make
    for patience in (0.5, 1.0, 2.0):
        found[f"stop_by_gain, uherding, patience {patience}"] = partial(StopByGain, patience=patience)
    return found


def by_cost() -> Candidates:
    """Returns rules whose scores are divided by powers of the cost."""
    pairs = product(("uherding", "max_herding", "partition_lookahead"), (0.0, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0))
    return {
        f"per_cost, {rule}, exponent {exponent}": partial(PerCost, rule=rule, exponent=exponent)
        for rule, exponent in pairs
    }


GRIDS: dict[str, Callable[[], Candidates]] = {
    "MetaAL-Stop-v0": stopping,
    "MetaAL-Batch-v0": plain,
    "MetaAL-Cost-v0": by_cost,
    "MetaAL-Target-v0": plain,
}


@dataclass(frozen=True)
class Options:
    """What to compare."""

    ids: list[str] = field(default_factory=lambda: list(GRIDS))
    """Registered ids."""
    tasks: int = 256
    """Paired tasks of validation classes."""


def main(options: Options) -> None:
    """Prints a table per id, best first."""
    for env_id in options.ids:
        core = make_core(metaal_env.VARIANTS[env_id], split="validation", **metaal_env.PROBLEMS[env_id])
        rows = Table(title=f"{env_id}: {options.tasks} paired tasks of validation classes")
        for heading in ("candidate", "return", "to the best", "accuracy", "labels"):
            rows.add_column(heading)
        found = {}
        for name, make in GRIDS[env_id]().items():
            found[name] = play_returns(core, make(), range(options.tasks))
        best = max(found.values(), key=lambda returns: returns.value.mean())
        for name, returns in sorted(found.items(), key=lambda pair: -pair[1].value.mean()):
            behind = returns.value - best.value
            error = 1.96 * behind.std() / options.tasks**0.5
            rows.add_row(
                name, f"{returns.value.mean():.4f}", f"{behind.mean():+.4f} ± {error:.4f}",
                f"{returns.accuracy.mean():.3f}", f"{returns.labels.mean():.1f}",
            )  # fmt: skip
        Console().print(rows)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
