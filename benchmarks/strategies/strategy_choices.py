"""What chose the strategies' defaults: ``python -m benchmarks.strategies.strategy_choices --data FOLDER``.

Mean AULC on tasks of *validation* classes, which the strategy table never plays, for the settings that depart from a
paper or that a paper leaves open. Data, tasks and learners as in `strategy_table`; ``--write docs/strategies.md`` puts
the table there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.evaluation.report.formats import number
from agents.evaluation.statistics.comparisons import mean_of
from agents.strategies import Strategy
from agents.strategies.cluster_batch import DropQuery
from agents.strategies.committee import BALD, VariationRatios, VoteEntropy
from agents.strategies.herding import CalibratedUHerding, MaxHerding, UHerding
from benchmarks.sections import replace_section
from benchmarks.strategies.strategy_table import GROUPS, plan
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command

CHOICES: dict[str, dict[str, Callable[[], Strategy]]] = {
    "committee, members guess items of absent classes": {
        f"{name}, {word}": lambda kind=kind, guess=guess: kind(guess=guess)  # type: ignore[misc]
        for name, kind in (
            ("vote entropy", VoteEntropy),
            ("variation ratios", VariationRatios),
            ("BALD", BALD),
        )
        for word, guess in (("no", False), ("yes", True))
    },
    "DropQuery, share of features dropped": {
        str(rate): lambda rate=rate: DropQuery(rate=rate)  # type: ignore[misc]
        for rate in (0.25, 0.5, 0.75)
    },
    "MaxHerding, squared kernel radius": {
        str(width): lambda width=width: MaxHerding(width=width)  # type: ignore[misc]
        for width in (0.2, 0.5, 1.2)
    },
    "UHerding, largest squared kernel radius": {
        str(width): lambda width=width: UHerding(width=width)  # type: ignore[misc]
        for width in (0.2, 0.3, 0.5)
    },
    "UHerding, temperature fitted to the labels": {"no": UHerding, "yes": CalibratedUHerding},
}
COLUMNS = ("glyphs", "Omniglot", "languages", "CLINC150")


@dataclass(frozen=True)
class Options:
    """On what the settings are compared."""

    data: Path | None = None
    """Folder of the benchmark data."""
    learner: str = ""
    """Saved inner learner for images."""
    tasks: int = 128
    """Tasks per data set."""
    write: Path | None = None
    """Markdown file whose section is replaced."""


def main(options: Options) -> None:
    cores = {}
    for title in COLUMNS:
        group = replace(GROUPS[title], split="validation")
        protocol, notes = plan(group, options.data, options.learner, ["random"], options.tasks)
        print(*(f"left out: {note}" for note in notes), sep="\n", end="\n" * bool(notes))
        for scenario in protocol.scenarios if protocol is not None else ():
            cores[title] = make_core(
                scenario.dataset, split="validation", learner=scenario.learner, task=scenario.task
            )
    lines = [
        f"`python -m benchmarks.strategies.strategy_choices --data DATA --learner LEARNER --tasks {options.tasks}`",
        "",
        "| choice | " + " | ".join(cores) + " | mean |",
        "|---" * (len(cores) + 2) + "|",
    ]
    print("\n".join(lines))
    for title, variants in CHOICES.items():
        for option, build in variants.items():
            found = [mean_of(aulc(play(core, build(), range(options.tasks)))) for core in cores.values()]
            cells = [number(value, 3) for value in [*found, sum(found) / len(found)]]
            lines.append(f"| {title}: {option} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if options.write:
        replace_section(options.write, "strategy-choices", "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
