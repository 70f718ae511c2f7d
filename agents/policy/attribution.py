"""Attribution of an item's score to features, for a learned policy's prior and network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.policy.network import AcquisitionNetwork
from metaal_env.features import Features, extract
from metaal_env.pool.view import PoolView

TOLERANCE = 1e-3
MAX_STEPS = 512
STEPS_AT_ONCE = 16


class Explanation(NamedTuple):
    """Holds contributions to the score of one item, relative to an item with the pool's average features."""

    prior: dict[str, float]  # exact: weight × score of each rule
    correction: dict[str, float]  # integrated gradients of the network, per rule and absolute feature
    values: dict[str, float]  # the item's features less the average item's
    difference: float  # score of the item − score of the average item in its place
    residual: float  # difference − sum of all contributions; the error of the integral

    @property
    def total(self) -> dict[str, float]:
        """Returns the sum of both parts, per feature."""
        return {name: self.prior.get(name, 0.0) + value for name, value in self.correction.items()}


def explain(network: AcquisitionNetwork, view: PoolView, position: int) -> Explanation:
    """Attributes the score of the item at `position` of pool 0 to its features.

    The baseline is an item of average features at the same position. The prior is linear, so its part is exact. The
    correction is attributed by integrated gradients (Sundararajan et al. 2017) along the straight line between the
    two. The midpoint rule doubles its steps until contributions sum to the difference within `TOLERANCE`, or
    `MAX_STEPS` is reached.
    """
    features = extract(view, network.names)
    average = features.items[0][view.selectable[0]].mean(0)  # (F,)
    delta = features.items[0, position] - average
    names = network.names.items
    weights = network.weights_of_rules(features.episode[:1])[0].detach()
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
    """Returns (S,) corrections of the item when its features are start + at · delta, and their (S, F) gradients."""
    moved = (start + at.to(delta).unsqueeze(1) * delta).requires_grad_()  # (S, F)
    items = features.items[:1].expand(len(at), -1, -1).clone()
    items[:, position] = moved
    with torch.enable_grad():
        out = network(items, features.episode[:1].expand(len(at), -1), view.valid[:1].expand(len(at), -1))
        correction = (out.logits - out.prior)[:, position]
        gradient = torch.autograd.grad(correction.sum(), moved)[0]
    return correction.detach(), gradient
