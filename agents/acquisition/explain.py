"""Why an item is suggested: what raised its score above the average item's, and a policy's likeness to rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.networks import AcquisitionNetwork
from agents.policy import LearnedStrategy
from agents.strategies.base import Strategy
from metaal_env.features import ABSOLUTE, RULES, Features, extract
from metaal_env.view import PoolView

TOLERANCE = 1e-3
MAX_STEPS = 512
STEPS_AT_ONCE = 16

MEANING = {
    "least_confident": ("no class is likely", "one class is likely"),
    "margin": ("two classes are equally likely", "one class stands out"),
    "entropy": ("many classes are possible", "few classes are possible"),
    "novelty": ("it may belong to a class without a label", "its class has labels already"),
    "k_center": ("it is far from every label", "it is near a label"),
    "max_herding": ("its region has many items and no label", "its region is small or covered"),
    "uherding": ("it stands for many uncertain items", "it stands for few uncertain items"),
    "herding_narrow": ("it has many close neighbours without a label", "its close neighbours are covered"),
    "herding_wide": ("its wider region has no label", "its wider region is covered"),
    "density": ("it is typical of the pool", "it is unlike most of the pool"),
    "neighbour_novelty": ("its neighbours may be a new class", "its neighbours' classes have labels"),
    "neighbour_margin": ("its neighbours are uncertain", "its neighbours are certain"),
    "top1": ("its likeliest class is sure", "its likeliest class is unsure"),
    "top2": ("its second class is likely", "its second class is unlikely"),
    "top3": ("its third class is likely", "its third class is unlikely"),
    "near_0": ("a label is very near", "no label is very near"),
    "near_1": ("a label is near", "no label is near"),
    "near_2": ("a label is in its region", "no label is in its region"),
    "labelled": ("it is labelled", "it is not labelled"),
}
"""Feature → what a value above and below the average item's means."""


class Explanation(NamedTuple):
    """Contributions to the score of one item, beyond that of an item with the pool's average features."""

    prior: dict[str, float]  # exact: weight × standardised score of each rule
    correction: dict[str, float]  # integrated gradients of the network, per rule and absolute feature
    values: dict[str, float]  # the item's features less the average item's
    difference: float  # score of the item − score of the average item in its place
    residual: float  # difference − sum of all contributions; the error of the integral

    @property
    def total(self) -> dict[str, float]:
        """Both parts together, per feature."""
        return {name: self.prior.get(name, 0.0) + value for name, value in self.correction.items()}


def feature_names() -> list[str]:
    """Names of the item features in order; an absolute feature that a rule repeats ends in ``_absolute``."""
    return [*RULES, *(f"{name}_absolute" if name in RULES else name for name in ABSOLUTE)]


def explain(network: AcquisitionNetwork, view: PoolView, position: int) -> Explanation:
    """Attributes the score of the item at `position` of pool 0 to its features.

    The baseline is an item of average features in the same place. The prior is linear, so its part is exact;
    the correction is attributed by integrated gradients (Sundararajan et al. 2017) along the straight line
    between the two, by the midpoint rule with steps doubled until contributions sum to the difference
    within `TOLERANCE` or `MAX_STEPS` is reached.
    """
    features = extract(view)
    open_ = view.selectable[0]
    average = features.items[0][open_].mean(0)  # (F,)
    delta = features.items[0, position] - average
    names = feature_names()
    weights = network.rule_weights.detach()
    prior = delta[: len(weights)] * weights
    ends = _corrections(network, features, view, position, average, delta, torch.tensor([0.0, 1.0]))[0]
    change = float(ends[1] - ends[0])
    steps = STEPS_AT_ONCE
    while True:
        parts = []
        for start in range(0, steps, STEPS_AT_ONCE):
            at = (torch.arange(start, start + STEPS_AT_ONCE) + 0.5) / steps
            parts.append(_corrections(network, features, view, position, average, delta, at)[1])
        correction = torch.cat(parts).mean(0) * delta  # (F,)
        residual = change - float(correction.sum())
        if abs(residual) <= TOLERANCE or steps >= MAX_STEPS:
            break
        steps *= 2
    return Explanation(
        dict(zip(names, prior.tolist(), strict=False)),
        dict(zip(names, correction.tolist(), strict=True)),
        dict(zip(names, delta.tolist(), strict=True)),
        float(prior.sum()) + change,
        residual,
    )


def _corrections(
    network: AcquisitionNetwork,
    features: Features,
    view: PoolView,
    position: int,
    start: Tensor,
    delta: Tensor,
    at: Tensor,
) -> tuple[Tensor, Tensor]:
    """(S,) corrections of the item when its features are start + at · delta, and their (S, F) gradients."""
    moved = (start + at.to(delta).unsqueeze(1) * delta).requires_grad_()  # (S, F)
    items = features.items[:1].expand(len(at), -1, -1).clone()
    items[:, position] = moved
    with torch.enable_grad():
        out = network(items, features.episode[:1].expand(len(at), -1), view.geometry)
        correction = (out.logits - out.prior)[:, position]
        gradient = torch.autograd.grad(correction.sum(), moved)[0]
    return correction.detach(), gradient


def reasons(strategy: Strategy, view: PoolView, position: int, most: int = 3) -> list[tuple[str, float, str]]:
    """What speaks most for the item: (feature, weight, plain words), at most `most`, strongest first.

    For a learned policy the weights are contributions to its score. Of a hand-written rule, which is its own
    reason, they say where the item stands out from the pool, in standard deviations.
    """
    if isinstance(strategy, LearnedStrategy):
        found = explain(strategy.network, view, position)
        weights, values = found.total, found.values
    else:
        items = extract(view).items[0, position, : len(RULES)]
        values = weights = dict(zip(RULES, items.tolist(), strict=True))
    best = sorted((name for name in weights if weights[name] > 0), key=lambda name: -weights[name])
    told: dict[str, tuple[str, float, str]] = {}
    for name in best:
        high, low = MEANING[name.removesuffix("_absolute")]
        words = high if values[name] >= 0 else low
        told.setdefault(words, (name, weights[name], words))
    return list(told.values())[:most]


def in_words(found: list[tuple[str, float, str]]) -> str:
    """One line for a table or a terminal."""
    return "; ".join(words for _, _, words in found) or "no feature stands out"


def rank_correlations(strategy: Strategy, view: PoolView) -> dict[str, float]:
    """Spearman correlation over the unlabelled items of pool 0 between the strategy's scores and each rule's.

    NaN where a rule is constant.
    """
    from scipy.stats import rankdata

    open_ = view.selectable[0]
    items = extract(view).items[0][open_][:, : len(RULES)].double().numpy()
    with torch.no_grad():
        scores = strategy.score(view)[0][open_].double().numpy()
    ranks = np.apply_along_axis(rankdata, 0, np.column_stack([scores, items]))
    ranks -= ranks.mean(0)
    length = np.sqrt(np.square(ranks).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = ranks[:, 1:].T @ ranks[:, 0] / (length[1:] * length[0])
    return dict(zip(RULES, correlation.tolist(), strict=True))
