"""Slurm jobs by submitit (extra ``cluster``): batches of parts; one array of jobs for all that start at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from metaal_env.errors import InputError, brief
from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.local import environment_of_children
from metaal_env.runtime.executor.parts import (
    Outcome,
    Part,
    Shared,
    WorkerLost,
    knows_shared,
    payload,
    unpickled,
    work,
)
from metaal_env.runtime.files import write_atomic

MINUTES = 120
"""Time limit of a job where none is given; one that is cut off is queued again."""

POLL = 0.25
"""Seconds between looks at the files of jobs. Slurm itself is asked far less often, see submitit's watcher."""


class Job:
    """Does the work of a job; submitit pickles it, and asks it what to do when Slurm is about to end the job."""

    def __call__(self, calls: bytes, shared: tuple[str, str] | None) -> bytes:
        """Computes a batch; `shared` is the digest and the file of an object that its parts need."""
        if shared is None or knows_shared(shared[0]):
            return work(calls)
        return work(calls, (shared[0], Path(shared[1]).read_bytes()))

    def checkpoint(self, *arguments: Any) -> Any:
        """Queues the same batch again: finished parts have left their files, the part in work is begun again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


class SubmititJobs(Backend):
    """Computes parts in jobs that submitit starts.

    Args:
        cluster: ``"slurm"``, or ``"local"`` for processes of this machine that are started and watched like jobs.
        workers: jobs at a time.
        folder: where job files and logs go; every machine must see it.
        parameters: of submitit's executor, such as ``timeout_min`` or ``slurm_partition``.

    Raises:
        InputError: submitit is not installed or finds no Slurm here, or a parameter is unknown.
    """

    batches = True

    def __init__(self, cluster: str, workers: int, folder: Path, parameters: Mapping[str, Any] | None = None):
        try:
            import submitit
        except ImportError as error:
            raise InputError(
                "cluster='slurm' needs the package submitit; install it: pip install submitit."
            ) from error
        self.slots, self.folder = workers, folder
        self.place = f"{workers} jobs of {cluster}"
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except RuntimeError as error:
            raise InputError(
                f"cluster={cluster!r} is not available here ({brief(error)}); run on a machine that has it."
            ) from error
        given = {"timeout_min": MINUTES, "cpus_per_task": 1, "name": "metaal"} | dict(parameters or {})
        try:
            self.executor.update_parameters(**given)
        except (ValueError, TypeError, NameError) as error:
            raise InputError(
                f"cluster_options={sorted(parameters or {})}: {brief(error)}; give parameters of submitit."
            ) from error
        self.calls = 0
        """Submissions so far."""
        self._arrays = cluster == "slurm"
        self._jobs: set[Any] = set()

    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        place = None if shared is None else (shared.digest, str(self._place(shared)))
        sent = [payload(batch, shared) for batch in batches]
        # One array of jobs for all batches is one call of Slurm's.
        together = self.executor.batch() if self._arrays else nullcontext()
        with environment_of_children(), together:
            jobs = [self.executor.submit(Job(), calls, place) for calls in sent]
        self.calls += 1 if self._arrays else len(jobs)
        if not self._arrays:
            for job in jobs:
                job._results_timeout_s = 1  # no network between this disk and the job's
        self._jobs.update(jobs)
        return list(jobs)

    def _place(self, shared: Shared) -> Path:
        """Writes a shared object once, where every job finds it."""
        file = self.folder / f"shared-{shared.digest}.pkl"
        if not file.is_file():
            write_atomic(file, shared.data)
        return file

    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        until = time.monotonic() + seconds
        while True:
            jobs: list[Any] = list(handles)
            ended = [job for job in jobs if job.done()]
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(POLL)

    def outcomes(self, handle: Hashable) -> list[Outcome]:
        job: Any = handle
        self._jobs.discard(job)
        try:
            data: bytes = job.result()
        except RuntimeError as error:  # submitit's own are all of this type
            last = str(error).strip().splitlines()[-1]
            raise WorkerLost(
                f"job {job.job_id} ended without a result: {last}; its log is {job.paths.stderr}"
            ) from error
        return unpickled(data)

    def kill(self) -> None:
        for job in self._jobs:
            with suppress(Exception):  # it may have ended in between
                job.cancel(check=False)
        self._jobs = set()
