"""The settings ``--workers``, ``--cluster`` and ``--cluster-options``, and the executor that they describe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metaal_env.errors import InputError, unknown_name
from metaal_env.runtime.command_line import as_value
from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.executor import Executor

CLUSTERS = ("local", "slurm", "slurm-here", "ray")
"""Processes of this machine; Slurm's jobs; processes of this machine that are started like jobs, to try a set-up
without Slurm; actors of Ray."""

MOST = 10_000
"""More workers are a mistake; see docs/scale.md."""

JOBS = "jobs"
"""Folder of job files within a folder of results."""


@dataclass(frozen=True)
class WorkerOptions:
    """Says where parts are computed, and how many at a time."""

    workers: int = 1
    """Parts that are computed at a time: processes, jobs or actors. 0 = one per core, at most 8."""
    cluster: str = "local"
    """local: processes of this machine; slurm: jobs (extra cluster); slurm-here: processes that are started like jobs,
    to try a set-up; ray: actors of Ray (extra ray), on the cluster that RAY_ADDRESS names or on this machine."""
    cluster_options: tuple[str, ...] = ()
    """Parameters of jobs as NAME=VALUE, e.g. slurm_partition=short timeout_min=60 mem_gb=4."""

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= MOST:
            raise InputError(
                f"workers={self.workers} must lie between 0, which takes one per core, and {MOST:,}."
            )
        if self.cluster not in CLUSTERS:
            raise unknown_name("cluster", self.cluster, CLUSTERS)
        read_parameters(self.cluster_options)

    @property
    def count(self) -> int:
        """Number of workers."""
        return self.workers or min(os.cpu_count() or 1, 8)

    def for_parts(self, number: int) -> WorkerOptions:
        """Returns options for `number` parts, which need no more workers than that."""
        return replace(self, workers=max(1, min(self.count, number)))


def read_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Returns parameters given as NAME=VALUE; numbers are read as such. Raises: `InputError`."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name.isidentifier() or not equals:
            raise InputError(f"cluster_options={word!r} must have the form NAME=VALUE.")
        found[name] = as_value(text)
    return found


def open_executor(options: WorkerOptions, folder: Path | None = None) -> Executor:
    """Returns the executor that `options` describe; close it, or use it as a context.

    Args:
        folder: of results; jobs put their files into its `JOBS`. Every machine must see it.

    Raises:
        InputError: the cluster's package is not installed or the cluster cannot be reached.
    """
    return Executor(_backend(options, folder))


def in_this_process() -> Executor:
    """Returns an executor that computes one part after the other, here."""
    return Executor()


def _backend(options: WorkerOptions, folder: Path | None) -> Backend | None:
    """The backend; None for this process. Each is imported only where it is used."""
    if options.cluster == "local":
        if options.count == 1:
            return None
        from metaal_env.runtime.executor.local import LocalProcesses

        return LocalProcesses(options.count)
    if options.cluster == "ray":
        from metaal_env.runtime.executor.ray_cluster import RayActors

        return RayActors(options.count)
    from metaal_env.runtime.executor.slurm import SubmititJobs

    kind = "slurm" if options.cluster == "slurm" else "local"
    parameters = read_parameters(options.cluster_options)
    return SubmititJobs(kind, options.count, (folder or Path()) / JOBS, parameters)
