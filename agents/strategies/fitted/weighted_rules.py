"""The meta-optimised rule: a weighted sum of rules with weights found on training tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.batched import standardise
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.features import rules
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView
from metaal_env.tasks import TaskBatch

MIXED: dict[str, Callable[[PoolView], Tensor]] = {
    "margin": rules.margin,
    "entropy": rules.entropy,
    "novelty": rules.novelty,
    "k_center": rules.kcenter_distance,
    "density": lambda view: view.geometry.density(rules.HERDING_WIDTH),
    "herding_narrow": lambda view: rules.herding_gain(view, 0.1),
    "herding_wide": lambda view: rules.herding_gain(view, 0.6),
    "uherding": rules.uherding_gain,
}
"""The rules of the sum: one per idea, and herding at two kernel widths."""

DEFAULT_WEIGHTS: tuple[float, ...] = (0.0,) * (len(MIXED) - 1) + (1.0,) + (0.0,) * len(MIXED)


@STRATEGIES.register("weighted_rules")
class WeightedRules(Strategy):
    """Scores by Σ_r (w_r + t v_r) z_r(x) with scores z_r standardised over the candidates (Ebner et al. 2020).

    t is the share of the episode's labels that are bought, so that weights may move from covering to uncertainty.
    `fit` finds the weights; the default ones are those of UHerding alone. The cost is that of the rules.

    Args:
        weights: w for every rule of `MIXED` in order, then v.
        noise_scale: scale of the Gumbel noise added to the scores; 0 is deterministic.

    Raises:
        InputError: the number of weights is wrong.
    """

    diversifies = True

    def __init__(
        self, *, weights: Sequence[float] = DEFAULT_WEIGHTS, noise_scale: float = 0.0, seed: int = 0
    ):
        super().__init__(seed=seed)
        if len(weights) != 2 * len(MIXED):
            raise InputError(
                f"weights has {len(weights)} numbers; give {2 * len(MIXED)}: w and v for each rule."
            )
        self.weights, self.noise_scale = tuple(map(float, weights)), noise_scale

    def score(self, view: PoolView) -> Tensor:
        total = (view.labelled.sum(1) + view.budget_left).clamp(min=1)
        progress = (view.labelled.sum(1) / total).double().unsqueeze(1)  # (B, 1)
        w, v = self.weights[: len(MIXED)], self.weights[len(MIXED) :]
        scores = torch.zeros_like(progress).expand(view.valid.shape).clone()
        for rule, start, slope in zip(MIXED.values(), w, v, strict=True):
            if start or slope:
                scores += (start + slope * progress) * standardise(
                    rule(view).double().unsqueeze(-1), view.selectable
                ).squeeze(-1)
        if self.noise_scale:
            n = view.valid.shape[1]
            scores += self.noise_scale * view.random(lambda rng: rng.gumbel(size=n), self.seed)
        return scores

    def fit(
        self,
        cores: Sequence[Core],
        *,
        tasks: int = 64,
        iterations: int = 20,
        population: int = 24,
        seed: int = 0,
        progress: Callable[[int, float], None] | None = None,
    ) -> WeightedRules:
        """Returns the rule with the best weights for the mean reward-set AULC over training tasks.

        They are found by the cross-entropy method (Rubinstein 1999): weights are drawn from a Gaussian, which is
        refitted to the best quarter. Every candidate plays the same tasks. Only the direction of the weights matters,
        so draws are normalised.

        Args:
            cores: sources of tasks; a wide mixture generalises.
            tasks: number of tasks per core and candidate.
            iterations, population: size of the search.
            progress: called with the iteration and the mean AULC of the elite.
        """
        rng = np.random.default_rng(seed)
        size, elite = 2 * len(MIXED), max(2, population // 4)
        mean, deviation = np.array(self.weights), np.full(size, 0.5)
        generators = [[np.random.default_rng([seed, i]) for i in range(tasks)] for _ in cores]
        drawn = [core.sampler.sample(each) for core, each in zip(cores, generators, strict=True)]
        for iteration in range(iterations):
            draws = mean + deviation * rng.normal(size=(population, size))
            draws[0] = mean
            draws /= np.linalg.norm(draws, axis=1, keepdims=True)
            values = []
            for weights in draws:
                candidate = WeightedRules(weights=weights.tolist(), seed=self.seed)
                scores = [_aulc(core, candidate, part) for core, part in zip(cores, drawn, strict=True)]
                values.append(float(np.mean(scores)))
            best = np.argsort(values)[::-1][:elite]
            mean = draws[best].mean(0)
            deviation = draws[best].std(0) + 0.1 * 0.8**iteration
            if progress is not None:
                progress(iteration, float(np.mean(np.array(values)[best])))
        return WeightedRules(weights=(mean / np.linalg.norm(mean)).tolist(), seed=self.seed)


def _aulc(core: Core, strategy: Strategy, task: TaskBatch) -> float:
    """Returns the mean area under the reward set's learning curve."""
    area = torch.zeros(len(task), device=core.device)
    for moment in play_out(core, core.reset(task), lambda view, _: strategy.select(view)):
        area[moment.running] = moment.state.accuracy_sum / moment.state.used
    return float(area.mean())
