"""What chose the strategies' defaults: ``python benchmarks/strategy_choices.py --data FOLDER --learner LEARNER``.

Mean AULC on tasks of *validation* classes, which the strategy table never plays, for the settings that depart from a
paper or that a paper leaves open. Data, tasks and learners as in `strategy_table`; ``--write docs/strategies.md`` puts
the table there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from strategy_table import GROUPS, plan, replace_section

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.evaluation.report.formats import number
from agents.evaluation.statistics.comparisons import mean_of
from agents.strategies import Strategy
from agents.strategies.cluster_batch import DropQuery
from agents.strategies.committee import BALD, VariationRatios, VoteEntropy
from agents.strategies.herding import MaxHerding, UHerding
from metaal_env.make import make_core

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
}
COLUMNS = ("glyphs", "Omniglot", "languages", "CLINC150")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the benchmark data")
    parser.add_argument("--learner", default="", help="saved inner learner for images")
    parser.add_argument("--tasks", type=int, default=128)
    parser.add_argument("--write", type=Path, help="Markdown file whose section is replaced")
    arguments = parser.parse_args()
    cores = {}
    for title in COLUMNS:
        group = replace(GROUPS[title], split="validation")
        protocol, notes = plan(group, arguments.data, arguments.learner, ["random"], arguments.tasks)
        print(*(f"left out: {note}" for note in notes), sep="\n", end="\n" * bool(notes))
        for scenario in protocol.scenarios if protocol is not None else ():
            cores[title] = make_core(
                scenario.dataset, split="validation", learner=scenario.learner, task=scenario.task
            )
    lines = [
        f"`python benchmarks/strategy_choices.py --data DATA --learner LEARNER --tasks {arguments.tasks}`",
        "",
        "| choice | " + " | ".join(cores) + " | mean |",
        "|---" * (len(cores) + 2) + "|",
    ]
    print("\n".join(lines))
    for title, options in CHOICES.items():
        for option, build in options.items():
            found = [mean_of(aulc(play(core, build(), range(arguments.tasks)))) for core in cores.values()]
            cells = [number(value, 3) for value in [*found, sum(found) / len(found)]]
            lines.append(f"| {title}: {option} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if arguments.write:
        replace_section(arguments.write, "strategy-choices", "\n".join(lines))


if __name__ == "__main__":
    main()
