"""Uncertainty sampling: labels the item of which the adapted learner is least sure. Cost O(N·K).

Without a label every item is equally uncertain, so these rules start at random.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, random_if_cold
from metaal_env.features import rules
from metaal_env.pool.view import PoolView


@STRATEGIES.register("random")
class Random(Strategy):
    """Labels items uniformly at random, the baseline of every other strategy."""

    stochastic = True
    diversifies = True  # independent draws: a batch is a plain random subset

    def score(self, view: PoolView) -> Tensor:
        n = view.valid.shape[1]
        return view.random(lambda rng: rng.random(n), self.seed)


@STRATEGIES.register("least_confident")
class LeastConfident(Strategy):
    """Scores by 1 − max_y p(y|x) (Lewis & Gale 1994)."""

    def score(self, view: PoolView) -> Tensor:
        return random_if_cold(rules.least_confidence(view), view, self.seed)


@STRATEGIES.register("margin")
class Margin(Strategy):
    """Scores by 1 − (p₁ − p₂), the gap between the two likeliest classes (Scheffer et al. 2001)."""

    def score(self, view: PoolView) -> Tensor:
        return random_if_cold(rules.margin(view), view, self.seed)


@STRATEGIES.register("entropy")
class Entropy(Strategy):
    """Scores by the entropy H[p(y|x)] relative to log K (Shannon 1948; Settles 2009)."""

    def score(self, view: PoolView) -> Tensor:
        return random_if_cold(rules.entropy(view), view, self.seed)


@STRATEGIES.register("power_margin")
class PowerMargin(Strategy):
    """Scores by log(1 − (p₁ − p₂)) · β + Gumbel noise: stochastic margin (Kirsch et al. 2023, "power" acquisition).

    The argmax samples items with probability ∝ margin^β, so the b best scores are a batch drawn without replacement.
    β = 4 lies between the paper's 1 (nearly random in pools of hundreds) and its limit, plain margin.
    """

    stochastic = True
    diversifies = True

    def __init__(self, *, power: float = 4.0, seed: int = 0):
        super().__init__(seed=seed)
        self.power = power

    def score(self, view: PoolView) -> Tensor:
        n = view.valid.shape[1]
        noise = view.random(lambda rng: rng.gumbel(size=n), self.seed)
        return self.power * torch.log(rules.margin(view).clamp(min=1e-12)) + noise
