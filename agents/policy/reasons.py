"""Why an item is suggested, in plain words."""

from __future__ import annotations

from typing import NamedTuple

from agents.policy.attribution import explain
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from metaal_env.features import ITEM_FEATURES, ITEM_SCORES, standardised_scores
from metaal_env.pool.view import PoolView


class Part(NamedTuple):
    """What one feature has to do with an item's score."""

    name: str
    prior: float
    correction: float
    value: float  # the item's feature less the average item's

    @property
    def weight(self) -> float:
        return self.prior + self.correction


def parts(strategy: Strategy, view: PoolView, position: int) -> list[Part]:
    """One part per feature of the item at `position` of pool 0.

    For a learned policy they are contributions to its score. Of a hand-written rule, which is its own
    reason, they say where the item stands out from the pool, in standard deviations.
    """
    if isinstance(strategy, LearnedStrategy):
        found = explain(strategy.network, view, position)
        return [
            Part(name, found.prior.get(name, 0.0), correction, found.values[name])
            for name, correction in found.correction.items()
        ]
    scores = standardised_scores(view)[0, position].tolist()
    return [Part(name, value, 0.0, value) for name, value in zip(ITEM_SCORES, scores, strict=True)]


def words(part: Part) -> str:
    """The feature's value in plain words."""
    feature = ITEM_SCORES[part.name] if part.name in ITEM_SCORES else ITEM_FEATURES[part.name]
    return feature.high if part.value >= 0 else feature.low


def reasons(strategy: Strategy, view: PoolView, position: int, most: int = 3) -> list[tuple[str, float, str]]:
    """What speaks most for the item: (feature, weight, plain words), at most `most`, strongest first.

    The weights are those of `parts`.
    """
    speaking = [part for part in parts(strategy, view, position) if part.weight > 0]
    told: dict[str, tuple[str, float, str]] = {}
    for part in sorted(speaking, key=lambda part: -part.weight):
        told.setdefault(words(part), (part.name, part.weight, words(part)))
    return list(told.values())[:most]


def in_words(found: list[tuple[str, float, str]]) -> str:
    """One line for a table or a terminal."""
    return "; ".join(told for _, _, told in found) or "no feature stands out"
