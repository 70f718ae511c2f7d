"""``metaal``: one command for training, evaluation and labelling one's own items."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import get_args

from metaal_env.errors import unknown_name

USAGE = "usage: metaal COMMAND [OPTIONS]    (metaal COMMAND --help lists the options)"


def _train(arguments: Sequence[str]) -> int:
    """Train an acquisition policy, and judge it on classes that it has never seen."""
    from agents.training.commands import main

    return main(arguments)


def _evaluate(arguments: Sequence[str]) -> int:
    """Compare strategies on paired, unseen tasks, with intervals, figures and a report."""
    from agents.evaluation.run import main

    return main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"train": _train, "evaluate": _evaluate}
"""Commands beside those of `agents.acquisition.tool`, which label one's own items. Each imports only what it needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first word names, and returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"metaal {version('metaal')}")
        return 0
    if given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    if given[0] not in (known := command_lines()):
        print(f"error: {unknown_name('command', given[0], known)}", file=sys.stderr)
        return 2
    from agents.acquisition.tool.commands import main as label

    return label(given)


def command_lines() -> dict[str, str]:
    """Returns name → description of every command."""
    from agents.acquisition.tool.commands import Command

    lines = {name: str(run.__doc__) for name, run in COMMANDS.items()}
    for kind, subcommand in map(get_args, get_args(Command)):
        lines[subcommand.name] = str(kind.__doc__)
    return lines


def overview() -> str:
    """Returns every command with one line of what it does."""
    lines = command_lines()
    width = max(map(len, lines))
    commands = [f"  {name:{width}}  {' '.join(text.split())}" for name, text in lines.items()]
    return "\n".join([USAGE, "", *commands])


def entry() -> None:
    """Runs the console script ``metaal``."""
    sys.exit(main())
