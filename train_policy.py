"""Trains an acquisition policy, as ``metaal train`` does: ``python train_policy.py --help``."""

import sys

from agents.training.commands import main

if __name__ == "__main__":
    sys.exit(main(program="train_policy.py"))
