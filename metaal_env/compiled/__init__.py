"""Compiled loops, for tensors on the CPU where numba is installed.

What they compute is computed in torch as well: that is the reference, and what every other device does. Both are equal
up to rounding.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SWITCH = "METAAL_COMPILED"
"""Environment variable; ``0`` leaves everything to torch."""

KERNELS = Path(__file__).parent / "kernels"


@cache
def _loops() -> Any:
    """Returns the module of the loops, or None without numba, with a warning where it cannot be imported."""
    if find_spec("numba") is None:
        return None
    _forget_stale_code()
    _say_that_it_compiles()
    try:
        from metaal_env.compiled import loops  # numba takes a moment to import
    except ImportError as error:  # it refuses a NumPy that is newer than itself
        warnings.warn(
            f"numba cannot be imported ({error}); torch does its work, several times slower. Update numba, or set "
            f"{SWITCH}=0.",
            stacklevel=3,
        )
        return None
    return loops


def _forget_stale_code() -> None:
    """Deletes compiled code that is older than any source: numba minds a function's own file alone."""
    changed = max(source.stat().st_mtime for source in KERNELS.glob("*.py"))
    for kept in KERNELS.glob("__pycache__/*.nb?"):
        with suppress(OSError):  # gone already, or not ours to delete
            if kept.stat().st_mtime < changed:
                kept.unlink()


def _say_that_it_compiles() -> None:
    """Tells a person at a terminal why the first use of an installation takes a while."""
    compiled = any(KERNELS.glob("__pycache__/*.nbi")) or not os.access(KERNELS, os.W_OK)
    if sys.stderr.isatty() and not compiled:
        print(f"compiling loops, once for this installation; {SWITCH}=0 does without", file=sys.stderr)


def loops_for(floats: Tensor) -> Any:
    """Returns the module `metaal_env.compiled.loops` if it serves such a tensor, else None."""
    plain = floats.device.type == "cpu" and floats.dtype == torch.float32
    if not plain or floats.requires_grad or os.environ.get(SWITCH) == "0":
        return None
    return _loops()
