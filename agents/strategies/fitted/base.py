"""Strategies with weights: they work after `fit` only, so they have no registered name.

``load_strategy("folder")`` loads what `save` wrote there; the kind stands in its JSON.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from agents.strategies.base import Strategy
from metaal_env.errors import Registry
from metaal_env.runtime.artifacts import affordable, load_artifact, load_weights, save_artifact

FILE = "strategy"
FITTED: Registry[type[FittedStrategy]] = Registry("fitted strategy")


class FittedStrategy(Strategy):
    """A strategy with a network; it is saved as ``strategy.safetensors`` and ``strategy.json`` in a folder."""

    name: ClassVar[str]
    network: nn.Module

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What rebuilds the strategy, but for its weights."""

    def save(self, folder: Path | str, summary: dict[str, Any] | None = None) -> None:
        """Writes weights and description; `summary` says how it was fitted."""
        config = {"name": self.name, "options": self.options()}
        save_artifact(Path(folder) / FILE, "strategy", self.network, config, summary or {})


def is_fitted(spec: str) -> bool:
    """Whether `spec` is a folder that `FittedStrategy.save` wrote."""
    return (Path(spec) / f"{FILE}.json").is_file()


def load_fitted(folder: Path | str, *, seed: int = 0) -> FittedStrategy:
    """The strategy that was saved in `folder`. Raises: `InputError` when it is missing, damaged or foreign."""
    card, tensors = load_artifact(Path(folder) / FILE, "strategy")
    with affordable(tensors, f"strategy={str(folder)!r}"):
        strategy = FITTED[card["config"]["name"]](**card["config"]["options"], seed=seed)
    load_weights(strategy.network, tensors, f"strategy={str(folder)!r}")
    return strategy
