"""``python -m agents.acquisition``."""

import os

# Before torch is imported: two busy threads on two cores wait for each other more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from agents.acquisition.tool.commands import entry

if __name__ == "__main__":
    entry()
