"""Mean AULC of every strategy on paired unseen tasks: ``python -m benchmarks.strategies.strategy_table --data FOLDER``.

The folder holds the npz files of the benchmark data (``METAAL_BENCHMARK_DATA`` names it as well); what it lacks is
left out with a note. Images need ``--learner``, a saved inner learner that fits them; vectors are played with
``prototype``. Finished cells stay in ``--out``, so the same command continues after an interruption: delete that
folder when a rule has changed. ``--write docs/strategies.md`` puts the table there. Kernel widths and every other
default were chosen on validation classes; nothing is chosen on these tasks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc, coverage
from agents.evaluation.paired import pair
from agents.evaluation.play_protocol import play_protocol
from agents.evaluation.protocol.loading import strategy_digest
from agents.evaluation.protocol.planning import fitted_scenario
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.report.formats import number, show
from agents.evaluation.statistics.comparisons import mean_of
from agents.evaluation.statistics.intervals import bootstrap, difference
from agents.strategies import STRATEGIES
from benchmarks.sections import replace_section
from metaal_env.errors import InputError, unknown_name
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.executor import WorkerOptions, open_executor
from metaal_env.tasks import TaskConfig


@dataclass(frozen=True)
class Group:
    """One column: data sets that are pooled, each a stratum of the interval.

    Attributes:
        sources: registered names, or paths within the data folder; wildcards are expanded.
        image: whether it needs `--learner`.
        split: ``"test"`` keeps classes apart; ``"all"`` where nothing was ever fitted or chosen on the data.
        task: fitted to what each data set can supply.
        tasks: per data set; 0 takes `--tasks`.
        without: files that wildcards must not take: they served to choose kernel widths.
    """

    sources: tuple[str, ...]
    image: bool = False
    split: str = "test"
    task: TaskConfig = field(default_factory=TaskConfig)
    tasks: int = 0
    without: tuple[str, ...] = ()


GROUPS = {
    "glyphs": Group(("glyphs",), image=True, task=TaskConfig(reward_per_class=4, test_per_class=5)),
    "Omniglot": Group(
        ("omniglot_28.npz",), image=True, task=TaskConfig(reward_per_class=3, test_per_class=5)
    ),
    "languages": Group(("languages",)),
    "CLINC150": Group(("intents/clinc150_minilm384.npz",)),
    "UCI + PMLB": Group(
        ("uci/*.npz", "pmlb/*.npz"), split="all", tasks=3, without=("optdigits", "pendigits")
    ),
}


def plan(
    group: Group, data: Path | None, learner: str, names: Sequence[str], tasks: int
) -> tuple[Protocol | None, list[str]]:
    """What is played for one column, and notes on what is left out."""
    sources, notes = [], []
    for source in group.sources:
        if "." not in source:
            sources.append(source)
        elif data is None:
            notes.append(f"{source}: no --data folder")
        else:
            found = sorted(path for path in data.glob(source) if path.stem not in group.without)
            sources += map(str, found)
            if not found:
                notes.append(f"{source}: not in {data.name}/")
    scenarios = []
    for source in sources:
        if group.image and not learner:
            notes.append(f"{Path(source).stem}: images need --learner")
            continue
        chosen = learner if group.image else "prototype"
        try:
            scenarios.append(fitted_scenario(source, group.split, chosen, group.task))
        except InputError as error:
            notes.append(str(error).replace(f"{data}/", ""))
    if not scenarios:
        return None, notes
    contestants = tuple(Contestant(Path(name).name, name, strategy_digest(name)) for name in names)
    return Protocol(tuple(scenarios), contestants, group.tasks or tasks), notes


def column(results: Mapping[str, Episodes]) -> dict[str, str]:
    """Strategy → its cell: mean and interval, the best rule bold, those it does not clearly beat marked."""
    paired = pair(results)
    means = {name: mean_of(paired.column(name)) for name in paired.names}
    best = max((n for n in means if n in STRATEGIES and not results[n].privileged), key=lambda n: means[n])
    cells = {}
    for name in paired.names:
        cells[name] = show(bootstrap(aulc(results[name]), results[name].strata))
        behind = difference(paired.column(best), paired.column(name), paired.strata).interval
        if name == best:
            cells[name] = f"**{cells[name]}**"
        elif behind.low <= 0 and not results[name].privileged:
            cells[name] += " ≈"
    return cells


def markdown(found: Mapping[str, Mapping[str, Episodes]], notes: Sequence[str], command: str) -> str:
    """The table, rules by their mean rank over the columns, privileged references below."""
    columns = {title: column(results) for title, results in found.items()}
    names = list(dict.fromkeys(name for results in found.values() for name in results))
    # (columns, strategies)
    values = np.array([[mean_of(aulc(r[n])) if n in r else np.nan for n in names] for r in found.values()])
    order = np.argsort(np.argsort(-np.nan_to_num(values, nan=-1.0), 1), 1).mean(0)
    privileged = [any(n in r and r[n].privileged for r in found.values()) for n in names]
    counts = [f"{title}<br>{max(map(len, r.values()))} tasks" for title, r in found.items()]
    lines = [
        f"`{command}`",
        "",
        "| strategy | " + " | ".join(counts) + " | classes met | ms/query |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for i in sorted(range(len(names)), key=lambda i: (privileged[i], order[i])):
        name = names[i]
        mine = [r[name] for r in found.values() if name in r]
        met = number(float(np.mean([mean_of(coverage(e)) for e in mine])), 2)
        time = number(float(np.median([1e3 * mean_of(e.seconds) for e in mine])), 2)
        cells = [cells_.get(name, "–") for cells_ in columns.values()]
        label = name + ("*" if privileged[i] else "" if name in STRATEGIES else "†")
        lines.append(f"| {label} | " + " | ".join([*cells, met, time]) + " |")
    lines += [
        "",
        "Classes met: share of a task's classes that have a label, mean over the episode and the columns.",
    ]
    lines += [""] + [f"- left out: {note}" for note in notes]
    return "\n".join(lines).rstrip()


@dataclass(frozen=True)
class Options:
    """What to play."""

    data: Path | None = None
    """Folder of the benchmark data; METAAL_BENCHMARK_DATA names it as well."""
    learner: str = ""
    """Saved inner learner for images."""
    tasks: int = 200
    """Tasks per data set, where a column does not say otherwise."""
    groups: tuple[str, ...] = tuple(GROUPS)
    """Columns of the table."""
    strategies: tuple[str, ...] = tuple(STRATEGIES)
    """Rules to play; all by default."""
    fitted: tuple[str, ...] = ()
    """Folders of fitted strategies to play as well."""
    out: Path = Path("results/strategy_table")
    """Folder of the rows."""
    spread: tyro.conf.OmitArgPrefixes[WorkerOptions] = field(default_factory=WorkerOptions)
    """Where cells are played, and how many at a time."""
    write: Path | None = None
    """Markdown file whose section is replaced."""

    def __post_init__(self) -> None:
        for argument, names, known in (
            ("groups", self.groups, GROUPS),
            ("strategies", self.strategies, STRATEGIES),
        ):
            if unknown := [name for name in names if name not in known]:
                raise unknown_name(argument, unknown[0], known)


def main(options: Options) -> None:
    environment = os.environ.get("METAAL_BENCHMARK_DATA")
    data = options.data or (Path(environment) if environment else None)
    names = [*options.strategies, *options.fitted]
    found: dict[str, dict[str, Episodes]] = {}
    notes: list[str] = []
    for title in options.groups:
        protocol, missing = plan(GROUPS[title], data, options.learner, names, options.tasks)
        notes += missing
        if protocol is not None:
            folder = options.out / title.lower().replace(" + ", "-")
            with open_executor(options.spread, folder) as executor:
                found[title] = play_protocol(protocol, folder, executor=executor, title=title)
    for note in notes:
        print(f"left out: {note}", file=sys.stderr)
    if not found:
        raise InputError("data: there is nothing to play; give --data, and --learner for images.")
    command = "python -m benchmarks.strategies.strategy_table --data DATA --learner LEARNER"
    if options.fitted:
        command += " --fitted " + " ".join(f"runs/{Path(name).name}" for name in options.fitted)
    text = markdown(found, notes, command)
    print(text)
    if options.write:
        replace_section(options.write, "strategy-table", text)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
