"""Converts between arrays and tensors at Gymnasium's border: actions on the way in, observations on the way out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaal_env.errors import InputError
from metaal_env.observation import SHARED


def to_numpy(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Returns an observation of `observe` as arrays of their own memory, so that users may keep and change them."""
    return {key: _array(value, copy=key in SHARED) for key, value in tensors.items()}


class OwnArrays:
    """Converts observations like `to_numpy`, into large arrays that the caller has dropped where there are some.

    Fresh memory of tens of megabytes comes from the operating system page by page, which costs as much again as the
    copying. A loop that keeps nothing but the last observation is served by two arrays in turn, and by a third where
    episodes end.
    """

    _KEPT = 3

    def __init__(self) -> None:
        self._known: dict[str, list[np.ndarray]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnArrays, ()  # copies of an environment begin without another's memory

    def to_numpy(self, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """Returns an observation of `observe` as arrays that nobody else holds or writes to."""
        return {key: self._own(key, v) if key in SHARED else _array(v) for key, v in tensors.items()}

    def _own(self, key: str, tensor: Tensor) -> np.ndarray:
        array, known = _array(tensor), self._known.setdefault(key, [])
        # A view or a tensor over an array refers to it, so that it counts as held.
        for old, count in zip(known, _references(known), strict=True):
            if count == _IDLE and _alike(old, array):
                np.copyto(old, array)
                return old
        fresh = array.copy()
        self._known[key] = [*known, fresh][-self._KEPT :]
        return fresh


def _references(arrays: list[np.ndarray]) -> list[int]:
    """Returns how many references each array has, including those that counting makes."""
    return [sys.getrefcount(array) for array in arrays]


_IDLE = _references([np.empty(0)])[0]
"""References to an array that nothing but a list holds; versions of Python count differently."""


def _alike(old: np.ndarray, array: np.ndarray) -> bool:
    """Returns whether the caller has left shape, type and flags of an array as they were handed out."""
    flags = old.flags
    return old.shape == array.shape and old.dtype == array.dtype and flags.writeable and flags.c_contiguous


class SharedArrays:
    """Converts observations and shares what does not change, read-only, instead of copying it at every step."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Tensor, np.ndarray]] = {}

    def to_numpy(self, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
        """Returns an observation of `observe` as arrays; those of `SHARED` are read-only and keep their values."""
        return {key: self._shared(key, v) if key in SHARED else _array(v) for key, v in tensors.items()}

    def _shared(self, key: str, tensor: Tensor) -> np.ndarray:
        known = self._known.get(key)
        if known is None or known[0] is not tensor:
            array = _array(tensor)
            array.flags.writeable = False
            known = self._known[key] = (tensor, array)
        return known[1].view()


def _array(tensor: Tensor, copy: bool = False) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array.copy() if copy else array


def check_actions(actions: Any, n_envs: int, n_actions: int) -> Tensor:
    """Returns a (B,) int64 tensor of actions. Raises: `InputError` for a wrong shape, type or range."""
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


def check_action(action: Any, n_actions: int) -> Tensor:
    """Returns one environment's action as a (1,) int64 tensor. Raises: `InputError` for a wrong type or range."""
    try:
        array = np.asarray(action)
    except ValueError:  # a ragged list
        array = np.asarray(None)
    if array.shape or not np.issubdtype(array.dtype, np.integer) or not 0 <= array < n_actions:
        raise InputError(f"action={action!r} must be one whole number in [0, {n_actions - 1}].")
    return torch.tensor([int(array)])
