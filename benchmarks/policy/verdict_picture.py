"""Draws the README's picture and measures the shipped image policy: ``python -m benchmarks.policy.verdict_picture``.

The policy and five strategies play the same tasks of the glyphs' test scripts, which neither the policy nor its learner
has seen. Writes docs/verdict.png and docs/measured/glyphs.json; then run ``python -m benchmarks.results_page``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from agents.evaluation import Episodes, play
from agents.evaluation.measures import aulc
from agents.evaluation.paired import pair
from agents.evaluation.report.formats import bracketed, number
from agents.evaluation.report.pictures import verdict_figure
from agents.evaluation.report.plots import rendered
from agents.evaluation.statistics.intervals import Interval, bootstrap, difference
from agents.loading import load_strategy
from agents.pretrained import SHIPPED
from benchmarks.tables import write_table
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic
from metaal_env.tasks import TaskConfig

POLICY = SHIPPED / "metaal-glyphs"
RIVALS = ("random", "margin", "max_herding", "uherding", "greedy_lookahead")


@dataclass(frozen=True)
class Options:
    """What to play, and where the results go."""

    tasks: int = 256
    """Paired tasks."""
    seed: int = 0
    """Task whose pool is drawn."""
    docs: Path = Path("docs")
    """Folder that gets verdict.png and measured/glyphs.json."""


def main(options: Options) -> None:
    """Plays, draws and writes."""
    core = make_core("glyphs", split="test", learner=str(POLICY / "learner"), task=TaskConfig())
    strategies = {"policy": load_strategy("metaal-glyphs")} | {name: load_strategy(name) for name in RIVALS}
    results = {
        name: play(core, strategy, range(options.tasks), name=name)
        for name, strategy in tqdm(strategies.items(), unit="strategy")
    }
    figure = verdict_figure(core, strategies["policy"], options.seed, results)
    write_atomic(options.docs / "verdict.png", rendered(figure, "png"))
    write_table(options.docs / "measured" / "glyphs.json", table(results, options.tasks))


def table(results: dict[str, Episodes], tasks: int) -> dict[str, object]:
    """Returns the areas under the learning curves, and the policy's lead, as `benchmarks.results_page` reads them."""
    paired = pair(results, aulc)
    own = paired.column("policy")
    means = {name: bootstrap(paired.column(name), paired.strata) for name in results}
    rows = []
    for name in sorted(results, key=lambda name: -means[name].estimate):
        lead = (
            ""
            if name == "policy"
            else shown(difference(own, paired.column(name), paired.strata).interval, "+")
        )
        mark = "*" if results[name].privileged else ""
        rows.append([f"{name}{mark}", shown(means[name]), lead])
    return {
        "title": "`metaal-glyphs` on Greek and Cyrillic characters",
        "command": "python -m benchmarks.policy.verdict_picture",
        "text": [
            f"{tasks} paired tasks, 10-way, pools of 100 with Dirichlet(1) shares, 20 labels, one seed of the default "
            "training run. Brackets hold 95 % bootstrap intervals. A star marks a reference that sees hidden labels."
        ],
        "columns": ["strategy", "AULC", "policy − it"],
        "rows": rows,
    }


def shown(interval: Interval, sign: str = "") -> str:
    """Returns an estimate with its interval, in thousandths."""
    return f"{number(interval.estimate, 3, sign)} {bracketed(interval, 3, sign)}"


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
