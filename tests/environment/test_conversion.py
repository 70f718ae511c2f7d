"""Arrays of observations: memory that callers have dropped is used again, what they hold never is."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from metaal_env.conversion import OwnArrays

VALUES = torch.arange(12.0).reshape(3, 4)


def embeddings(arrays: OwnArrays, shift: float = 0) -> np.ndarray:
    return arrays.to_numpy({"embeddings": VALUES + shift})["embeddings"]


def test_dropped_arrays_are_used_again() -> None:
    arrays = OwnArrays()
    places = set()
    last = embeddings(arrays)
    for shift in range(1, 20):
        last = embeddings(arrays, shift)  # the previous one is held until here
        assert np.array_equal(last, VALUES + shift)
        places.add(last.ctypes.data)
    assert len(places) == 2


@pytest.mark.parametrize(
    "hold", [lambda a: a, lambda a: a[1:], lambda a: a.T.reshape(4, 3), torch.from_numpy, memoryview]
)
def test_what_a_caller_still_holds_stays_as_it_was(hold: Callable[[np.ndarray], Any]) -> None:
    arrays = OwnArrays()
    held = [hold(embeddings(arrays, shift)) for shift in range(8)]
    for shift, value in enumerate(held):
        assert np.array_equal(np.asarray(value), np.asarray(hold(np.array(VALUES + shift))))


def test_arrays_that_a_caller_changed_are_whole_again_or_left_alone() -> None:
    arrays = OwnArrays()
    for spoil in (
        lambda a: a.fill(np.nan),
        lambda a: a.setflags(write=False),
        lambda a: setattr(a, "shape", (12,)),
        lambda a: setattr(a, "dtype", np.int32),
    ):
        for _ in range(4):
            spoil(embeddings(arrays))
            found = embeddings(arrays, 5)
            assert found.flags.writeable and np.array_equal(found, VALUES + 5)


def test_another_shape_gets_its_own_arrays() -> None:
    arrays = OwnArrays()
    embeddings(arrays)
    wide = arrays.to_numpy({"embeddings": torch.ones(2, 7)})["embeddings"]
    assert wide.shape == (2, 7) and embeddings(arrays).shape == (3, 4)


def test_a_copy_begins_without_another_s_memory() -> None:
    arrays = OwnArrays()
    first = embeddings(arrays)
    assert not np.shares_memory(embeddings(copy.deepcopy(arrays)), first)
