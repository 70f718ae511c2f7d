"""Finds what ``policy=`` names on one's own pool, and the default."""

from __future__ import annotations

import os
from typing import TypeAlias

from agents.acquisition.labels import Labels
from agents.loading import StrategySpec, load_strategy
from agents.strategies import Strategy
from agents.strategies.base import PrivilegedStrategy
from agents.strategies.diversity import KCenter
from agents.strategies.herding import MaxHerding
from metaal_env.errors import InputError

DEFAULT_POLICY = "metaal-pools"
"""Learned on pools like a user's; where a pool is unlike them it gives way to the rule `uherding`."""

ALIKE = 5
"""Labels of one class from which on `SecondClass` chooses."""

PolicySpec: TypeAlias = "StrategySpec | None"


def policy_name(policy: PolicySpec) -> str:
    """Returns what files call a policy: its name or place, or the class of an object."""
    if isinstance(policy, Strategy):
        return type(policy).__name__
    return DEFAULT_POLICY if policy is None else os.fspath(policy)


def load_policy(policy: PolicySpec = None) -> Strategy:
    """Returns the strategy behind `policy`.

    Args:
        policy: None for `DEFAULT_POLICY`; else as for `agents.loading.load_strategy`.

    Raises:
        InputTypeError: neither a name, a path nor a strategy.
        InputError: unknown name, damaged files, or a rule that looks at hidden labels.
    """
    strategy = load_strategy(DEFAULT_POLICY if policy is None else policy, argument="policy")
    if isinstance(strategy, PrivilegedStrategy):
        raise InputError(
            f"policy={policy!r} looks at hidden labels, which your own pool lacks; choose another."
        )
    return strategy


class SecondClass(KCenter):
    """Looks for a second class: what is farthest from all labels differs most from the class that is known.

    Learned policies would stay where the pool is densest (entry 89 of docs/log/2026-11.md).
    """

    remark = "all labels are of one class so far, so k_center looks for another"


def searching(strategy: Strategy, labels: Labels) -> Strategy:
    """Returns `SecondClass` in place of a learned policy while all of `ALIKE` labels or more are of one class."""
    alike = len(labels.seen) == 1 and int(labels.known.sum()) >= ALIKE
    return SecondClass() if alike and strategy.wants_classifier else strategy


class Coverage(MaxHerding):
    """Covers the pool for a classifier that is sure of every item, whose accuracy is a matter of coverage alone.

    Learned policies have nothing to add there (entry 99 of docs/log/2026-11.md).
    """

    remark = "the classifier is quite sure of every item, so max_herding covers the pool"


def covering(strategy: Strategy, one_hot: bool) -> Strategy:
    """Returns `Coverage` in place of a learned policy where the classifier tells nothing but classes."""
    return Coverage() if one_hot and strategy.wants_classifier else strategy
