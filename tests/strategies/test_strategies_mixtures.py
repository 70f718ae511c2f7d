"""Strategies over strategies."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.task_cores import label, make_core, sample

from agents.loading import load_strategy
from agents.strategies.adaptive import Tailor, history
from agents.strategies.fitted.weighted_rules import MIXED, WeightedRules
from metaal_env.errors import InputError

UHERDING_ALONE = [float(name == "uherding") for name in MIXED] + [0.0] * len(MIXED)


def test_history_replays_what_happened() -> None:
    core = make_core(initial_labels=(0, 2), budget=6, pool_size=(14, 18))
    state = core.reset(sample(core, 4))
    seen = []
    for _ in range(4):
        view = core.view(state)  # its tensors belong to the running state: keep a copy
        seen.append(replace(view, labelled=view.labelled.clone()))
        label(core, state, 1)
    steps = list(history(core.view(state), load_strategy("albl")))
    assert all(bool(real.any()) for *_, real in steps)
    for row in range(4):
        mine = [(before, taken, after) for before, taken, after, real in steps if bool(real[row])]
        assert len(mine) == 4
        for (before, taken, after), then in zip(mine, seen, strict=True):
            assert torch.equal(before.labelled[row], then.labelled[row])
            assert int(before.budget_left[row]) == int(then.budget_left[row])
            assert int(before.seed[row]) == int(then.seed[row])
            torch.testing.assert_close(before.logits[row], then.logits[row])
            assert bool(after.labelled[row, taken[row]]) and not bool(before.labelled[row, taken[row]])


def test_thompson_sampling_comes_to_follow_the_rule_that_finds_classes() -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    label(core, state, 3)
    view = core.view(state)
    picks = load_strategy("tailor").select(view)
    candidates = Tailor().picks(view)
    assert bool((picks.unsqueeze(1) == candidates).any(1).all())


def test_the_mixture_of_one_rule_is_that_rule() -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    label(core, state, 2)
    view = core.view(state)
    assert torch.equal(
        WeightedRules(weights=UHERDING_ALONE).select(view), load_strategy("uherding").select(view)
    )
    with pytest.raises(InputError, match="weights has 2"):
        WeightedRules(weights=(1.0, 2.0))


def test_fitting_the_mixture_improves_its_training_return() -> None:
    core = make_core(reward_per_class=6, initial_labels=0)
    bad = WeightedRules(weights=[-w for w in UHERDING_ALONE])
    elite: list[float] = []
    bad.fit([core], tasks=24, iterations=4, population=8, progress=lambda _, value: elite.append(value))
    assert elite[-1] >= elite[0]
