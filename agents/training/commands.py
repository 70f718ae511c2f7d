"""``metaal train`` in its three forms: one run, a recipe, or a look at a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agents.training import run
from metaal_env.runtime.command_line import run_command


def main(arguments: Sequence[str] | None = None, program: str = "metaal train") -> int:
    """Reads the command line and returns the exit code.

    With ``--recipe`` it carries out a recipe, with ``--status`` it looks at a run; each has options of its own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = {word.partition("=")[0] for word in given}
    if "--recipe" in words:
        from agents.training.general import train as recipe

        return run_command(
            recipe.RecipeOptions, recipe.train_by_recipe, recipe.__doc__, arguments=given, program=program
        )
    if "--status" in words:
        from agents.training.status import StatusOptions, show_status

        return run_command(StatusOptions, show_status, show_status.__doc__, arguments=given, program=program)
    return run.main(given, program)
