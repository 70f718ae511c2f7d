"""`TrainingPolicy`: `SetPolicy` with what only its training needs: a critic and an anchor.

Neither is part of an artifact: `SetPolicy.network` is all that is saved as a policy.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.distributions import Categorical

from agents.policy.network import Output
from agents.policy.sb3_policy import Observation, SetPolicy, entropy
from agents.training.ppo.critic import PRIVILEGED, CriticKind, PrivilegedCritic
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer

RATE = 2e-3
"""Step size of Adam at the start of a critic's fit; it falls linearly to 0."""

CRITIC_SEES = ("pool_features", "labels", PRIVILEGED)
"""Entries of an observation that a critic needs."""


class TrainingPolicy(SetPolicy):
    """Adds a critic, and a bonus that keeps the policy near the anchor, the network with which PPO started.

    stable-baselines3's update adds ``ent_coef`` times the mean of the third thing that `evaluate_actions` returns.
    With ``ent_coef=1`` this is `bonus`: the entropy times `entropy_weight`, less the KL divergence to the anchor times
    `anchor_weight` (Jaques et al. 2017).

    Args:
        critic: ``"own"``, the network's value head, whose loss does not reach the policy's layers, or a kind of
            `PrivilegedCritic`.
    """

    critic: PrivilegedCritic | None

    def __init__(self, *args: Any, critic: CriticKind = "own", **options: Any):
        self.critic_kind = critic
        self.entropy_weight = self.anchor_weight = 0.0
        super().__init__(*args, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.critic = None
        if self.critic_kind != "own":
            self.critic = PrivilegedCritic(len(self.network.names.pool_features), self.critic_kind)
            self.optimizer.add_param_group({"params": list(self.critic.parameters())})
        self.anchor = deepcopy(self.network).requires_grad_(False)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"critic": self.critic_kind}

    def set_anchor(self) -> None:
        """Makes the present network the anchor."""
        self.anchor.load_state_dict(self.network.state_dict())

    def run(self, obs: Observation) -> tuple[Categorical, Output]:
        distribution, output = super().run(obs)
        if self.critic is not None and PRIVILEGED in obs:
            output = output._replace(value=self.value(obs))
        return distribution, output

    def value(self, obs: Observation) -> Tensor:
        """Returns the (B,) values of the critic, or without one of the network."""
        if self.critic is None:
            return super().run(obs)[1].value
        return self.critic(self.pool_inputs(obs), obs[PRIVILEGED])

    def bonus(self, obs: Observation, distribution: Categorical) -> Tensor:
        """Returns the (B,) entropy bonus less the penalty for leaving the anchor."""
        found = self.entropy_weight * entropy(distribution)
        if self.anchor_weight:
            with torch.no_grad():
                items, pool = self.inputs(obs)
                start = self.distribution(self.anchor(items, pool, self.valid(obs)), obs)
            found = found - self.anchor_weight * divergence(distribution, start)
        return found


def fit_critic(policy: TrainingPolicy, buffer: MixedRolloutBuffer, batch_size: int, epochs: int) -> float:
    """Fits the critic of `policy` to the returns in `buffer`, and returns the share of their variance explained."""
    trained = policy.network.value if policy.critic is None else policy.critic
    keys = None if policy.critic is None else CRITIC_SEES
    if policy.critic is not None:
        groups: Any = [group for samples in buffer.get(batch_size, keys) for group in samples.observations]
        pool = torch.cat([policy.pool_inputs(group) for group in groups])
        policy.critic.fit_scale(pool, torch.cat([group[PRIVILEGED] for group in groups]))
    optimizer = torch.optim.Adam(trained.parameters(), lr=RATE)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = RATE * (1 - epoch / epochs)
        left = total = 0.0
        for samples in buffer.get(batch_size, keys):
            observations: Any = samples.observations
            values = torch.cat([policy.value(group) for group in observations])
            loss = (values - samples.returns).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            left += float(loss.detach())
            total += float(samples.returns.var(correction=0))
    return 1 - left / max(total, 1e-12)


def divergence(policy: Categorical, other: Categorical) -> Tensor:
    """Returns the (B,) KL divergence in nats over selectable items."""
    probs = policy.probs
    gap = (policy.logits - other.logits).masked_fill(probs == 0, 0.0)
    return (probs * gap).sum(-1)
