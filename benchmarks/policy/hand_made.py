"""Hand-made answers to prices, batches, costs and targets, each tuned on validation tasks as a policy is.

A rule says which item, an option says the rest: when to stop, how much a cost counts, or how a batch is spread. All
rules with all options play the validation tasks of a problem, and the one of the highest mean return is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from agents.loading import load_strategy
from agents.strategies.base import Strategy
from agents.strategies.terms import Condition, PerCost, Stopping, stops
from agents.training.validation import play_returns
from metaal_env.core import Core
from metaal_env.features import POOL_FEATURES

CONDITIONS: tuple[Condition, ...] = ("count", "mean_confidence", "best_gain")

RULES = ("margin", "max_herding", "uherding", "partition_lookahead")
"""Rules for items: uncertainty, coverage, both, and our own look-ahead over drawn partitions."""

COST_POWERS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
"""Powers of the cost by which a rule's score is divided; with 1, it is the gain for a unit of cost."""


@dataclass(frozen=True)
class Answer:
    """A tuned hand-made answer."""

    words: str
    strategy: Strategy
    validation: float
    """Mean return on the validation tasks."""


def best_answer(core: Core, seeds: range) -> Answer:
    """Returns the answer of the highest mean return on the tasks of `seeds`."""
    if core.config.can_stop:
        return max(
            (_best_stopping(core, name, seeds) for name in RULES), key=lambda answer: answer.validation
        )
    found = [
        Answer(words, strategy, float(play_returns(core, strategy, seeds)["return"].mean()))
        for words, strategy in _answers(core)
    ]
    return max(found, key=lambda answer: answer.validation)


def _answers(core: Core) -> Iterator[tuple[str, Strategy]]:
    for name in RULES:
        rule = load_strategy(name)
        if core.config.item_costs:
            for power in COST_POWERS:
                yield f"{name} / cost^{power:g}", PerCost(rule, power)
        elif core.config.max_batch > 1:
            yield f"{name} by batches", rule  # which it spreads itself
        else:
            yield name, rule


def _best_stopping(core: Core, name: str, seeds: range) -> Answer:
    """As rules do not look at the price, one play to the budget serves to tune when they stop."""
    rule = load_strategy(name)
    accuracy, values, price = _to_the_end(core, rule, seeds)
    labels = np.arange(accuracy.shape[1])
    best: tuple[float, Condition, float, float] = (-np.inf, "count", 0.0, 0.0)
    for condition in CONDITIONS:
        for factor in np.geomspace(0.02, 200, 80):
            for power in (0.25, 0.5, 0.75, 1.0, 1.25):
                stop = stops(condition, factor, power, labels, price[:, None], values)
                best = max(best, (_mean_return(accuracy, price, stop), condition, float(factor), power))
    mean, condition, factor, power = best
    words = f"{name}, stopping by {condition} ({factor:.3g}, {power:g})"
    return Answer(words, Stopping(rule, condition, factor, power), mean)


def _mean_return(accuracy: np.ndarray, price: np.ndarray, stop: np.ndarray) -> float:
    stop = np.broadcast_to(stop, accuracy.shape).copy()
    stop[:, -1] = True
    at, rows = stop.argmax(1), np.arange(len(stop))
    return float((accuracy[rows, at] - accuracy[:, 0] - price * at).mean())


@torch.no_grad()
def _to_the_end(
    core: Core, rule: Strategy, seeds: range
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Accuracies (n, T + 1) of episodes without a stop, features of conditions (n, T + 1), and prices (n,)."""
    names = ("mean_confidence", "best_gain")
    task = core.sampler.sample([np.random.default_rng(seed) for seed in seeds])
    state = core.reset(task)
    accuracy, values = [], {name: [] for name in names}  # type: ignore[var-annotated]
    for step in range(core.config.max_actions + 1):
        view = core.view(state)
        accuracy.append(state.metrics.accuracy)
        for name in names:
            values[name].append(POOL_FEATURES[name].function(view))
        if step < core.config.max_actions:
            core.step(state, rule.select(view))
    columns = {name: torch.stack(value, 1).numpy() for name, value in values.items()}
    return torch.stack(accuracy, 1).numpy(), columns, task.price.numpy()
