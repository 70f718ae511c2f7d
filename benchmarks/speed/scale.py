"""What a recipe takes on 1 to 1,000 workers: measured constants, and the real scheduler on paper.

    python -m benchmarks.speed.scale --measure      # constants of this machine, in processor time
    python -m benchmarks.speed.scale --two-workers  # wall time of two workers beside one, on two idle cores
    python -m benchmarks.speed.scale                # docs/scale.md from the constants

Parts are those of ``metaal train`` on glyphs with the shipped learner of images.
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.config import TrainConfig
from agents.training.general.sources import IMAGE_LEARNER
from agents.training.general.train import first_source, imitation_of
from agents.training.imitation.examples import Examples, load_examples
from agents.training.imitation.imitate import ImitationConfig, fit
from agents.training.imitation.rounds import Imitation, collect
from agents.training.ppo.train import initial_network
from agents.training.validation import validate
from benchmarks.sections import replace_section
from benchmarks.speed.simulated_cluster import Cluster, Measured, graph, simulate
from benchmarks.tables import markdown
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.executor import Executor, WorkerOptions, open_executor
from metaal_env.runtime.files import write_atomic

CONSTANTS = Path(__file__).with_name("scale_constants.json")
WORKERS = (1, 2, 4, 10, 40, 100, 400, 1000)
RECIPE = {"seeds": 5, "iterations": 24, "rounds": 3, "places": 16}
DAY = 86_400


@dataclass
class Options:
    """What to do."""

    measure: bool = False
    """Measure the constants of this machine first."""
    two_workers: bool = False
    """Measure how much faster two workers are than one; both cores must be idle."""
    parts: int = 32
    """Parts of roll-outs that are measured."""
    repeats: int = 3
    """Alternating runs of one and of two workers."""
    page: Path = Path("docs/scale.md")
    """Page whose tables are rewritten."""


def main(options: Options) -> None:
    found: dict[str, Any] = json.loads(CONSTANTS.read_bytes()) if CONSTANTS.is_file() else {}
    if options.measure:
        found["constants"] = asdict(measure(options))
    if options.two_workers:
        found["two_workers"] = two_workers(options)
    if "constants" not in found:
        raise InputError("measure: there are no constants yet; give --measure.")
    write_atomic(CONSTANTS, json.dumps(found, indent=1).encode())
    given: dict[str, Any] = found["constants"]
    constants = Measured(**given | {"rollout_seconds": tuple(given["rollout_seconds"])})
    replace_section(options.page, "constants", constants_table(constants, found))
    replace_section(options.page, "workers", workers_table(constants))
    replace_section(options.page, "day", day_table(constants))


def job(folder: Path, source: Core) -> Imitation:
    config = TrainConfig(learner=IMAGE_LEARNER, out=folder, name="run", imitation=ImitationConfig())
    return imitation_of(config, [[source]])


def measure(options: Options) -> Measured:
    """Returns the constants of this machine."""
    source = first_source(TrainConfig(learner=IMAGE_LEARNER))
    families = [[source]]
    folder = Path(tempfile.mkdtemp())
    try:
        imitation = job(folder, source)
        places = [(imitation, n // 16, n % 16) for n in range(options.parts)]
        seconds = [_cpu_seconds(families, place) for place in places]
        files = [imitation.part_file(*place[1:]) for place in places]
        names = imitation.network.names
        found = [part for file in files if (part := load_examples(file, imitation.config, names))]
        examples = Examples.joined(found)
        network: AcquisitionNetwork = initial_network(TrainConfig().ppo, source.config)
        begin = time.process_time()
        fit(network, examples, imitation.config)
        fit_seconds = (time.process_time() - begin) / len(examples.gain)
        sizes = [file.stat().st_size for file in files]
        return Measured(
            # Not the first, which compiles.
            rollout_seconds=tuple(round(s, 3) for s in seconds[1:]),
            fit_seconds_per_state=fit_seconds,
            start_seconds=_start_seconds(),
            driver_seconds=_driver_seconds(),
            states=len(examples.gain) / len(files),
            bytes=float(np.mean(sizes)),
            shared_bytes=len(pickle.dumps(families)),
        )
    finally:
        shutil.rmtree(folder)


def _cpu_seconds(families: list[list[Core]], place: tuple[Imitation, int, int]) -> float:
    begin = time.process_time()
    collect(families, *place)
    return time.process_time() - begin


def _start_seconds() -> float:
    begin = time.perf_counter()
    with open_executor(WorkerOptions(workers=2)) as executor:
        executor.map(abs, [(-1,)])
        return time.perf_counter() - begin


def _driver_seconds(parts: int = 2000) -> float:
    """Processor seconds of the driver for each part."""
    with open_executor(WorkerOptions(workers=2)) as executor:
        executor.map(abs, [(-1,)] * 2)
        begin = time.process_time()
        executor.map(abs, [(-1,)] * parts, stopping=[])
        return (time.process_time() - begin) / parts


def two_workers(options: Options) -> dict[str, list[float]]:
    """Wall seconds of the same examples and validation tasks, by one worker and by two, alternating."""
    source = first_source(TrainConfig(learner=IMAGE_LEARNER))
    found: dict[str, list[float]] = {"1": [], "2": []}
    with open_executor(WorkerOptions(workers=2)) as pair, open_executor(WorkerOptions()) as alone:
        for executor in (pair, alone):
            spread_work(executor, source, 4)  # workers start and get the sources
        for _ in range(options.repeats):
            for number, executor in (("1", alone), ("2", pair)):
                begin = time.perf_counter()
                spread_work(executor, source, options.parts)
                found[number].append(round(time.perf_counter() - begin, 2))
                print(f"{number} workers: {found[number][-1]} s", flush=True)
    return found


def spread_work(executor: Executor, source: Core, parts: int) -> None:
    """Collects examples and plays validation tasks."""
    families, folder = [[source]], Path(tempfile.mkdtemp())
    try:
        imitation = job(folder, source)
        executor.map(collect, [(imitation, n // 16, n % 16) for n in range(parts)], shared=families)
        validate(families, LearnedStrategy(imitation.network), 8 * parts, executor)
    finally:
        shutil.rmtree(folder)


def constants_table(constants: Measured, found: dict[str, Any]) -> str:
    seconds = np.asarray(constants.rollout_seconds)
    rows = [
        ("seconds of a part of a roll-out (16 episodes), mean, median, longest",
         f"{seconds.mean():.1f}, {np.median(seconds):.1f}, {seconds.max():.1f}"),
        ("states of a part; kB of its file", f"{constants.states:.0f}; {constants.bytes / 1e3:.0f}"),
        ("milliseconds of a fit for each state", f"{1e3 * constants.fit_seconds_per_state:.1f}"),
        ("seconds until a worker's first part", f"{constants.start_seconds:.1f}"),
        ("milliseconds of the driver for each part", f"{1e3 * constants.driver_seconds:.2f}"),
        ("MB of the sources that each worker is sent once", f"{constants.shared_bytes / 1e6:.0f}"),
    ]  # fmt: skip
    if "two_workers" in found:
        one, two = (np.median(found["two_workers"][number]) for number in "12")
        rows.append(("two workers beside one, examples and validation: times as fast", f"{one / two:.2f}"))
    return markdown(("constant", "measured"), rows)


def workers_table(constants: Measured) -> str:
    """The recipe of five seeds on more and more workers, processes and jobs."""
    parts = graph(**RECIPE, states=constants.states)
    rows = []
    for workers in WORKERS:
        row = [f"{workers:,}"]
        for jobs in (False, True):
            found = simulate(Cluster(workers, jobs), constants, parts)
            row += [f"{found.hours:.2f}", f"{found.busy:.0%}"]
            row.append(f"{found.calls:,}" if jobs else f"{found.parts_per_second:.2f}")
        worst = simulate(Cluster(workers, hours_between_failures=10), constants, parts)
        rows.append((*row, f"{worst.hours:.2f}, {worst.lost}"))
    files = RECIPE["seeds"] * RECIPE["iterations"] * RECIPE["places"]
    size = files * constants.bytes / 1e9
    heads = ("workers", "hours", "busy", "parts a second", "hours as Slurm jobs", "busy", "calls of sbatch",
             "hours and workers lost, one failure in 10 hours of a worker")  # fmt: skip
    said = f"{files:,} files of parts, joined round by round to {files // RECIPE['places']}; {size:.1f} GB in all."
    return f"{markdown(heads, rows)}\n\n{said}"


def day_table(constants: Measured) -> str:
    """What a day of 1,000 cores would make: more seeds, or longer imitations."""
    rows = []
    for seeds in (5, 25, 100):
        recipe = RECIPE | {"seeds": seeds}
        parts = graph(**recipe, states=constants.states)
        found = simulate(Cluster(1000), constants, parts)
        runs = 24 / found.hours
        states = recipe["seeds"] * recipe["iterations"] * recipe["places"] * constants.states
        pooled = 2 * constants.fit_seconds_per_state * states / 3600
        rows.append(
            (
                f"{seeds}",
                f"{found.hours:.2f}",
                f"{found.busy:.0%}",
                f"{states:,.0f}",
                f"{pooled:.2f}",
                f"{runs:.1f}",
            )
        )
    most = DAY * 1000 / np.mean(constants.rollout_seconds)
    heads = ("seeds", "hours", "busy", "states", "hours of these in the pooled fit", "recipes a day")
    said = (
        f"Roll-outs alone, with every core busy: {most:,.0f} parts, "
        f"{most * constants.states / 1e6:,.0f} million states, "
        f"{most * constants.bytes / 1e12:.1f} TB."
    )
    return f"{markdown(heads, rows)}\n\n{said}"


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
