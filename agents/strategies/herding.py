"""Herding: labels the item that adds most to the kernel coverage of the pool. Strongest at low budget.

Every cost is O(N·L) per query with L landmarks (all items up to `distances.MAX_LANDMARKS`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from agents.strategies.lookahead import learner_logits, learner_of, support, tile
from metaal_env.features import rules
from metaal_env.metrics import calibration_error
from metaal_env.pool.view import PoolView

FOLDS = 5
"""Parts of the labels; each is predicted by a learner that is adapted to the others."""
BINS = 15
"""Intervals of confidence of the calibration error."""
TEMPERATURES = tuple(10 ** (step / 24) for step in sorted(range(-24, 25), key=abs))
"""Candidates from .1 to 10; of equally good ones the first, nearest to 1, is taken."""


@STRATEGIES.register("max_herding")
class MaxHerding(Strategy):
    """Scores by mean_l max(k(i, l) − max_{j labelled} k(j, l), 0) (MaxHerding, Bae et al. 2024, 2407.12212).

    Args:
        width: squared kernel radius, relative to the pool's mean squared distance, so that one value serves
            every embedding space.
    """

    diversifies = True

    def __init__(self, *, width: float = rules.HERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score(self, view: PoolView) -> Tensor:
        return rules.herding_gain(view, self.width)


@STRATEGIES.register("uherding")
class UHerding(Strategy):
    """Scores by uncertainty-weighted coverage with a radius that shrinks with labels (Bae et al. 2025, 2412.20644).

    mean_l u(l) · max(k(i, l) − max_{j labelled} k(j, l), 0); see `rules.uherding_gain`.
    """

    diversifies = True

    def __init__(self, *, width: float = rules.UHERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score(self, view: PoolView) -> Tensor:
        return rules.uherding_gain(view, self.width)


@STRATEGIES.register("uherding_calibrated")
class CalibratedUHerding(UHerding):
    """Scores as UHerding, of probabilities whose temperature is fitted to the labels.

    Bae et al. (2025, 2412.20644) scale UHerding's temperature so. Details are those of scikit-activeml, not read in the
    paper: logits are divided by the temperature with the least calibration error on labels held out. Here each label is
    held out once, in one of `FOLDS` parts, as a handful cannot spare any. The learner's logits count even where a
    user's classifier gives others: a temperature belongs to the model that it was fitted for.
    """

    needs_learner = True

    def score(self, view: PoolView) -> Tensor:
        logits = learner_logits(view, self) / temperature(view, self).view(-1, 1, 1)
        return rules.uherding_gain(replace(view, logits=logits), self.width)


@torch.no_grad()
def temperature(view: PoolView, strategy: object) -> Tensor:
    """Returns the (B,) temperatures of `TEMPERATURES` under which labels, left out in turn, are best calibrated.

    It is 1 while there are fewer than two labels.
    """
    learner, prepared = learner_of(view, strategy)
    items, labels, mask = support(view, prepared)
    one = torch.ones(len(view), dtype=view.logits.dtype, device=view.device)
    if int(mask.sum(1).max() if mask.numel() else 0) < 2:
        return one
    fold = (mask.long().cumsum(1) - 1).clamp(min=0) % FOLDS  # (B, S)
    kept = mask.unsqueeze(1) & (fold.unsqueeze(1) != torch.arange(FOLDS, device=view.device).view(1, -1, 1))
    adapted = learner.adapt(
        tile(items, FOLDS), tile(labels, FOLDS), kept.flatten(0, 1), tile(view.class_mask, FOLDS)
    )
    every = learner.predict(adapted, tile(items, FOLDS)).unflatten(0, (len(view), FOLDS))  # (B, F, S, K)
    logits = torch.take_along_dim(every, fold.unsqueeze(1).unsqueeze(-1), 1).squeeze(1)  # (B, S, K)
    hit = logits.argmax(-1) == labels
    confidence = torch.stack([torch.softmax(logits / t, -1).amax(-1) for t in TEMPERATURES])
    errors = torch.stack([calibration_error(c, hit, mask, BINS) for c in confidence])  # (T, B)
    # Rounding must not choose between candidates.
    best = (errors <= errors.amin(0) + 1e-6).int().argmax(0)
    found = one.new_tensor(TEMPERATURES)[best]
    return torch.where(mask.sum(1) < 2, one, found)
