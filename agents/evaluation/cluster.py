"""Cells on a cluster: submitit's executors (extra ``cluster``), which write to the same shared folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metaal_env.errors import InputError

CLUSTERS = ("slurm", "local", "debug")
"""Slurm; processes of this machine started as jobs; this process."""

MINUTES = 120
"""Time limit of a job; a cell takes minutes, and one that is cut off is played again by the next call."""


def cluster_executor(cluster: str, folder: Path) -> Any:
    """Returns an executor for `workers.run_cells`: one job per cell, one core each.

    Args:
        cluster: one of `CLUSTERS`.
        folder: where job files and logs go; every machine must see it.

    Raises:
        InputError: unknown cluster, or submitit is not installed or finds no Slurm here.
    """
    if cluster not in CLUSTERS:
        raise InputError(f"cluster={cluster!r} is unknown; choose one of: {', '.join(CLUSTERS)}.")
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            f"cluster={cluster!r} needs the package submitit; install it: pip install submitit."
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=folder / "jobs", cluster=cluster)
    except RuntimeError as error:
        raise InputError(
            f"cluster={cluster!r} is not available here ({error}); run on a machine that has it."
        ) from error
    executor.update_parameters(timeout_min=MINUTES, cpus_per_task=1, name="metaal")
    return executor
