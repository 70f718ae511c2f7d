"""How many classes a pool has at least, without labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.clusters import clusters

from agents.acquisition.query import select
from metaal_env.pool.class_count import cautious_class_count, effective_dimension


def test_the_effective_dimension_is_the_participation_ratio() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6)) * [3, 3, 1, 1, 0.5, 0.1]
    values = np.linalg.eigvalsh(np.cov(x.T))
    assert effective_dimension(torch.from_numpy(x)) == pytest.approx(
        values.sum() ** 2 / np.square(values).sum()
    )
    wide = torch.from_numpy(x[:20]) @ torch.randn(
        6, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    few = np.linalg.eigvalsh(np.cov(wide.numpy().T))
    assert effective_dimension(wide) == pytest.approx(few.sum() ** 2 / np.square(few).sum())


@pytest.mark.parametrize("x", [torch.zeros(5, 3), torch.ones(1, 4), torch.arange(10.0)[:, None]])
def test_pools_without_shape_have_two_classes(x: torch.Tensor) -> None:
    assert cautious_class_count(x) == 2


def test_more_classes_are_counted_in_more_dimensions_in_any_unit_and_order() -> None:
    counts = []
    for classes in (2, 10, 30):
        x = torch.from_numpy(clusters(np.arange(600) % classes, 60, noise=0.3, seed=classes))
        counts.append(cautious_class_count(x))
        order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
        assert cautious_class_count(1e6 * x[order] + 3) == counts[-1]
    assert counts[0] < counts[1] < counts[2] <= 30


def test_only_strategies_that_count_classes_are_told() -> None:
    truth = np.arange(300) % 30
    x, y = clusters(truth, 60, noise=0.3, seed=0), np.full(300, np.nan)
    inferred = cautious_class_count(torch.from_numpy(x))

    def classes(policy: str, labels: np.ndarray, **options: object) -> int:
        return select(x, labels, policy=policy, **options).views[0].logits.shape[-1]

    assert inferred > 2 and classes("partition_cover", y) == inferred and classes("margin", y) == 2
    assert classes("partition_cover", y, classes=range(4)) == 4
    y[:30] = truth[:30]
    assert classes("partition_cover", y) == classes("margin", y) == 31
