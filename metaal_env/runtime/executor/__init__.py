"""Spreads parts of a computation over this process, local processes, Slurm jobs or a Ray cluster.

Nothing else in this project starts processes. A part computes on one thread and depends on its arguments alone, so
results are the same for any number of workers:

    with open_executor(WorkerOptions(workers=4)) as executor:
        squares = executor.map(pow, [(2, 2), (3, 2)])
"""

from metaal_env.runtime.executor.executor import Executor, PartsFailed
from metaal_env.runtime.executor.options import CLUSTERS, WorkerOptions, in_this_process, open_executor
from metaal_env.runtime.executor.parts import Part

__all__ = ["CLUSTERS", "Executor", "Part", "PartsFailed", "WorkerOptions", "in_this_process", "open_executor"]
