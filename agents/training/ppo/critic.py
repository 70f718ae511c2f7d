"""The privileged critic: it judges states by what is hidden from the policy, and is never part of an artifact.

A baseline may depend on anything but the action (asymmetric actor-critic, Pinto et al. 2018). The learner's true
quality, hidden class coverage and, at several times the cost, the true gains of a few items tell most of why one state
is worth more than another; what remains of the advantages is the policy's doing.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from metaal_env.metrics import Metrics
from metaal_env.oracle import LabelOracle

CriticKind = Literal["own", "privileged", "look_ahead"]

PRIVILEGED = "privileged"
"""Key of the hidden features among the observations of a roll-out."""

LOOKED_AT = 16
"""Items of a pool whose true gains are looked at."""

N_HIDDEN = {"privileged": 8, "look_ahead": 12}
"""Number of hidden features by kind of critic."""


@torch.no_grad()
def hidden_features(oracle: LabelOracle, kind: CriticKind) -> Tensor:
    """Returns the (B, `N_HIDDEN`) hidden features of running episodes: quality, coverage, budget left, true gains."""
    core, state = oracle.core, oracle.state
    task, metrics = state.task, state.metrics
    classes = torch.arange(task.class_mask.shape[1], device=core.device)
    member = oracle.true_labels.unsqueeze(2) == classes  # (B, N, K)
    found = (member & state.labelled.unsqueeze(2)).any(1)
    there = member.any(1)
    real = task.pool_mask.sum(1).clamp(min=1)
    missing = (member & ~found.unsqueeze(1)).any(2)  # (B, N) items of classes without a label
    left = state.terms.money_left
    gains = _gains(oracle) if kind == "look_ahead" else ()
    parts = [
        metrics.accuracy,
        metrics.likelihood,
        metrics.log_loss,
        (there & found).sum(1) / task.class_mask.sum(1),
        (there & ~found).sum(1) / task.class_mask.sum(1),
        missing.sum(1) / real,
        left / task.budget,
        left.log1p(),
        *gains,
    ]
    return torch.stack([part.float() for part in parts], 1)


def _gains(oracle: LabelOracle) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and maximum of the accuracy and the likelihood that labelling one of some items would add, (B,) each."""
    state = oracle.state
    # By the hash of the position, so that the items differ from state to state but not between runs.
    order = ((torch.arange(state.labelled.shape[1], device=oracle.core.device) + 1) * 0.6180339887) % 1
    keys = ((order + state.used.unsqueeze(1) * 0.7548776662) % 1).masked_fill(~state.selectable, -1.0)
    values, places = keys.topk(min(LOOKED_AT, keys.shape[1]), 1)
    real = values >= 0
    after = oracle.look_ahead(places)
    before = Metrics(*(metric.unsqueeze(1) for metric in state.metrics))
    found = []
    for now, then in ((before.accuracy, after.accuracy), (before.likelihood, after.likelihood)):
        gain = torch.where(real, then - now, 0.0)
        found += [gain.sum(1) / real.sum(1).clamp(min=1), torch.where(real, gain, -1.0).amax(1)]
    return found[0], found[1], found[2], found[3]


class PrivilegedCritic(nn.Module):
    """Computes the expected return from pool features and hidden ones.

    Args:
        n_pool: number of pool features.
        kind: which hidden features.
        width: hidden units.
    """

    def __init__(self, n_pool: int, kind: CriticKind = "privileged", width: int = 64):
        super().__init__()
        n_inputs = n_pool + N_HIDDEN[kind]
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("deviation", torch.ones(n_inputs))
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    @torch.no_grad()
    def fit_scale(self, pool: Tensor, hidden: Tensor) -> None:
        """Fits mean and deviation of the inputs to (M, P) and (M, `N_HIDDEN`) examples."""
        inputs = torch.cat([pool, hidden], 1)
        self.mean.copy_(inputs.mean(0))
        self.deviation.copy_(inputs.std(0).clamp(min=1e-3))

    def forward(self, pool: Tensor, hidden: Tensor) -> Tensor:
        """Maps (B, P) and (B, `N_HIDDEN`) features to (B,) values."""
        inputs = ((torch.cat([pool, hidden], 1) - self.mean) / self.deviation).clamp(-5, 5)
        return self.layers(inputs).squeeze(-1)
