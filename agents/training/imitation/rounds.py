"""The rounds of imitation as parts of work: roll-outs that any worker may play, and a fit after each round."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from agents.policy.network import AcquisitionNetwork
from agents.training.imitation.examples import (
    Examples,
    Gain,
    collect_examples,
    examples_file,
    load_examples,
    require_examples,
    save_examples,
)
from agents.training.imitation.imitate import ImitationConfig, fit, fit_mean
from agents.training.task_mixture import Families, TaskMixture
from metaal_env.errors import InputError
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.runtime.executor import Executor, Part, in_this_process
from metaal_env.runtime.executor.progress import Progress
from metaal_env.runtime.interrupts import deferred_interrupts

FIRST = 10**6
"""Number of the first roll-out: other tasks than those of PPO."""


@dataclass(frozen=True)
class Imitation:
    """One imitation: all that a worker needs beside the sources of tasks, and small enough to send anywhere.

    Its files are all its state: ``imitation.pt``, the network after each round, and ``examples-*.pt``.
    """

    network: AcquisitionNetwork
    """The network at the start."""
    mixture: TaskMixture
    """Without its sources."""
    config: ImitationConfig
    folder: Path
    """Where the files lie; every worker must see it."""
    name: str = ""
    """In front of the names of its parts."""

    @property
    def checkpoint(self) -> Path:
        return self.folder / "imitation.pt"

    @property
    def ends(self) -> list[int]:
        """Roll-outs after each of which there is a fit."""
        count, rounds = self.config.iterations, self.config.rounds
        return sorted({round(count * (number + 1) / rounds) for number in range(rounds)} - {0})

    @property
    def first_returns(self) -> int:
        """The first roll-out whose gains are returns, or 0 where all gains are of one kind.

        One-step gains are of another scale than returns: with the latter, the former serve the first round alone.
        """
        return self.ends[0] if self.config.gain == "return" and self.ends else 0

    def gain(self, iteration: int) -> Gain:
        return self.config.gain if iteration >= self.first_returns else "one_step"

    def progress(self, network: AcquisitionNetwork) -> int:
        """Gives `network` the weights of the last fit, if there is one; returns how many roll-outs it has seen.

        Raises:
            InputError: the checkpoint belongs to other settings or is damaged.
        """
        if (saved := read_checkpoint(self.checkpoint, self.config)) is None:
            return 0
        network.names.check_same(saved.get("features"), f"checkpoint={str(self.checkpoint)!r}")
        with as_input_error(self.checkpoint):
            network.load_state_dict(saved["network"])
            return int(saved["iteration"])

    def part_file(self, iteration: int, place: int) -> Path:
        """Returns where the examples of one part of a roll-out are kept until its round is fitted."""
        whole = examples_file(self.folder, iteration)
        return whole.with_name(f"{whole.stem}-{place:02d}.pt")

    def parts(self) -> list[list[Part]]:
        """Returns what is left to do, round by round: the roll-outs' parts, then the fit that needs them.

        Raises:
            InputError: a file that is there belongs to other settings or is damaged.
        """
        done, rounds = self.progress(deepcopy(self.network)), []
        before: tuple[str, ...] = ()
        for begin, end in zip([0, *self.ends], self.ends, strict=False):
            if end <= done:
                for iteration in range(begin, end if done < self.config.iterations else begin):
                    self._has(examples_file(self.folder, iteration))
                continue
            missing = [
                Part(
                    f"{self.name}roll-out {iteration}.{place}",
                    collect,
                    (self, iteration, place),
                    before,
                    "roll-out",
                )
                for iteration in range(begin, end)
                if not self._has(examples_file(self.folder, iteration))
                for place in range(self.config.shapes_per_rollout)
                if not self._has(self.part_file(iteration, place))
            ]
            needed = (*before, *(part.name for part in missing))
            rounds.append(
                [*missing, Part(f"{self.name}fit {end}", fit_round, (self, end), needed, f"fit after {end}")]
            )
            before = (f"{self.name}fit {end}",)
        return rounds

    def _has(self, file: Path) -> bool:
        """Whether there are such examples, fit to go on with."""
        return load_examples(file, self.config, self.network.names) is not None


def collect(families: Families, job: Imitation, iteration: int, place: int) -> None:
    """Plays one part of a roll-out by the network of the last fit, and keeps its examples.

    Raises:
        InputError: a gain is NaN or infinite.
    """
    file, config = job.part_file(iteration, place), job.config
    if file.is_file():
        return
    network = deepcopy(job.network)
    job.progress(network)
    network.to(families[0][0].device)
    # Seeded by its numbers alone, so that it does not matter who plays it and what was played before.
    rng = np.random.default_rng([config.seed, iteration, place])
    envs = job.mixture.on(families).draw_part(FIRST + iteration, place)
    found = collect_examples(network, envs, rng, job.gain(iteration))
    if not bool(found.gain.isfinite().all()):
        raise InputError(
            f"reward: imitation met a NaN or infinite gain at roll-out {iteration}; correct the reward or choose "
            "another."
        )
    save_examples(file, config, network.names, found)


def fit_round(families: Families, job: Imitation, end: int) -> float:
    """Fits the network to all examples before roll-out `end`, writes the checkpoint, and returns the expected gain."""
    network = deepcopy(job.network)
    if job.progress(network) >= end:
        return float("nan")
    network.to(families[0][0].device)
    first = job.first_returns
    used = range(end) if end <= first else range(first, end)
    examples = Examples.joined([rollout_examples(job, iteration) for iteration in used])
    if end == job.config.iterations:
        expected = fit_mean(network, examples, job.config)
    else:  # half as long: this one only says where the next examples are collected
        expected = fit(network, examples, replace(job.config, epochs=-(-job.config.epochs // 2)))
    state = {"network": network.cpu().state_dict(), "iteration": end, "features": network.names.to_json()}
    write_checkpoint(job.checkpoint, job.config, state)
    return expected


def rollout_examples(job: Imitation, iteration: int) -> Examples:
    """Returns the examples of a roll-out; those of its parts are joined into one file."""
    whole, names = examples_file(job.folder, iteration), job.network.names
    if (saved := load_examples(whole, job.config, names)) is not None:
        return saved
    files = [job.part_file(iteration, place) for place in range(job.config.shapes_per_rollout)]
    joined = Examples.joined([require_examples(file, job.config, names) for file in files])
    save_examples(whole, job.config, names, joined)
    for file in files:
        file.unlink(missing_ok=True)
    return joined


def imitate(
    network: AcquisitionNetwork,
    mixture: TaskMixture,
    config: ImitationConfig,
    folder: Path,
    writer: SummaryWriter | None = None,
    executor: Executor | None = None,
    progress: Path | None = None,
) -> None:
    """Trains `network` in place on `mixture`; the weights are the same for any number of workers.

    Continues from what lies in `folder`: ``imitation.pt``, the network after each round, and ``examples-*.pt``, one
    file for each roll-out.

    Args:
        executor: plays roll-outs and fits; this process by default.
        progress: file in which other shells find how far it is.

    Raises:
        InputError: a checkpoint belongs to other settings or is damaged; a reward or a loss is NaN or infinite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the parts in work.
    """
    job = Imitation(deepcopy(network).cpu(), mixture.on(()), config, folder)
    parts = [part for one_round in job.parts() for part in one_round]

    def done(part: Part, result: float | None) -> None:
        if writer is not None and part.function is fit_round and result is not None:
            writer.add_scalar("imitation_by_rollout/expected_gain", result, part.arguments[1])

    if parts:
        total = config.iterations * config.shapes_per_rollout + len(job.ends)
        watcher = Progress("imitation", total, progress)
        with deferred_interrupts() as stopping:
            (executor or in_this_process()).run(
                parts, shared=mixture.families, stopping=stopping, watcher=watcher, done=done
            )
    job.progress(network)
