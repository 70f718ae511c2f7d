"""Strategies learned from look-ahead gains: LAL, and a meta-model that classifies the best candidates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from agents.strategies.base import masked_scores
from agents.strategies.fitted.base import FITTED, FittedStrategy
from agents.strategies.privileged import accuracy_first
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames, extract
from metaal_env.oracle import LabelOracle
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView


class GainModel(FittedStrategy):
    """Ranks candidates by a network of item and episode features that is fitted to look-ahead gains.

    Cost: the features, O(N·L), and a small network.

    Args:
        width: hidden units.
        names: features that the network takes; by default all that are registered.
    """

    takes_features = True

    def __init__(self, *, width: int = 32, names: FeatureNames | None = None, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width
        self.names = names = names or FeatureNames.registered()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the weights before fitting
            self.network = nn.Sequential(
                *(nn.Linear(len(names.items) + len(names.pool_features), width), nn.ReLU()),
                *(nn.Linear(width, width), nn.ReLU()),
                nn.Linear(width, 1),
            )

    def options(self) -> dict[str, Any]:
        return {"width": self.width}

    @torch.no_grad()
    def score(self, view: PoolView) -> Tensor:
        self.network.to(view.device)
        return self.network(inputs_of(view, self.names)).squeeze(-1)

    @abstractmethod
    def targets(self, gain: Tensor, mask: Tensor) -> Tensor:
        """Maps (B, N) gains and their (B, N) mask to the (B, N) targets of the network."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Computes the scalar loss."""

    def fit(
        self,
        cores: Sequence[Core],
        *,
        tasks: int = 32,
        iterations: int = 8,
        epochs: int = 4,
        learning_rate: float = 2e-3,
        seed: int = 0,
        progress: Callable[[int, float], None] | None = None,
    ) -> list[float]:
        """Fits the network in place; returns the mean loss on each iteration's states before it learns them.

        States of the first iteration come from labelling at random, and later ones from the current strategy
        (LALiterative). The network is fitted to all states so far.

        Args:
            cores: sources of tasks; a wide mixture generalises.
            tasks: episodes per core and iteration.
            epochs: passes over the states per iteration.
            progress: called with the iteration and its mean loss.
        """
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)
        seen: list[tuple[Tensor, Tensor]] = []
        losses = []
        for iteration in range(iterations):
            fresh = []
            for number, core in enumerate(cores):
                rngs = [np.random.default_rng([seed, iteration, number, i]) for i in range(tasks)]
                fresh += self._episode(core, rngs, at_random=iteration == 0)
            self.network.cpu()  # playing took it to the cores' device
            with torch.no_grad():
                held = [self.loss(self.network(x).squeeze(-1), y) for x, y in fresh]
            losses.append(float(torch.stack(held).mean()))
            if progress is not None:
                progress(iteration, losses[-1])
            seen += fresh
            x, y = (torch.cat(part) for part in zip(*seen, strict=True))
            for _ in range(epochs):
                for rows in torch.randperm(len(x)).split(2048):
                    loss = self.loss(self.network(x[rows]).squeeze(-1), y[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return losses

    @torch.no_grad()
    def _episode(
        self, core: Core, rngs: Sequence[np.random.Generator], at_random: bool
    ) -> list[tuple[Tensor, Tensor]]:
        """Plays episodes and returns inputs (M, F) and targets (M,) of every candidate for each step."""
        steps: list[tuple[Tensor, Tensor]] = []

        def pick(view: PoolView, oracle: LabelOracle) -> Tensor:
            before = accuracy_first(oracle.state.metrics).unsqueeze(1)
            gain = accuracy_first(oracle.look_ahead()) - before
            target = self.targets(gain.float(), view.selectable)
            steps.append((inputs_of(view, self.names)[view.selectable].cpu(), target[view.selectable].cpu()))
            n = view.valid.shape[1]
            scores = view.random(lambda rng: rng.random(n)) if at_random else self.score(view)
            return masked_scores(scores, view).argmax(1)

        for _ in play_out(core, core.reset(core.sampler.sample(list(rngs))), pick):
            pass
        return steps


def inputs_of(view: PoolView, names: FeatureNames) -> Tensor:
    """Returns the (B, N, F + P) features of each item, with those of its pool appended."""
    features = extract(view, names)
    episode = features.episode.unsqueeze(1).expand(-1, features.items.shape[1], -1)
    return torch.cat([features.items, episode], -1).float()


@FITTED.register("lal")
class LAL(GainModel):
    """Regresses the error reduction of a label: learning active learning (Konyushkova et al. 2017).

    arXiv 1703.03365, first LALindependent (states from random labelling), then LALiterative (from its own). The
    paper's regressor is a random forest on seven features of a random-forest classifier. Here it is a small network on
    `metaal_env.features`, which serve any learner and number of classes. Gains are in hundredths of accuracy.
    """

    name = "lal"

    def targets(self, gain: Tensor, mask: Tensor) -> Tensor:
        return 100 * gain

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        # In units of the usual differences between gains, so that one learning rate serves.
        return mse_loss(output, target) / 10


@FITTED.register("meta_model")
class MetaModel(GainModel):
    """Predicts the probability that an item is among the most valuable candidates.

    It is a classifier of items, as in meta-model approaches to data selection (cf. Contardo et al. 2017 and Liu et al.
    2018, who imitate such an oracle). Positive are the `share` of candidates with the largest look-ahead gain. Unlike a
    regression it does not depend on the size of gains, which varies from task to task.

    Args:
        share: share of the candidates that count as worth labelling, in (0, 1).
    """

    name = "meta_model"

    def __init__(
        self, *, share: float = 0.1, width: int = 32, names: FeatureNames | None = None, seed: int = 0
    ):
        super().__init__(width=width, names=names, seed=seed)
        if not 0 < share < 1:
            raise InputError(f"share={share} must lie in (0, 1); 0.1 is the default.")
        self.share = share

    def options(self) -> dict[str, Any]:
        return {"width": self.width, "share": self.share}

    def targets(self, gain: Tensor, mask: Tensor) -> Tensor:
        ordered = gain.masked_fill(~mask, -torch.inf).sort(1, descending=True).values
        wanted = (self.share * mask.sum(1, keepdim=True)).ceil().long().clamp(min=1) - 1
        return (gain >= torch.take_along_dim(ordered, wanted, 1)).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(output, target)
