"""Rules for prices, costs and batches, and the returns that they are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from agents.loading import load_strategy
from agents.strategies.base import far_from_batch, similarity_to
from agents.strategies.terms import PerCost, Stopping
from agents.training.validation import play_returns
from metaal_env.core import Core
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
    cost = view.terms.cost
    rule, cheapest = load_strategy("uherding").select(view), cost.masked_fill(~view.selectable, 99).argmin(1)
    assert torch.equal(PerCost(power=0).select(view), rule)
    assert torch.equal(PerCost(power=50).select(view), cheapest)
    between = PerCost(power=1).select(view).unsqueeze(1)
    assert (cost.gather(1, between).squeeze(1) <= cost.gather(1, rule.unsqueeze(1)).squeeze(1) + 1e-6).all()


CONDITIONS: list[Any] = [("count", 1e-6, 1e6), ("mean_confidence", 1e-6, 1e6), ("best_gain", 0.0, 1e6)]


@pytest.mark.parametrize(("condition", "eager", "patient"), CONDITIONS)
def test_rules_stop_where_labels_cost_more_than_they_bring(
    condition: Any, eager: float, patient: float
) -> None:
    core = core_of(reward="accuracy_gain", price=(0.01, 0.05))
    nothing = play_returns(core, Stopping("uherding", condition, eager, 1.0), range(6))
    if condition == "count":
        assert (nothing["labels"] == 1).all() or (nothing["labels"] == 0).all()
    else:
        assert (nothing["return"] == 0).all() and (nothing["labels"] == 0).all()
    everything = play_returns(core, Stopping("uherding", condition, patient, 1.0), range(6))
    assert everything["labels"].mean() > 4  # the closed form may promise nothing at all
    plain = view_of(core_of())
    free = Stopping("uherding", condition, eager, 1.0).select(plain)
    assert torch.equal(free, load_strategy("uherding").select(plain)), "free labels: never stops"


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_number_of_labels_falls_with_a_power_of_the_price(power: float) -> None:
    core = core_of(reward="accuracy_gain", price=(0.01, 0.09), budget=12, pool_size=30)
    state = core.reset(core.sampler.sample(generators(6)))
    expected = np.ceil(6 * (0.01 / state.terms.price.numpy()) ** power - 1e-4).clip(max=12)
    found = play_returns(core, Stopping("uherding", "count", 6.0, power), range(6))["labels"]
    assert np.array_equal(found, expected) and len(set(found)) > 1


def test_greedy_on_terms_stops_at_once_where_one_label_alone_earns_nothing() -> None:
    core = make_core("toy", learner="svm", reward="accuracy_gain", price=0.05, way=4, pool_size=8, budget=7,
                     class_concentration=float("inf"), reward_per_class=2, test_per_class=1)  # fmt: skip
    found = play_returns(core, load_strategy("greedy_on_terms"), range(4))
    assert (found["return"] == 0).all() and (found["labels"] == 0).all()
    free = core_of(item_costs=0.5, reward="aulc_over_money")
    best = play_returns(free, load_strategy("greedy_on_terms"), range(24))["return"].mean()
    assert best > play_returns(free, load_strategy("uherding"), range(24))["return"].mean()


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
    strategy = Stopping("uherding", "count", 5.0, 0.5)
    one, other = (play_returns(core, strategy, range(9), batch_size=size) for size in (9, 2))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], atol=1e-6, err_msg=name)
    assert len(set(one["labels"])) > 1
