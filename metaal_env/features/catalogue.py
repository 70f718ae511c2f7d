"""Registers features by name. docs/extend.md shows how to add one.

Item features come in two kinds. Scores are standardised within the pool, so that the scores of different rules can be
added up; a policy starts from one of them. The others keep their values, which mean the same in every pool.
The order of registration is the order of the observation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from metaal_env.errors import InputError
from metaal_env.pool.view import PoolView
from metaal_env.registry import Registry

Function = TypeVar("Function", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Feature:
    """A named function of a `PoolView`.

    Attributes:
        name: unique among all features.
        function: view → (B, N) for an item feature, (B,) for a pool feature; bool and integers are converted.
        meaning: the value in words, e.g. "largest class probability".
        terms: fields of `TaskConfig` without which the value is constant. Where there are any, only tasks with one of
            these terms show the feature; see `TaskConfig.terms`.

    Raises:
        InputError: an empty name or meaning.
    """

    name: str
    function: Callable[[PoolView], Tensor]
    meaning: str
    terms: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise InputError(
                f"name={self.name!r} of a feature must be an identifier; use letters, digits and _."
            )
        if not self.meaning.strip():
            raise InputError(
                f"meaning={self.meaning!r} of the feature {self.name!r} must say in words what it is."
            )


@dataclass(frozen=True)
class ItemFeature(Feature):
    """A feature of every item.

    Attributes:
        high: what a value above that of the pool's average item says about the item, as a reason for picking it.
        low: what a value below says.
    """

    high: str
    low: str

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in ("high", "low"):
            if not getattr(self, side).strip():
                raise InputError(
                    f"{side}={getattr(self, side)!r} of the feature {self.name!r} must be a reason in words."
                )


@dataclass(frozen=True)
class PoolFeature(Feature):
    """A feature of the pool and of how far labelling has come.

    Attributes:
        budget: whether it depends on the budget. Such features may change the value that a policy expects of an
            episode, but never its picks: whoever buys more labels buys the same ones first.
    """

    budget: bool = False


ITEM_SCORES: Registry[ItemFeature] = Registry("item score")
"""Item features that are standardised within the pool."""

ITEM_FEATURES: Registry[ItemFeature] = Registry("item feature")
"""Item features that keep their values."""

POOL_FEATURES: Registry[PoolFeature] = Registry("pool feature")


def item_score(
    name: str, meaning: str, *, high: str, low: str, terms: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Registers a function view → (B, N) whose values are compared within the pool; see `ItemFeature`.

    Raises:
        ValueError: the name is taken.
    """
    return _registering(
        ITEM_SCORES, name, lambda function: ItemFeature(name, function, meaning, high, low, terms=terms)
    )


def item_feature(
    name: str, meaning: str, *, high: str, low: str, terms: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Registers a function view → (B, N) whose values mean the same in every pool; see `ItemFeature`.

    Raises:
        ValueError: the name is taken.
    """
    return _registering(
        ITEM_FEATURES, name, lambda function: ItemFeature(name, function, meaning, high, low, terms=terms)
    )


def pool_feature(
    name: str, meaning: str, *, budget: bool = False, terms: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Registers a function view → (B,); see `PoolFeature`.

    Raises:
        ValueError: the name is taken.
    """
    return _registering(
        POOL_FEATURES, name, lambda function: PoolFeature(name, function, meaning, budget, terms=terms)
    )


AnyFeature = TypeVar("AnyFeature", bound=Feature)


def _registering(
    registry: Registry[AnyFeature], name: str, make: Callable[[Callable[..., Tensor]], AnyFeature]
) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for other in (ITEM_SCORES, ITEM_FEATURES, POOL_FEATURES):
            if name in other:
                raise ValueError(f"{other.kind} {name!r} is registered already")
        registry.register(name)(make(function))
        return function  # not the feature: rules are called, and with options, by strategies too

    return add
