"""Evaluates acquisition strategies on tasks that none of them has seen, and says how sure the figures are.

    python evaluate.py                                     # the newest run, on its own data's unseen classes
    python evaluate.py --policy metaal-general             # a policy that ships with the package
    python evaluate.py --dataset omniglot.npz              # the same policy on other data
    python evaluate.py --strategies random margin --dataset digits
    python evaluate.py --extra-strategies my_rule.py:MyRule  # your own rule, or a scikit-activeml object
    python evaluate.py --way 5 10 20 --imbalance 0.3 inf   # a matrix of scenarios
    python evaluate.py --redraw results/NAME               # tables, figures and report again, from the rows

Finished parts are kept: run the same command again after an interruption and it continues.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

# Several workers with several threads each would fight for the cores; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from agents.evaluation.run import run_command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command_line(given, program="python evaluate.py", description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
