"""Trains one acquisition policy for images, texts, tables and spaces of other kinds, from a mixture of tasks.

    python -m benchmarks.policy.general_policy --data DATA                     # → runs/general-all-0 … -4, general-all
    python -m benchmarks.policy.general_policy --data DATA --sources images    # never sees texts and tables
    python -m benchmarks.policy.general_policy --data DATA --sources synthetic # never sees real data

`agents.training.general.sources` says where the data come from and which are held back.
"""

import sys

from agents.training.general.train import GeneralConfig, train_general
from metaal_env.runtime.command_line import run_command

if __name__ == "__main__":
    sys.exit(run_command(GeneralConfig, train_general, __doc__))
