"""Writes docs/results.md, and the README's figures cut from it: ``python -m benchmarks.results_page``.

Figures come from the cards of the shipped policies and from docs/measured/*.json, which benchmarks write or which hold
what was copied from their output. ``--check`` writes nothing and fails where a file is not what this script writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.report.formats import number
from agents.pretrained import SHIPPED
from benchmarks.sections import section
from benchmarks.tables import markdown, with_interval
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

CARD = SHIPPED / "metaal-general" / "policy.json"
DATA = {
    "glyphs": "glyphs: Greek and Cyrillic",
    "omniglot": "Omniglot: evaluation alphabets",
    "clinc150": "CLINC150: test domains",
    "languages": "languages: test split",
}
"""Data set in the names of the card's cells → its name in tables."""

AGAINST = {
    "gain": "the best rule in hindsight",
    "over_margin": "margin",
    "over_herding": "the better of MaxHerding and UHerding",
    "over_own": "`partition_lookahead`, our rule",
}
"""Difference in a cell → what the policy is compared with."""

IN_PRINT = {
    "max_herding": "MaxHerding",
    "uherding": "UHerding",
    "typiclust": "TypiClust",
    "probcover": "ProbCover",
    "badge": "BADGE",
    "clue": "CLUE",
    "bait": "BAIT",
    "tcm": "TCM",
    "dropquery": "DropQuery",
    "refine": "Refine",
}
"""Rule → how its paper writes it, if otherwise."""

CHAPTERS = (
    ("Policies", ("glyphs", "single_seeds", "unseen_domains", "ablations", "baselines", "stock_agents")),
    (
        "Reinforcement learning",
        (
            "reinforcement_stop",
            "reinforcement_stop_curve",
            "reinforcement_cost",
            "reinforcement_cost_curve",
            "reinforcement_aulc",
            "reinforcement_aulc_curve",
            "reinforcement_alone",
            "reinforcement_alone_curve",
            "horizon",
        ),
    ),
    (
        "Own pools",
        (
            "own_pools_held_out",
            "own_pools_rivals",
            "own_pools_left_out",
            "own_pools_2000",
            "own_pools_2000_others",
            "own_pools_left_out_2000",
            "own_pools_10000",
            "own_pools_classifiers",
            "own_pools_semi_supervised",
            "own_pools_rare",
            "own_pools",
            "own_digits",
            "own_intents",
            "own_time",
            "own_scale",
            "own_utilities",
            "label_page",
            "label_answer",
            "status",
            "forecast",
        ),
    ),
    ("Learners", ("learners_untrained", "learners_supports", "learners_speed")),
)
"""Heading → tables below it, each a file of docs/measured."""

HEAD = """# Results

Written by `python -m benchmarks.results_page`; do not edit. Figures stand here, in the tables that benchmarks write
into [strategies.md](strategies.md) and [learners.md](learners.md), and as working measurements in the
[log](log/2026-11.md). [concepts.md](concepts.md) explains the words. Brackets hold 95 % intervals.
"""

GENERAL = """## `metaal-general` on classes that it has never seen

One policy for images, texts and tables. A cell is a data set × 5, 10 or 20 classes × 1, 2 or 4 labels a class ×
balanced or Dirichlet(1) pools, with {tasks}, of which greedy look-ahead plays {oracle_tasks}. The rival is the best of
{count} rules ({rivals}), chosen for every cell in hindsight.
Entries say in how many cells the policy is above / below with the interval excluding 0, and the mean difference in
AULC.

    {command}
"""

READ = """The policy was trained on other classes of all four data sets, on BANKING77, on tables and on drawn spaces.
Omniglot's training alphabets include Greek, and look-alikes of test glyphs exist among training ones. Of CLINC150's
test domains, credit cards resembles BANKING77. Earlier versions of the policy were judged on the same test classes.
What is above `partition_lookahead`, whose scores are among the policy's features, was learned."""


@dataclass(frozen=True)
class Options:
    """Where the files are."""

    check: bool = False
    """Write nothing; fail where a file differs."""
    root: Path = Path(".")
    """Folder that holds README.md and docs."""


def main(options: Options) -> None:
    """Writes both files, or compares them. Raises: `InputError` if one differs under ``--check``."""
    for file, text in pages(options.root).items():
        if not options.check:
            write_atomic(file, text.encode())
        elif file.read_text() != text:
            raise InputError(f"{file} is not what this script writes; run it without --check.")


def pages(root: Path) -> dict[Path, str]:
    """Returns file → its whole text."""
    card = json.loads(CARD.read_bytes())["summary"]
    readme = root / "README.md"
    measured = root / "docs" / "measured"
    own_pools = json.loads((measured / "own_pools_held_out.json").read_bytes())
    text = section(readme.read_text(), "headline", f"{headline(card)}\n{own_pool_headline(own_pools)}")
    return {
        root / "docs" / "results.md": results_page(card, measured),
        readme: section(text, "results", overview(card, {"gain": AGAINST["gain"], "over_margin": "margin"})),
    }


def headline(card: dict[str, Any]) -> str:
    """Returns the README's sentence of figures on the benchmark's tasks."""
    cells = card["results"]["cells"]
    above, below, _ = outcome(cells, "gain")
    return (
        "On classes that it has never seen, the shipped policy beats the best of "
        f"{len(card['results']['rivals'])} rules, chosen in hindsight, in {above} of {len(cells)} settings and loses "
        f"to it in {below or 'none'}."
    )


def own_pool_headline(table: dict[str, Any]) -> str:
    """Returns the README's sentence of figures on pools like a user's, from a table of `policy.own_pools`."""
    *cells, (_, _, mean) = table["rows"]
    ends = [cell[2].partition("[")[2].rstrip("]").split(", ") for cell in cells]
    above = sum(low.startswith("+") for low, _ in ends)
    below = sum(high.startswith("−") for _, high in ends)
    return (
        f"On pools like a user's, of data held apart, `metaal-pools` is above the rule `uherding` in {above} of "
        f"{len(cells)} settings and below in {below or 'none'}: {mean.split()[0]} accuracy."
    )


def results_page(card: dict[str, Any], measured: Path) -> str:
    """Returns docs/results.md."""
    results = card["results"]
    tasks, ways = (" / ".join(map(str, results[key])) for key in ("tasks", "ways"))
    general = GENERAL.format(
        tasks=f"{tasks} paired tasks" + (f" at {ways} classes" if len(results["tasks"]) > 1 else ""),
        oracle_tasks=results["oracle_tasks"],
        count=len(results["rivals"]),
        rivals=", ".join(IN_PRINT.get(name, name) for name in results["rivals"]),
        command=card["commands"][-1],
    )
    parts = [HEAD, general]
    first, *rest = results["summary"].splitlines()
    said = "\n".join(line if line.startswith("- ") else f"- {line}" for line in rest)
    parts += [f"{overview(card, AGAINST)}\n\n{first}\n\n{said}\n"]
    parts += [READ + "\n", "### Every cell\n", every_cell(results["cells"])]
    for heading, names in CHAPTERS:
        parts.append(f"\n## {heading}\n")
        parts += [measured_table(json.loads((measured / f"{name}.json").read_bytes())) for name in names]
    return "\n".join(parts).rstrip() + "\n"


def overview(card: dict[str, Any], against: dict[str, str]) -> str:
    """Returns one row per data set: in how many cells the policy is above and below its rivals, and by how much."""
    rows = []
    for key, name in DATA.items():
        cells = [cell for cell in card["results"]["cells"] if cell["name"].startswith(f"{key} ")]
        rows.append([name, *(entry(cells, rival) for rival in against)])
    return markdown(["classes never seen", *(f"against {name}" for name in against.values())], rows)


def entry(cells: Sequence[dict[str, Any]], rival: str) -> str:
    """Returns e.g. ``18 / 0 of 18, +.0137``."""
    above, below, mean = outcome(cells, rival)
    return f"{above} / {below} of {len(cells)}, {number(mean, 4, '+')}"


def outcome(cells: Sequence[dict[str, Any]], rival: str) -> tuple[int, int, float]:
    """Returns in how many cells the interval is above and below 0, and the mean difference."""
    differences = np.array([cell[rival] for cell in cells])  # (n, 3): estimate, low, high
    return (
        int((differences[:, 1] > 0).sum()),
        int((differences[:, 2] < 0).sum()),
        float(differences[:, 0].mean()),
    )


def every_cell(cells: Sequence[dict[str, Any]]) -> str:
    """Returns a row per cell."""
    columns = ["cell", "best rule", "its AULC", "policy", *(f"to {AGAINST[rival]}" for rival in AGAINST)]
    columns += ["gap to look-ahead* closed", "labels to 90 %: policy / best rule / margin"]
    rows = []
    for cell in cells:
        labels = [cell["labels"][name] for name in ("policy", cell["rival"], "margin")]
        gap = cell["gap"][0]
        rows.append([
            cell["name"], cell["rival"], f"{cell['rule']:.3f}", f"{cell['policy']:.3f}",
            *(with_interval(cell[rival]) for rival in AGAINST),
            "–" if gap is None else f"{gap:.0%}",
            " / ".join("–" if n is None else f"{n:.1f}" for n in labels),
        ])  # fmt: skip
    return markdown(columns, rows) + "\n\n– says that it was not reached, or that there is no gap.\n"


def measured_table(data: dict[str, Any]) -> str:
    """Returns a table of docs/measured with its heading, its command and its remarks."""
    parts = [f"### {data['title']}\n"]
    if data["command"]:
        parts.append(f"    {data['command']}\n")
    parts += [f"{text}\n" for text in data["text"]]
    if data["rows"]:
        parts.append(markdown(data["columns"], data["rows"]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
