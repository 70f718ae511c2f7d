"""Options of a vector environment's resets: when ended episodes start anew, their seeds, which ones a reset is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from metaal_env.errors import InputError


def parse_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Returns Gymnasium's mode from itself or from its value, such as ``"NextStep"``. Raises: `InputError`."""
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        values = ", ".join(repr(known.value) for known in AutoresetMode)
        raise InputError(
            f"autoreset_mode={mode!r} is unknown; choose one of: {values}, or a gymnasium.vector.AutoresetMode."
        ) from error


def parse_seeds(seed: int | Sequence[int | None] | None, n_envs: int) -> list[int | None]:
    """Returns the seed of each environment: seed, seed + 1, … of an integer. Raises: `InputError`."""
    if seed is None or isinstance(seed, (int, np.integer)):
        return [None if seed is None else int(seed) + i for i in range(n_envs)]
    if not isinstance(seed, (list, tuple, np.ndarray)):
        raise InputError(f"seed={seed!r} must be a whole number, one for each environment, or None.")
    if len(seed) != n_envs:
        raise InputError(f"seed has {len(seed)} entries for num_envs={n_envs}; give one each.")
    return list(seed)


def parse_reset_mask(options: dict[str, Any] | None, n_envs: int) -> np.ndarray:
    """Returns which environments a reset is for, (n_envs,) bool: all without ``options["reset_mask"]``.

    Raises:
        InputError: another shape or type, or nothing to reset.
    """
    if not options or "reset_mask" not in options:
        return np.ones(n_envs, dtype=bool)
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (n_envs,):
        raise InputError(f"options['reset_mask']={mask!r} must be a NumPy array of {n_envs} booleans.")
    if not mask.any():
        raise InputError("options['reset_mask'] selects no environment; set at least one entry to True.")
    return mask.copy()
