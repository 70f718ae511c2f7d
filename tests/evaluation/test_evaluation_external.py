"""Strategies from elsewhere: a user's class, other streams of the same rule, and scikit-activeml objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation_stubs import core

from agents.evaluation import pair, play
from agents.evaluation.statistics.intervals import difference
from agents.loading import load_strategy
from agents.strategies.scikit_activeml import QueryStrategyAdapter
from metaal_env.errors import InputError

OWN = """
import torch
from agents.strategies import Strategy

class Last(Strategy):
    def score(self, view):
        return torch.arange(view.valid.shape[1]).expand_as(view.valid).float()

class Broken(Strategy):
    def score(self, view):
        raise RuntimeError("nothing works")
"""

FOREIGN = """
from skactiveml.pool import CoreSet, QueryByCommittee, RandomSampling, UncertaintySampling

margin = UncertaintySampling(method="margin_sampling")
core_set = CoreSet()
committee = QueryByCommittee()
Random = RandomSampling
number = 7
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN)
    return str(tmp_path / "own.py")


@pytest.fixture
def foreign(tmp_path: Path) -> str:
    pytest.importorskip("skactiveml")
    (tmp_path / "foreign.py").write_text(FOREIGN)
    return str(tmp_path / "foreign.py")


def test_a_users_class(own: str) -> None:
    episodes = play(core(), load_strategy(f"{own}:Last"), [0])
    assert episodes.picks[0].tolist() == [29, 28, 27, 26, 25]


def test_scikit_activeml_margin_is_our_margin(foreign: str) -> None:
    """The object sees the inner learner's probabilities, so both ask alike once classes differ in them."""
    c = core(initial_labels=12)
    theirs = play(c, load_strategy(f"{foreign}:margin"), range(8))
    ours = play(c, load_strategy("margin"), range(8))
    assert np.array_equal(theirs.picks, ours.picks)


@pytest.mark.parametrize("name", ["margin", "core_set", "Random"])
def test_scikit_activeml_objects_play(foreign: str, name: str) -> None:
    c = core(budget=(2, 4), pool_size=(12, 20), way=(2, 3), label_noise=0.2, distractors=0.2)
    first, again = (play(c, load_strategy(f"{foreign}:{name}"), range(5)) for _ in range(2))
    assert np.array_equal(first.picks, again.picks)
    assert np.array_equal((first.picks >= 0).sum(1), first.budget)


def test_queries_that_need_more_are_refused(foreign: str) -> None:
    with pytest.raises(InputError, match="ensemble"):
        load_strategy(f"{foreign}:committee")
    with pytest.raises(InputError, match="number"):
        load_strategy(f"{foreign}:number")
    with pytest.raises(InputError, match="absent"):
        load_strategy(f"{foreign}:absent")


def test_adapter_leaves_the_users_object_alone(foreign: str) -> None:
    from skactiveml.pool import UncertaintySampling

    mine = UncertaintySampling(random_state=5)
    play(core(), QueryStrategyAdapter(mine), [0])
    assert mine.random_state == 5 and not hasattr(mine, "random_state_")


def test_against_itself_under_another_seed() -> None:
    """A/A on real episodes: `random` and `random@k` differ, but significantly so only at the nominal rate."""
    c, found = core(budget=4, pool_size=20, test_per_class=5), 0
    arms = {
        spec: play(c, load_strategy(spec), range(1200), batch_size=400) for spec in ("random", "random@1")
    }
    assert not np.array_equal(arms["random"].picks, arms["random@1"].picks)
    values = pair(arms).values
    for k in range(40):  # forty independent comparisons of thirty tasks each
        a, b = values[30 * k : 30 * k + 30].T
        result = difference(a, b, seed=k).interval
        found += result.low > 0 or result.high < 0
    # Binomial(40, .05): more than 6 has probability .003.
    assert found <= 6
