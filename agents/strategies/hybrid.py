"""Uncertainty and diversity in one rule: BADGE, FALCUN, TCM."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, cold_start, masked_scores, stack_picks
from agents.strategies.diversity import TypiClust
from metaal_env.features import rules
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView


@STRATEGIES.register("badge")
class Badge(Strategy):
    """Runs k-means++ over gradient embeddings g = (p − e_ŷ) ⊗ h (Ash et al. 2020, alg. 1, BADGE).

    The first pick has the largest ‖g‖² = ‖p − e_ŷ‖² ‖h‖²; the others are drawn with probability ∝ the squared
    distance to the nearest picked g. h is taken around the pool's mean, because the origin of a raw embedding has no
    meaning. Distances come from ⟨g_i, g_j⟩ = ⟨q_i, q_j⟩ ⟨h_i, h_j⟩, so g is never formed. Cost O(N·(D + K)) per pick.
    """

    def score(self, view: PoolView) -> Tensor:
        residual, x = self._factors(view)
        return residual.square().sum(-1) * x.square().sum(-1)

    @staticmethod
    def _factors(view: PoolView) -> tuple[Tensor, Tensor]:
        """Returns the (B, N, K) residuals p − e_ŷ and the (B, N, D) centred embeddings."""
        hot = torch.nn.functional.one_hot(view.probs.argmax(-1), view.probs.shape[-1])
        weight = (view.valid / view.valid.sum(1, keepdim=True).clamp(min=1)).to(view.embeddings.dtype)
        mean = torch.einsum("bn,bnd->bd", weight, view.embeddings)
        return view.probs - hot, view.embeddings - mean.unsqueeze(1)

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        residual, x = self._factors(view)
        norm = self.score(view)
        nearest = torch.full_like(norm, torch.inf)
        picks: list[Tensor] = []
        for step in range(size):
            if step == 0:
                scores = norm
            else:
                gumbel = view.random(lambda rng: rng.gumbel(size=norm.shape[1]), self.seed).to(norm.dtype)
                scores = nearest.clamp(min=1e-30).log() + gumbel  # a draw ∝ D² by the Gumbel-max trick
            pick = masked_scores(scores, view).argmax(1)
            picks.append(torch.where(view.selectable.any(1), pick, -1))
            view = view.with_pending(picks[-1])
            index = pick.view(-1, 1, 1)
            cross = (residual * torch.take_along_dim(residual, index, 1)).sum(-1)
            cross = cross * (x * torch.take_along_dim(x, index, 1)).sum(-1)
            distance = norm + torch.take_along_dim(norm, pick.unsqueeze(1), 1) - 2 * cross
            nearest = torch.minimum(nearest, distance.clamp(min=0))
        return stack_picks(picks, view)


@STRATEGIES.register("falcun")
class Falcun(Strategy):
    """Draws ∝ (u + d)^γ: margin u plus distance d to the batch in probability space (Gilhuber et al. 2024).

    d starts as u; after each pick it is the least L1 distance between class probabilities, rescaled to
    [0, 1]. γ = 10, the paper's. Cost O(N·K) per pick.
    """

    stochastic = True

    def __init__(self, *, gamma: float = 10.0, seed: int = 0):
        super().__init__(seed=seed)
        self.gamma = gamma

    def score(self, view: PoolView) -> Tensor:
        unsure = rules.margin(view)
        return self._draw(view, unsure, unsure)

    def _draw(self, view: PoolView, unsure: Tensor, distance: Tensor) -> Tensor:
        n = unsure.shape[1]
        gumbel = view.random(lambda rng: rng.gumbel(size=n), self.seed).to(unsure.dtype)
        return self.gamma * (unsure + distance).clamp(min=1e-12).log() + gumbel

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        unsure = rules.margin(view)
        distance, picks = unsure, []
        for _ in range(size):
            pick = masked_scores(self._draw(view, unsure, distance), view).argmax(1)
            picks.append(torch.where(view.selectable.any(1), pick, -1))
            chosen = torch.take_along_dim(view.probs, pick.view(-1, 1, 1), 1)
            distance = torch.minimum(distance, (view.probs - chosen).abs().sum(-1))
            low = distance.masked_fill(~view.selectable, torch.inf).amin(1, keepdim=True)
            high = distance.masked_fill(~view.selectable, -torch.inf).amax(1, keepdim=True)
            distance = ((distance - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
            view = view.with_pending(picks[-1])
        return stack_picks(picks, view)


@STRATEGIES.register("tcm")
class TCM(Strategy):
    """Starts with TypiClust and changes to margin after some labels (Doucet et al. 2024, TCM).

    The change comes at `switch` labels per class of the task. The cost is that of the rule in use.
    """

    diversifies = False

    def __init__(self, *, switch: float = 1.0, seed: int = 0):
        super().__init__(seed=seed)
        self.switch = switch

    def score(self, view: PoolView) -> Tensor:
        typical = TypiClust(seed=self.seed).score(view)
        covering = (view.labelled.sum(1) < self.switch * view.way).unsqueeze(1) | cold_start(view)
        return torch.where(covering, typical, rules.margin(view).double())
