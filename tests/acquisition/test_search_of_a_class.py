"""Learned policies leave the choice to a coverage rule while all labels are of one class."""

from __future__ import annotations

import numpy as np
import pytest

from agents.acquisition.policies import ALIKE, SecondClass
from agents.acquisition.query import select
from agents.policy.reasons import in_words, reasons


def pool(labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(size=(95, 4)), rng.normal(size=(5, 4)) + 9]  # the last five are of a rare class
    y = np.full(100, np.nan)
    y[: len(labels)] = labels
    return x, y


def test_it_finds_the_rare_class_at_once() -> None:
    x, y = pool([0] * ALIKE)
    found = select(x, y, batch_size=2)
    assert isinstance(found.strategy, SecondClass) and found.picks[0] >= 95
    assert "one class so far" in in_words(reasons(found.strategy, found.views[0], found.places[0]))


@pytest.mark.parametrize(
    ("labels", "policy"),
    [([0] * (ALIKE - 1), None), ([0] * ALIKE + [1], None), ([0] * ALIKE, "uherding")],
    ids=["fewer labels", "two classes", "a rule"],
)
def test_else_the_policy_chooses(labels: list[int], policy: str | None) -> None:
    found = select(*pool(labels), policy=policy)
    assert not isinstance(found.strategy, SecondClass)
