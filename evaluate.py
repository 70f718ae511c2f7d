"""Evaluates acquisition strategies, as ``metaal evaluate`` does: ``python evaluate.py --help``."""

import sys

from agents.evaluation.run import main

if __name__ == "__main__":
    sys.exit(main(program="evaluate.py"))
