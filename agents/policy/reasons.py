"""Reasons for the suggestion of an item, in plain words."""

from __future__ import annotations

from typing import NamedTuple

from agents.policy.attribution import explain
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from metaal_env.features import ITEM_FEATURES, ITEM_SCORES, FeatureNames, extract, standardised_scores
from metaal_env.pool.view import PoolView

STEPPED_BACK = "stepped_back"
"""Name of the reason that a policy stepped back."""
REMARK = "remark"
"""Name of the reason that a rule stands in for a policy."""
MENTIONED = 0.05
"""Share from which stepping back is mentioned."""


class Part(NamedTuple):
    """Holds the contribution of one feature to an item's score."""

    name: str
    prior: float
    correction: float
    value: float  # the item's feature less the average item's

    @property
    def weight(self) -> float:
        return self.prior + self.correction


def parts(strategy: Strategy, view: PoolView, position: int) -> list[Part]:
    """Returns one part per feature of the item at `position` of pool 0.

    For a learned policy the parts are contributions to its score. For a hand-written rule each part tells by about how
    many standard deviations the item differs from its pool.
    """
    if isinstance(strategy, LearnedStrategy):
        explanation = explain(strategy.network, view, position)
        return [
            Part(name, explanation.prior.get(name, 0.0), correction, explanation.values[name])
            for name, correction in explanation.correction.items()
        ]
    names = FeatureNames.registered()
    scores = standardised_scores(view, names)[0, position].tolist()
    return [Part(name, value, 0.0, value) for name, value in zip(names.item_scores, scores, strict=True)]


def words(part: Part) -> str:
    """Returns the feature's value in plain words."""
    feature = ITEM_SCORES[part.name] if part.name in ITEM_SCORES else ITEM_FEATURES[part.name]
    return feature.high if part.value >= 0 else feature.low


def reasons(strategy: Strategy, view: PoolView, position: int, most: int = 3) -> list[tuple[str, float, str]]:
    """Returns the strongest reasons for the item: at most `most` of (feature, weight, plain words).

    The weights are those of `parts`. The strongest reason comes first. Where a learned policy steps back, that comes
    last, with the share by which it does; so does the remark of a rule that stands in for a policy.
    """
    speaking = [part for part in parts(strategy, view, position) if part.weight > 0]
    told: dict[str, tuple[str, float, str]] = {}
    for part in sorted(speaking, key=lambda part: -part.weight):
        told.setdefault(words(part), (part.name, part.weight, words(part)))
    remark = [(REMARK, 1.0, strategy.remark)] if strategy.remark else []
    return list(told.values())[:most] + stepping_back(strategy, view) + remark


def stepping_back(strategy: Strategy, view: PoolView) -> list[tuple[str, float, str]]:
    """Returns whether a learned policy steps back from pool 0 because it is unlike those of training, as a reason."""
    if not isinstance(strategy, LearnedStrategy) or strategy.network.covered is None:
        return []
    network = strategy.network
    share = float(network.stepped_back(extract(view, network.names).episode[:1]))
    if share < MENTIONED:
        return []
    rule = network.options["prior"]
    return [
        (STEPPED_BACK, share, f"the pool is unlike those of training, so the rule {rule} counts {share:.0%}")
    ]


def in_words(given: list[tuple[str, float, str]]) -> str:
    """Returns the `reasons` for an item as one line for a table or a terminal."""
    return "; ".join(text for _, _, text in given) or "no feature stands out"
