"""Tasks: an unlabelled pool, a reward set and a test set of a few classes; `sampler.py` draws them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from metaal_env.errors import InputError

Range = int | tuple[int, int]
FloatRange = float | tuple[float, float]
COST_DEVIATIONS = 2
"""Deviations around the middle at which the logarithm of an item's cost is cut."""
MAX_POOL = 1_000_000
"""Largest pool: arrays of this length are made for every task before a single item is drawn."""
_LEAST = {"way": 2, "pool_size": 2, "budget": 1, "initial_labels": 0, "batch_size": 1}
"""Least values of the ranges of whole numbers."""


@dataclass(frozen=True)
class TaskConfig:
    """Describes tasks. A range is inclusive, ``(low, high)``; one number means always that number.

    Raises:
        InputError: any value out of range; names the argument, its value and the remedy.
    """

    way: Range = 10
    """Classes in a task: one number, or a range as two."""
    pool_size: Range = 100
    """Unlabelled items in the pool: one number, or a range as two."""
    budget: Range = 20
    """Labels that may be bought in an episode: one number, or a range as two."""
    initial_labels: Range = 0
    """Labels given before the first action, one number or a range as two; 0 = cold start."""
    class_concentration: float = 1.0
    """Concentration of the Dirichlet distribution that draws the class shares of a pool: small values make pools
    unbalanced, inf makes them balanced."""
    rare_share: float = 0.0
    """Share of the pool of one class, drawn at random, as of fraud among payments; the others share the rest as above.
    At 0 no class is singled out."""
    label_noise: float = 0.0
    """Probability that labelling an item reveals a wrong class."""
    distractors: float = 0.0
    """Share of the pool that belongs to none of the task's classes."""
    reward_per_class: int = 10
    """Items per class of the balanced reward set."""
    test_per_class: int = 10
    """Items per class of the balanced test set."""
    price: FloatRange = 0.0
    """Return that a label costs, one number or a range as two, drawn log-uniformly per episode. Above 0 an extra action
    ends the episode."""
    batch_size: Range = 1
    """Picks before their labels are revealed together: one number, or a range as two."""
    item_costs: float = 0.0
    """Standard deviation of the logarithm of an item's cost, which is cut at two deviations around 1. The budget is
    then money; 0 = every label costs 1."""
    cost_hardness: FloatRange = 0.0
    """Correlation of an item's cost with its hardness, one number or a range as two, drawn per episode."""
    target: FloatRange = 0.0
    """Target that ends an episode, as a share of the accuracy that labelling the whole pool would gain: one number, or
    a range as two, drawn per episode; 0 = no target."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check_range(name, getattr(self, name), _is_whole, "a whole number", least, MAX_POOL)
        for name in ("reward_per_class", "test_per_class"):
            value = getattr(self, name)
            if not _is_whole(value) or not 1 <= value <= MAX_POOL:
                raise InputError(f"{name}={value!r} must be a whole number, at least 1.")
        for name in ("class_concentration", "rare_share", "label_noise", "distractors", "item_costs"):
            value = getattr(self, name)
            if not _is_real(value) or 1e300 < float(value) < float("inf"):
                raise InputError(f"{name}={value!r} must be a number.")
        check_term_options(self)
        if not self.class_concentration > 0:
            raise InputError(
                f"class_concentration={self.class_concentration} must be positive (inf for balanced pools)."
            )
        for name in ("rare_share", "label_noise", "distractors"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1).")
        smallest = bounds(self.pool_size)[0]
        if self.max_way > smallest - round(self.distractors * smallest):
            raise InputError(
                f"way={self.way!r} exceeds what pool_size={self.pool_size!r} with distractors={self.distractors} "
                "leaves for the task's classes, one item each at least; lower way or enlarge the pool."
            )
        most_labels = bounds(self.budget)[1] + bounds(self.initial_labels)[1]
        if most_labels >= bounds(self.pool_size)[0]:
            raise InputError(
                f"budget={self.budget!r} with initial_labels={self.initial_labels!r} would label all "
                f"{bounds(self.pool_size)[0]} items that pool_size={self.pool_size!r} may have, which leaves "
                "nothing to choose; lower the budget or enlarge the pool."
            )

    @property
    def max_way(self) -> int:
        return bounds(self.way)[1]

    @property
    def max_pool(self) -> int:
        return bounds(self.pool_size)[1]

    @property
    def max_labels(self) -> int:
        """Returns the most labels an episode can hold: initial ones and those that the budget may buy."""
        return min(self.max_actions + bounds(self.initial_labels)[1], self.max_pool)

    @property
    def max_actions(self) -> int:
        """Returns the most actions of an episode: the budget, or what it buys of the cheapest items."""
        return math.floor(bounds(self.budget)[1] * self.cost_ratio + 1e-6)

    @property
    def cost_ratio(self) -> float:
        """Returns the cost of the dearest possible item, one over that of the cheapest."""
        return math.exp(COST_DEVIATIONS * self.item_costs)

    @property
    def can_stop(self) -> bool:
        """Returns whether an extra action ends the episode."""
        return float_bounds(self.price)[1] > 0

    @property
    def n_actions(self) -> int:
        """Returns the number of actions: items of the largest pool, and where labels have a price one to stop."""
        return self.max_pool + self.can_stop

    @property
    def terms(self) -> tuple[str, ...]:
        """Returns the fields among `price`, `batch_size`, `item_costs` and `target` that are in force.

        Without any, every label costs one of the budget, is revealed at once, and nothing else ends an episode.
        """
        in_force = {
            "price": self.can_stop,
            "batch_size": self.max_batch > 1,
            "item_costs": self.item_costs > 0,
            "target": float_bounds(self.target)[1] > 0,
        }
        return tuple(name for name, active in in_force.items() if active)

    @property
    def max_batch(self) -> int:
        """Returns the most picks before labels are revealed."""
        return bounds(self.batch_size)[1]


def check_term_options(config: TaskConfig) -> None:
    """Checks the options of price, batch, costs and target. Raises: `InputError`."""
    for name, least in (("price", 0), ("cost_hardness", -1), ("target", 0)):
        value = getattr(config, name)
        _check_range(name, value, _is_real, "a number", least, 1)
        low, high = float_bounds(value)
        if name != "cost_hardness" and low == 0 < high:
            raise InputError(f"{name}={value!r} must begin above 0; leave {name} at 0 for none.")
    if not 0 <= config.item_costs <= 1:
        raise InputError(f"item_costs={config.item_costs} must lie in [0, 1].")
    if not config.item_costs and any(float_bounds(config.cost_hardness)):
        raise InputError(
            f"cost_hardness={config.cost_hardness!r} needs item_costs above 0; without it every label costs the same."
        )
    if config.item_costs and config.cost_ratio > bounds(config.budget)[0]:
        raise InputError(
            f"item_costs={config.item_costs} makes items cost up to {config.cost_ratio:.2f}, more than "
            f"budget={config.budget!r}; raise the budget or lower item_costs."
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _check_range(
    name: str, value: Any, is_number: Callable[[object], bool], kind: str, least: int, most: int
) -> None:
    """Checks one number or two. Raises: `InputError`: they are of another kind, or out of order or reach."""
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(map(is_number, pair)):
        raise InputError(f"{name}={value!r} must be {kind}, or two: (low, high).")
    if not least <= pair[0] <= pair[1] <= most:
        within = f"{least} ≤ low ≤ high ≤ {most:,}" if pair is value else f"between {least} and {most:,}"
        raise InputError(f"{name}={value!r} must be {within}.")


def float_bounds(value: FloatRange) -> tuple[float, float]:
    """Returns ``(low, high)`` of a range given as one number or two."""
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    return float(low), float(high)


def bounds(value: Range) -> tuple[int, int]:
    """Returns ``(low, high)`` of a range given as one number or two."""
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    return int(low), int(high)


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """Holds B tasks as indices into one data set, padded to common sizes; items are never copied.

    `pool`, `reward` and `test` are disjoint. Classes are numbered 0…way − 1 within the task, in random
    order. The label fields are hidden from every strategy: only `oracle.LabelOracle` may read them.
    """

    pool: Tensor  # (B, N) int64 indices into the data set; 0 at padding
    pool_mask: Tensor  # (B, N) bool, True at real items
    pool_labels: Tensor  # (B, N) int64 true class; −1 for distractors and padding
    oracle_labels: Tensor  # (B, N) int64 class that labelling reveals: `pool_labels` with noise
    initial: Tensor  # (B, I) int64 pool positions labelled at the start; −1 at padding
    reward: Tensor  # (B, R) int64 indices
    reward_labels: Tensor  # (B, R) int64; −1 at padding
    test: Tensor  # (B, S) int64 indices
    test_labels: Tensor  # (B, S) int64; −1 at padding
    class_mask: Tensor  # (B, K) bool, True at the task's classes
    classes: Tensor  # (B, K) int64 class of the data set; −1 at padding
    budget: Tensor  # (B,) int64
    seed: Tensor  # (B,) int64, from which stochastic strategies derive their randomness
    price: Tensor  # (B,) return that a label costs
    batch_size: Tensor  # (B,) int64
    target_share: Tensor  # (B,) of what labelling the whole pool would gain; 0 without a target
    cost_noise: Tensor  # (B, N) standard normal: the part of the costs that does not depend on hardness
    cost_hardness: Tensor  # (B,) correlation of cost and hardness

    def __len__(self) -> int:
        return len(self.pool)

    def to(self, device: torch.device | str) -> TaskBatch:
        return TaskBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def rows(self, index: Tensor) -> TaskBatch:
        """Returns the tasks at `index` (int64 or bool)."""
        return TaskBatch(**{f.name: getattr(self, f.name)[index] for f in fields(self)})
