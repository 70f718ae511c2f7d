"""`SetPolicy` plays the acquisition network in stable-baselines3; `LearnedStrategy` plays it as a strategy.

stable-baselines3 declares NumPy arrays and its own base classes where tensors and our classes are passed, hence the
``type: ignore`` comments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.distributions import Categorical

from agents.policy.network import AcquisitionNetwork, Output, action_logits
from agents.strategies.base import Strategy
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames, extract
from metaal_env.observation import PADDING
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView
from metaal_env.runtime.artifacts import (
    artifact_stem,
    fingerprint,
    limit_allocation,
    load_artifact,
    load_weights,
    save_artifact,
)

Observation = dict[str, Tensor]
"""Observation as returned by `metaal_env.observation.observe`."""


class SetPolicy(ActorCriticPolicy):
    """Computes actions and values from the environment's observation; labelled items have probability 0.

    Args:
        network: keyword arguments of `AcquisitionNetwork`. Its features must be among those of the observation;
            ``observation="full"`` has all.

    Raises:
        InputError: the observation lacks a feature.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        network: dict[str, Any] | None = None,
        **options: Any,
    ):
        _refuse_former_keys(observation_space)
        self._network_options = network or {}
        super().__init__(observation_space, action_space, lr_schedule, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = AcquisitionNetwork(**self._network_options)
        names = self.network.names
        self._columns = [
            _columns(self.observation_space, key, wanted)
            for key, wanted in (("item_features", names.items), ("pool_features", names.pool_features))
        ]
        self.optimizer = self.optimizer_class(
            self.network.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"network": self._network_options}

    def run(self, obs: Observation) -> tuple[Categorical, Output]:
        """Returns the distribution over items, and the network's output."""
        output = self.network(*self.inputs(obs), self.valid(obs))
        return self.distribution(output, obs), output

    def inputs(self, obs: Observation) -> tuple[Tensor, Tensor]:
        """Returns the network's item and pool features, (B, N, F) and (B, P)."""
        return _take(obs, "item_features", self._columns[0]), self.pool_inputs(obs)

    def pool_inputs(self, obs: Observation) -> Tensor:
        """Returns the network's (B, P) pool features."""
        return _take(obs, "pool_features", self._columns[1])

    def valid(self, obs: Observation) -> Tensor:
        """Returns which items are no padding, (B, N) bool."""
        return obs["labels"] != PADDING

    def distribution(self, output: Output, obs: Observation) -> Categorical:
        """Returns the distribution over the actions that are allowed."""
        mask = obs["action_mask"][:, : output.logits.shape[1]].bool()
        # An episode without a selectable item never occurs; its row must be finite all the same.
        mask = mask | ~mask.any(1, keepdim=True)
        logits = action_logits(output.logits, mask, self.stop_logits(output, obs))
        return Categorical(logits=logits, validate_args=False)

    def stop_logits(self, output: Output, obs: Observation) -> Tensor | None:
        """Returns the (B,) logits to stop; None where the network or the environment has no such action."""
        return output.stop if obs["action_mask"].shape[1] > output.logits.shape[1] else None

    def bonus(self, obs: Observation, distribution: Categorical) -> Tensor:
        """Returns the (B,) number that ``ent_coef`` weighs in the update: the entropy in nats."""
        return entropy(distribution)

    def forward(self, obs: Observation, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        distribution, output = self.run(obs)
        actions = distribution.sample()
        if deterministic:
            stop = self.stop_logits(output, obs)
            actions = best_actions(output.logits, obs["action_mask"].bool(), stop)
        return actions, output.value, distribution.log_prob(actions)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Observation | list[Observation], actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns value, log-probability and `bonus`, (B,) each; a list holds observations of several shapes."""
        groups = obs if isinstance(obs, list) else [obs]
        parts, start = [], 0
        for group in groups:
            distribution, output = self.run(group)
            stop = start + len(output.value)
            log_prob = distribution.log_prob(actions[start:stop])
            parts.append((output.value, log_prob, self.bonus(group, distribution)))
            start = stop
        value, log_prob, bonus = (torch.cat(column) for column in zip(*parts, strict=True))
        return value, log_prob, bonus

    def predict_values(self, obs: Observation) -> Tensor:  # type: ignore[override]
        return self.run(obs)[1].value

    def get_distribution(self, obs: Observation) -> Any:  # type: ignore[override]
        return self.run(obs)[0]

    def _predict(self, observation: Observation, deterministic: bool = False) -> Tensor:  # type: ignore[override]
        return self.forward(observation, deterministic)[0]


def _columns(space: spaces.Space[Any], key: str, wanted: tuple[str, ...]) -> list[int] | None:
    """Returns the columns of a network's features in an observation; None for all of them in order.

    Raises:
        InputError: the observation lacks one of them.
    """
    registered = FeatureNames.registered()
    every = registered.items if key == "item_features" else registered.pool_features
    entry = space[key] if isinstance(space, spaces.Dict) and key in space.spaces else None
    size = entry.shape[-1] if entry is not None and entry.shape else 0
    # Wrappers make boxes without names; their columns are known only for an observation of all features.
    shown = getattr(entry, "names", every if size == len(every) else ())
    absent = [name for name in wanted if name not in shown]
    if absent:
        raise InputError(
            f"the observation lacks {absent[0]!r}, one of the {len(wanted)} {key} that this policy takes; make the "
            'environment with observation="full".'
        )
    return None if wanted == shown else [shown.index(name) for name in wanted]


def _take(obs: Observation, key: str, columns: list[int] | None) -> Tensor:
    if columns is None:
        return obs[key]
    return (
        obs[key][..., columns] if columns else torch.zeros(len(obs["labels"]), 0, device=obs["labels"].device)
    )


def _refuse_former_keys(space: spaces.Space[Any]) -> None:
    """Refuses the observation of models saved before its keys were renamed. Raises: `InputError`."""
    former = {"items": "item_features", "episode": "pool_features"}
    if isinstance(space, spaces.Dict) and former.keys() <= space.spaces.keys():
        raise InputError(
            f"the saved model's observation has the former keys {', '.join(map(repr, former))}, now "
            f"{', '.join(map(repr, former.values()))}; its weights still fit: load it with "
            "custom_objects={'observation_space': env.observation_space}."
        )


def best_actions(items: Tensor, allowed: Tensor, stop: Tensor | None) -> Tensor:
    """Returns the (B,) best actions: N, to stop, where that is more probable than not, else the best item.

    Args:
        items: (B, N) logits.
        allowed: (B, A) bool.
        stop: (B,) logits, None for a network that never stops.
    """
    best = items.masked_fill(~allowed[:, : items.shape[1]], -torch.inf).argmax(1)
    return best if stop is None else torch.where(stop > 0, items.shape[1], best)


def entropy(distribution: Categorical) -> Tensor:
    """Returns the (B,) entropy in nats; torch's own clamps 0 · −inf at masked items, which has a gradient."""
    probs = distribution.probs
    logs = distribution.logits.masked_fill(probs == 0, 0.0)
    return -(probs * logs).sum(-1)


class LearnedStrategy(Strategy):
    """Scores by a trained acquisition network; its selection is greedy.

    Attributes:
        summary: how the policy was trained, as its file tells; empty for one that was not loaded.
    """

    grows_with_classes = True
    counts_classes = True
    wants_classifier = True

    def __init__(self, network: AcquisitionNetwork, *, seed: int = 0):
        super().__init__(seed=seed)
        self.network = network.eval()
        self.summary: dict[str, Any] = {}
        # A policy that sees the open batch has learned to spread its picks.
        self.diversifies = "near_batch" in network.names.items
        self.believes = not self.diversifies

    @torch.no_grad()
    def score(self, view: PoolView) -> Tensor:
        if next(self.network.parameters()).device != view.device:  # even a move to the same device takes time
            self.network.to(view.device)
        features = extract(view, self.network.names)
        return self.network(features.items, features.episode, view.valid).logits

    @torch.no_grad()
    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        """Returns (B,) int64 pool positions to label next, or N where the policy stops."""
        if self.network.stop is None or view.terms is None or not bool((view.terms.price > 0).any()):
            return super().select(view, oracle)
        features = extract(view, self.network.names)
        output = self.network(features.items, features.episode, view.valid)
        return best_actions(output.logits, view.selectable, output.stop)

    def save(self, stem: Path, summary: dict[str, Any]) -> None:
        """Writes ``<stem>.safetensors`` and ``<stem>.json``; `summary` tells how the policy was trained."""
        config = {"network": self.network.options, "features": self.network.names.to_json()}
        save_artifact(stem, "policy", self.network, config, summary)

    @classmethod
    def load(cls, source: str | Path) -> LearnedStrategy:
        """Loads a policy from a run folder, or from the path of its files without suffix.

        Raises:
            InputError: the files are missing, damaged or foreign, or the features are unknown here or out of order.
        """
        card, tensors = load_artifact(artifact_stem(source, "policy"), "policy")
        config, subject = card["config"], f"policy={str(source)!r}"
        names = FeatureNames.read(config.get("features"), subject)
        names.check_counts(AcquisitionNetwork.feature_counts(tensors), subject)
        with limit_allocation(tensors, subject):
            network = AcquisitionNetwork(**config["network"], names=names)
        load_weights(network, tensors, subject)
        strategy = cls(network)
        summary = card.get("summary")
        strategy.summary = summary if isinstance(summary, dict) else {}
        return strategy


def policy_fingerprint(source: str | Path) -> str:
    """Returns the fingerprint of a saved policy, independent of its path. Raises: `InputError` as `load`."""
    return fingerprint(artifact_stem(source, "policy"), "policy")
