"""What crosses Gymnasium's border: actions come in as arrays, observations go out as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaal_env.errors import InputError


def to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Returns an observation as new arrays: Gymnasium forbids handing out memory twice, for users keep observations."""
    return {key: value.cpu().numpy().copy() for key, value in tensors.items()}


def check_actions(actions: Any, n_envs: int, n_actions: int) -> Tensor:
    """(B,) int64 tensor of actions. Raises: `InputError` for wrong shape, type or range."""
    try:
        array = np.asarray(actions)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.shape != (n_envs,) or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"action={actions!r} of shape {array.shape} and type {array.dtype} must be ({n_envs},) integers."
        )
    if array.size and (array.min() < 0 or array.max() >= n_actions):
        raise InputError(f"action={array.tolist()} must lie in [0, {n_actions - 1}].")
    return torch.from_numpy(array.astype(np.int64))
