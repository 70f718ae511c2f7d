"""What every command line shares: bad input ends in one sentence, never in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from metaal_env.errors import InputError


def run_cli(main: Callable[[], object]) -> int:
    """Runs `main` and returns the exit code: 0, 2 after bad input or an unusable file, 130 after Ctrl-C.

    Use as ``sys.exit(run_cli(main))``.
    """
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # disk full, no permission: the message names the file
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue.", file=sys.stderr)
        return 130
    return 0
