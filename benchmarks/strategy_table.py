"""Mean AULC of every strategy on paired unseen tasks: ``python benchmarks/strategy_table.py --data FOLDER``.

The folder holds the npz files of the benchmark data (``METAAL_BENCHMARK_DATA`` names it as well); what it lacks is
left out with a note. Images need ``--learner``, a saved inner learner that fits them; vectors are played with
``prototype``. Finished cells stay in ``--out``, so the same command continues after an interruption: delete that
folder when a rule has changed. ``--write docs/strategies.md`` puts the table there. Kernel widths and every other
default were chosen on validation classes; nothing is chosen on these tasks.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from tqdm import tqdm

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc, coverage
from agents.evaluation.paired import pair
from agents.evaluation.protocol.cells import cells_of, pending
from agents.evaluation.protocol.loading import (
    learner_digest,
    learner_fits,
    load_parts,
    load_split,
    strategy_digest,
)
from agents.evaluation.protocol.protocol import Contestant, Protocol, Scenario
from agents.evaluation.protocol.rows import read_results
from agents.evaluation.report.formats import number, show
from agents.evaluation.statistics.comparisons import mean_of
from agents.evaluation.statistics.intervals import bootstrap, difference
from agents.evaluation.workers import run_cells
from agents.strategies import STRATEGIES
from metaal_env.errors import InputError
from metaal_env.sampler import TaskSampler, fit_task
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
            whole = load_split(source, group.split)
            if not learner_fits(chosen, whole):
                raise InputError(f"the learner does not fit inputs of shape {whole.input_shape}")
            task, _ = fit_task(group.task, whole, set())
            TaskSampler(whole, task)
            learned = load_parts(source, group.split, chosen)[1]
            digests = whole.fingerprint, learner_digest(chosen, learned)
        except InputError as error:
            notes.append(str(error).replace(f"{data}/", ""))
            continue
        scenarios.append(Scenario(source, group.split, task, chosen, *digests))
    if not scenarios:
        return None, notes
    contestants = tuple(Contestant(Path(name).name, name, strategy_digest(name)) for name in names)
    return Protocol(tuple(scenarios), contestants, group.tasks or tasks), notes


def play(protocol: Protocol, folder: Path, title: str, workers: int) -> dict[str, Episodes]:
    """Plays the cells that have no rows yet; returns every strategy's episodes."""
    everything = protocol.joined_to(folder / "protocol.json")
    todo = pending(cells_of(protocol, folder), protocol)
    everything.save(folder / "protocol.json")
    with tqdm(total=len(todo), desc=title, disable=not todo) as bar:
        run_cells(todo, workers=workers, done=lambda cell: bar.update())
    return read_results(folder, everything)


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
    values = np.array(
        [[mean_of(aulc(r[n])) if n in r else np.nan for n in names] for r in found.values()]
    )  # (columns, strategies)
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


def replace_section(path: Path, mark: str, text: str) -> None:
    """Puts `text` between ``<!-- mark -->`` and ``<!-- /mark -->`` of a file; appends them where there are none."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    old = path.read_text() if path.is_file() else ""
    head, found, rest = old.partition(begin)
    tail = rest.partition(end)[2] if found else ""
    path.write_text(f"{head if found else old}{begin}\n{text}\n{end}{tail or chr(10)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the benchmark data")
    parser.add_argument("--learner", default="", help="saved inner learner for images")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--fitted", nargs="+", default=[], help="folders of fitted strategies")
    parser.add_argument("--out", type=Path, default=Path("results/strategy_table"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--write", type=Path, help="Markdown file whose section is replaced")
    arguments = parser.parse_args()
    environment = os.environ.get("METAAL_BENCHMARK_DATA")
    data = arguments.data or (Path(environment) if environment else None)
    names = [*arguments.strategies, *arguments.fitted]
    found: dict[str, dict[str, Episodes]] = {}
    notes: list[str] = []
    for title in arguments.groups:
        protocol, missing = plan(GROUPS[title], data, arguments.learner, names, arguments.tasks)
        notes += missing
        if protocol is not None:
            folder = arguments.out / title.lower().replace(" + ", "-")
            found[title] = play(protocol, folder, title, arguments.workers)
    for note in notes:
        print(f"left out: {note}", file=sys.stderr)
    if not found:
        sys.exit("nothing to play: give --data, and --learner for images")
    command = "python benchmarks/strategy_table.py --data DATA --learner LEARNER"
    if arguments.fitted:
        command += " --fitted " + " ".join(f"runs/{Path(name).name}" for name in arguments.fitted)
    text = markdown(found, notes, command)
    print(text)
    if arguments.write:
        replace_section(arguments.write, "strategy-table", text)


if __name__ == "__main__":
    main()
