"""Says which files of a folder are left out because they cannot be read."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

_NAMED = 10


def warn_of_left_out(broken: Collection[Path], root: Path, kind: str) -> None:
    """Warns of the files that are left out, and names the first ones.

    Args:
        root: Folder that their names start from.
        kind: What they are, e.g. ``"images"``.
    """
    if broken:
        named = ", ".join(repr(file.relative_to(root).as_posix()) for file in list(broken)[:_NAMED])
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        warnings.warn(f"{len(broken)} unreadable {kind} are left out: {named}{more}.", stacklevel=3)
