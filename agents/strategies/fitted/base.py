"""Strategies with weights. They work only after `fit`, so they have no registered name.

``load_strategy("folder")`` loads a saved strategy; its class is named in its JSON.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from agents.strategies.base import Strategy
from metaal_env.features import FeatureNames
from metaal_env.registry import Registry
from metaal_env.runtime.artifacts import limit_allocation, load_artifact, load_weights, save_artifact

FILE = "strategy"
FITTED: Registry[type[FittedStrategy]] = Registry("fitted strategy")


class FittedStrategy(Strategy):
    """Scores by a network that is saved as ``strategy.safetensors`` and ``strategy.json`` in a folder."""

    name: ClassVar[str]
    takes_features: ClassVar[bool] = False
    """Whether the network takes features of `metaal_env.features`; their `names` are then saved as an option."""
    names: FeatureNames
    network: nn.Module

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the strategy, except its weights and `names`."""

    def save(self, folder: Path | str, summary: dict[str, Any] | None = None) -> None:
        """Writes weights and description; `summary` tells how the strategy was fitted."""
        config: dict[str, Any] = {"name": self.name, "options": self.options()}
        if self.takes_features:
            config["features"] = self.names.to_json()
        save_artifact(Path(folder) / FILE, "strategy", self.network, config, summary or {})


def is_fitted(spec: str) -> bool:
    """Returns whether `spec` is a folder that `FittedStrategy.save` wrote."""
    return (Path(spec) / f"{FILE}.json").is_file()


def load_fitted(folder: Path | str, *, seed: int = 0) -> FittedStrategy:
    """Returns the strategy that was saved in `folder`.

    Raises:
        InputError: the files are missing, damaged or foreign, or the features are unknown here or out of order.
    """
    card, tensors = load_artifact(Path(folder) / FILE, "strategy")
    config, subject = card["config"], f"strategy={str(folder)!r}"
    with limit_allocation(tensors, subject):
        constructor, options = FITTED[config["name"]], dict(config["options"])
    if constructor.takes_features:
        options["names"] = FeatureNames.read(config.get("features"), subject)
    with limit_allocation(tensors, subject):
        strategy = constructor(**options, seed=seed)
    load_weights(strategy.network, tensors, subject)
    return strategy
