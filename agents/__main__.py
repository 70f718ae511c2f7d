"""``python -m agents``: the same as ``metaal``."""

from agents.command_line import entry

if __name__ == "__main__":
    entry()
