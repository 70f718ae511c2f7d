"""The beam of one who sees the labels: with a width of 1 greedy look-ahead, and the best sequence if it keeps all."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from agents.evaluation import play
from agents.loading import load_strategy
from benchmarks.policy.horizon import beam
from metaal_env.core import Core
from metaal_env.make import make_core


@pytest.fixture(scope="module")
def core() -> Core:
    return make_core("digits", way=3, pool_size=6, budget=3, reward_per_class=8, test_per_class=8)


def test_a_beam_of_one_is_greedy_look_ahead(core: Core) -> None:
    episodes = play(core, load_strategy("greedy_lookahead"), range(4), measure_on="reward")
    by_label = episodes.curves["accuracy"][:, 1:].mean(1)
    np.testing.assert_allclose(beam(core, range(4), 1)[0], by_label, atol=1e-6)


def test_a_beam_that_keeps_every_set_finds_the_best_sequence(core: Core) -> None:
    best = 0.0
    for order in permutations(range(6), 3):
        state = core.reset(core.sampler.sample([np.random.default_rng(0)]))
        found = []
        for item in order:
            core.step(state, torch.tensor([item]))
            found.append(float(state.metrics.accuracy[0]))
        best = max(best, float(np.mean(found)))
    reward, test = beam(core, range(1), 40)
    assert reward[0] == pytest.approx(best, abs=1e-6) and 0 <= test[0] <= 1
