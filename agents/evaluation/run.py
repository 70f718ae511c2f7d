"""Evaluates acquisition strategies on tasks that none of them has seen, and says how sure the figures are.

    metaal evaluate                                     # the newest run, on its own data's unseen classes
    metaal evaluate --policy metaal-general             # a policy that ships with the package
    metaal evaluate --dataset omniglot.npz              # the same policy on other data
    metaal evaluate --strategies random margin --dataset digits
    metaal evaluate --extra-strategies my_rule.py:MyRule   # your own rule, or a scikit-activeml object
    metaal evaluate --way 5 --way 5 20 --class-concentration 0.3 --class-concentration inf   # four scenarios
    metaal evaluate --redraw results/NAME               # tables, figures and report again, from the rows

Finished parts are kept: run the same command again after an interruption and it continues.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.evaluation.measures import MEASURES
from agents.evaluation.play_protocol import PROTOCOL, Missing, find_missing, play_missing
from agents.evaluation.protocol.planning import Plan, Planned, make_protocol
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.replay import replay
from agents.evaluation.protocol.rows import read_results, to_csv
from agents.evaluation.report.example_pools import example_pools, read_examples
from agents.evaluation.report.outcome import outcome, write_figures
from agents.evaluation.report.page import Provenance, write_report
from agents.evaluation.report.tensorboard import write_tensorboard
from metaal_env.errors import InputError
from metaal_env.make import check_device
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.executor import WorkerOptions, open_executor
from metaal_env.runtime.files import read_json, write_atomic
from metaal_env.runtime.locks import lock_folder

NOTES, EXAMPLES = "notes.json", "examples.json"


@dataclass
class Options:
    """Evaluate acquisition strategies on paired, unseen tasks."""

    plan: Annotated[Plan, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder of the results; results/<data>-<digest> when left out."""
    spread: tyro.conf.OmitArgPrefixes[WorkerOptions] = field(default_factory=lambda: WorkerOptions(workers=0))
    """Where cells are played, and how many at a time; one at a time on a GPU."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""
    measure: str = "aulc"
    """What tables compare: one of agents.evaluation.MEASURES, e.g. aulc or final_accuracy."""
    target_accuracy: float | None = None
    """Accuracy for "labels to target"; what random reaches at its budget when left out."""
    report: bool = True
    """Write report.html."""
    protocol: Path | None = None
    """Play a saved protocol (a file, or a folder of results) again; what describes tasks and strategies is then
    ignored."""
    trust: tuple[str, ...] = ()
    """Strategies of a saved protocol, as file.py:Name, whose code may run."""
    redraw: Path | None = None
    """Draw the results of this folder again; nothing is played."""


def evaluate(options: Options, command: str) -> Path:
    """Plays what is missing, then shows everything; returns the folder of the results.

    Raises:
        InputError: bad options, or a folder that belongs to another protocol or process.
    """
    MEASURES[options.measure]  # refuses an unknown one before hours of work
    options = replace(options, device=str(check_device(options.device)))
    console = Console()
    if options.redraw is not None:
        protocol = Protocol.load(options.redraw / PROTOCOL)
        with lock_folder(options.redraw, f"redraw={str(options.redraw)!r}"):
            show(options.redraw, protocol, options, command, console)
        return options.redraw
    plan = options.plan
    planned = make_protocol(plan) if options.protocol is None else replay(options.protocol, options.trust)
    folder = options.out or default_folder(planned.protocol)
    with lock_folder(folder, f"out={str(folder)!r}"):
        complete(folder, planned, options, command, console)
    return folder


def complete(folder: Path, planned: Planned, options: Options, command: str, console: Console) -> None:
    """Plays what the folder lacks of the plan and shows it together with what was there."""
    protocol = planned.protocol
    missing = find_missing(protocol, folder, options.device)
    there = missing.total - len(missing.todo)
    for line in planned.judged:
        console.print(f"judged: {line}", style="bold", markup=False, highlight=False)
    for note in planned.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
    missing.everything.save(folder / PROTOCOL)
    _add_notes(folder / NOTES, command, planned)
    tasks = protocol.n_tasks * len(protocol.seeds)
    console.print(
        f"{tasks} paired tasks × {len(protocol.scenarios)} scenario(s) × {len(protocol.contestants)} "
        f"strategies → {folder}" + (f" ({there} of {missing.total} cells are there)" if there else ""),
        markup=False,
    )
    play(missing, options)
    write_atomic(folder / EXAMPLES, json.dumps(example_pools(protocol, options.device)).encode())
    show(folder, missing.everything, options, command, console)


def default_folder(protocol: Protocol) -> Path:
    """Returns a folder named after the data and all that determines the rows: two protocols never share one."""
    data = "+".join(dict.fromkeys(s.axes["data"] for s in protocol.scenarios))
    strategies = "".join(c.name + c.digest for c in protocol.contestants)
    digest = hashlib.sha256((protocol.digest + strategies).encode()).hexdigest()[:8]
    return Path("results") / f"{data[:40]}-{digest}"


def play(missing: Missing, options: Options) -> None:
    """Plays the missing cells on the workers that `options` describe."""
    if not missing.todo:
        return
    # Processes would share one GPU and its memory.
    spread = options.spread if options.device == "cpu" else WorkerOptions()
    with open_executor(spread.for_parts(len(missing.todo)), missing.todo[0].folder) as executor:
        play_missing(missing, executor)


def show(folder: Path, protocol: Protocol, options: Options, command: str, console: Console) -> None:
    """Prints verdict and tables; writes figures, TensorBoard's files and the report: all from the rows."""
    results = read_results(folder, protocol)
    notes = read_notes(folder / NOTES)
    shown = outcome(
        protocol,
        results,
        measure=options.measure,
        target=options.target_accuracy,
        examples=read_examples(folder / EXAMPLES),
    )
    write_atomic(folder / "rows.csv.gz", gzip.compress(to_csv(list(results.values())).encode(), mtime=0))
    images = write_figures(shown, folder / "figures")
    write_tensorboard(protocol, results, folder / "tensorboard")
    for headline in shown.headlines:
        console.print(f"\n{headline.verdict}", style="bold", markup=False, highlight=False)
        console.print(f"{headline.details}\n", markup=False, highlight=False)
    for grid in shown.grids:
        console.print(grid)
    if options.report:
        provenance = Provenance(
            notes.get("judged", []), notes.get("notes", []), notes.get("commands", [command])
        )
        write_report(shown, images, protocol, provenance, folder / "report.html")
        console.print(f"report: {folder / 'report.html'}", markup=False)
    console.print(f"rows: {folder / 'rows.csv.gz'}", markup=False)
    console.print(f"figures: {folder / 'figures'}", markup=False)
    console.print(f"charts: tensorboard --logdir {folder}", markup=False)


def _add_notes(path: Path, command: str, planned: Planned) -> None:
    """Adds how this protocol came about to what earlier commands left."""
    notes = read_notes(path)
    for kind, new in (("commands", [command]), ("notes", planned.notes), ("judged", planned.judged)):
        notes[kind] = list(dict.fromkeys([*notes.get(kind, []), *new]))
    write_atomic(path, json.dumps(notes).encode())


def read_notes(path: Path) -> dict[str, list[str]]:
    """Reads commands and notes so far; nothing where the file is missing or unusable, for it only decorates."""
    try:
        saved = read_json(path, "notes")
    except InputError:
        return {}
    lists = {kind: lines for kind, lines in saved.items() if isinstance(lines, list)}
    return {kind: [line for line in lines if isinstance(line, str)] for kind, lines in lists.items()}


def main(arguments: Sequence[str] | None = None, program: str = "metaal evaluate") -> int:
    """Reads the command line, evaluates, and returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = " ".join([program, *given])
    return run_command(
        Options, lambda options: evaluate(options, command), __doc__, arguments=given, program=program
    )
