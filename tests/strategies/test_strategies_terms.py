"""Rules for prices, costs and batches, and the returns that they are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from agents.evaluation.returns import play_returns
from agents.loading import load_strategy
from agents.strategies.base import Strategy, far_from_batch, similarity_to
from agents.strategies.terms import PerCost, StopByCurve, StopByGain
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.pool.view import PoolView

SMALL = {"way": 3, "pool_size": 20, "budget": 6, "reward_per_class": 5, "test_per_class": 4}


def core_of(**options: Any) -> Core:
    return make_core(cluster_dataset(), **SMALL | options)


def view_of(core: Core, labels: int = 2) -> PoolView:
    state = core.reset(core.sampler.sample(generators(8)))
    for number in range(labels):
        core.step(state, torch.full((8,), number))
    return core.view(state)


def test_scores_per_cost_lie_between_the_rule_and_the_cheapest_item() -> None:
    view = view_of(core_of(item_costs=0.6))
    assert view.terms is not None
    rule, cheapest = (
        load_strategy("uherding").select(view),
        view.terms.cost.masked_fill(~view.selectable, 99).argmin(1),
    )
    assert torch.equal(PerCost(exponent=0).select(view), rule)
    assert torch.equal(PerCost(exponent=50).select(view), cheapest)
    between = PerCost(exponent=1).select(view).unsqueeze(1)
    cost = view.terms.cost
    assert (cost.gather(1, between).squeeze(1) <= cost.gather(1, rule.unsqueeze(1)).squeeze(1) + 1e-6).all()


@pytest.mark.parametrize(
    ("eager", "patient"),
    [
        (StopByCurve(height=1e-6), StopByCurve(height=1e6)),
        (StopByGain(patience=0.0), StopByGain(patience=1e6)),
    ],
    ids=["curve", "gain"],
)
def test_rules_stop_where_labels_cost_more_than_they_bring(eager: Strategy, patient: Strategy) -> None:
    core = core_of(reward="accuracy_gain", price=(0.01, 0.05))
    nothing = play_returns(core, eager, range(6))
    assert (nothing.value == 0).all() and (nothing.labels == 0).all()
    everything = play_returns(core, patient, range(6))
    # The closed form may promise nothing at all; the curve always rises.
    assert everything.labels.mean() > 4
    if isinstance(patient, StopByCurve):
        rule = play_returns(core, load_strategy("uherding"), range(6))
        np.testing.assert_allclose(everything.value, rule.value)
    plain = view_of(core_of())
    assert torch.equal(eager.select(plain), load_strategy("uherding").select(plain)), (
        "free labels: never stops"
    )


def test_the_curve_stops_where_its_rise_falls_below_the_price() -> None:
    core = core_of(reward="accuracy_gain", price=0.04, budget=12, pool_size=30)
    strategy = StopByCurve(height=0.9, half=1.0)
    rise = [0.9 * (n + 1) / (n + 4) - 0.9 * n / (n + 3) for n in range(12)]
    expected = next(n for n, gain in enumerate(rise) if gain < 0.04)
    assert 0 < expected < 12
    assert (play_returns(core, strategy, range(4)).labels == expected).all()


def test_greedy_on_terms_stops_at_once_where_one_label_alone_earns_nothing() -> None:
    core = make_core("toy", learner="svm", reward="accuracy_gain", price=0.05, way=4, pool_size=8, budget=7,
                     class_concentration=float("inf"), reward_per_class=2, test_per_class=1)  # fmt: skip
    found = play_returns(core, load_strategy("greedy_on_terms"), range(4))
    assert (found.value == 0).all() and (found.labels == 0).all()
    free = core_of(item_costs=0.5, reward="aulc_over_money")
    best = play_returns(free, load_strategy("greedy_on_terms"), range(24)).value.mean()
    assert best > play_returns(free, load_strategy("uherding"), range(24)).value.mean()


@pytest.mark.parametrize("name", ["margin", "uherding"])
def test_picks_of_an_open_batch_are_those_of_a_batch_chosen_at_once(name: str) -> None:
    core, strategy = core_of(batch_size=3), load_strategy(name)
    state = core.reset(core.sampler.sample(generators(8)))
    for number in range(3):
        core.step(state, torch.full((8,), number))
    together = strategy.select_batch(core.view(state), 3)
    for number in range(3):
        view = core.view(state)
        pick = strategy.select(view)
        assert torch.equal(pick, together[:, number])
        if number == 2:
            near = torch.stack([1 - similarity_to(view, together[:, j]) for j in range(2)]).prod(0)
            torch.testing.assert_close(far_from_batch(view), near)
        core.step(state, pick)


def test_returns_do_not_depend_on_how_many_are_played_at_once() -> None:
    core = core_of(reward="accuracy_gain", price=(0.005, 0.05), batch_size=(1, 3), item_costs=0.4)
    strategy = StopByCurve()
    one, other = (play_returns(core, strategy, range(9), batch_size=size) for size in (9, 2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(set(one.labels)) > 1
    with pytest.raises(InputError, match="seeds"):
        play_returns(core, strategy, [])
