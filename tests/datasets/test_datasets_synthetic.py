"""Synthetic spaces: reproducible, of every difficulty and dimension, refused under a wrong name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metaal_env.datasets import load_dataset
from metaal_env.datasets.sources.synthetic import CLASSES, PER_CLASS, space
from metaal_env.errors import InputError


def accuracy(number: int) -> float:
    """Of nearest means of five items a class, ten classes."""
    items = space(number).inputs.reshape(CLASSES, PER_CLASS, -1)[:10]
    distance = torch.cdist(items[:, 5:].flatten(0, 1), items[:, :5].mean(1))
    return float((distance.argmin(1).view(10, -1) == torch.arange(10).unsqueeze(1)).float().mean())


def test_a_space_depends_on_its_number_alone() -> None:
    first, again, other = load_dataset("synthetic:3"), space(3), space(4)
    assert first.name == "synthetic:3" and first is load_dataset("synthetic:3")
    assert torch.equal(first.inputs, again.inputs) and first.inputs.shape != other.inputs.shape
    assert np.bincount(first.labels.numpy()).tolist() == [PER_CLASS] * CLASSES
    assert float(first.inputs.square().mean()) == pytest.approx(1, abs=1e-4)
    assert first.splits_by == "class"


def test_spaces_are_hard_and_easy_low_and_high_dimensional() -> None:
    found = np.array([accuracy(number) for number in range(40)])
    assert found.min() < 0.35 and found.max() > 0.9 and 0.4 < np.median(found) < 0.8
    dims = {space(number).inputs.shape[1] for number in range(40)}
    assert min(dims) < 16 and max(dims) > 150


def test_some_spaces_have_outliers() -> None:
    def farthest(number: int) -> float:
        centred = space(number).inputs - space(number).inputs.mean(0)
        length = centred.norm(dim=1)
        return float(length.max() / length.median())

    found = [farthest(number) for number in range(40)]
    assert min(found) < 2 and max(found) > 5


@pytest.mark.parametrize(
    "name", ["synthetic:", "synthetic:-1", "synthetic:1.5", "synthetic:²", "synthetic:1000000000"]
)
def test_a_wrong_number_is_named(name: str) -> None:
    with pytest.raises(InputError, match="whole number"):
        load_dataset(name)
