"""``python -m agents.acquisition``."""

from agents.acquisition.tool.commands import entry

if __name__ == "__main__":
    entry()
