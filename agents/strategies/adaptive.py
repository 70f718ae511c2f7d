"""Choosing among strategies while labelling: ALBL (EXP4.P) and Thompson sampling (TAILOR).

Both are functions of the view alone. The picks of each rule before every label so far are computed again from the
prefix of the labelled set. So nothing is kept between queries, and equal views get equal answers. The cost is that of
the rules and one adaptation per label so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from agents.strategies.lookahead import learner_of
from metaal_env.batched import take_rows
from metaal_env.pool.distances import Geometry
from metaal_env.pool.view import PoolView

EXPERTS = ("margin", "k_center", "max_herding", "uherding")
"""One rule per idea: uncertainty, diversity, density, and both."""


@torch.no_grad()
def history(view: PoolView, strategy: Strategy) -> Iterator[tuple[PoolView, Tensor, PoolView, Tensor]]:
    """Yields every step of the episode so far: the view before, the (B,) item, the view after, and a (B,) mask.

    The mask is False in episodes with fewer labels. Initial labels are not steps.
    """
    learner, features = learner_of(view, strategy)
    # Labels in order, padding last: every episode's t-th label stands in column t.
    order = torch.take_along_dim(view.order, torch.argsort((view.order < 0).long(), dim=1, stable=True), 1)
    total = view.order_mask.sum(1)
    initial = total - (view.budget - view.budget_left).clamp(min=0)
    first = int(initial.clamp(min=0).min()) if len(view) else 0
    before = None
    for step in range(first, int(total.max()) + 1 if order.shape[1] else 0):
        prefix = order[:, :step]
        # In bytes: CUDA has no maximum of booleans.
        labelled = torch.zeros_like(view.labelled, dtype=torch.uint8)
        labelled = labelled.scatter_reduce(
            1, prefix.clamp(min=0), (prefix >= 0).to(torch.uint8), "amax"
        ).bool()
        labels = torch.where(labelled, view.labels, -1)
        support_labels = torch.take_along_dim(labels, prefix.clamp(min=0), 1)
        mask = (prefix >= 0) & (support_labels >= 0)
        adapted = learner.adapt(take_rows(features, prefix), support_labels, mask, view.class_mask)
        static = learner.static_embedding
        embeddings = view.embeddings if static else learner.embed(adapted, features)
        ago = (total - step).clamp(min=0)
        past = replace(
            view,
            embeddings=embeddings,
            logits=learner.predict(adapted, features),
            labelled=labelled,
            labels=labels,
            order=prefix,
            budget_left=view.budget_left + ago,
            seed=view.seed - ago,
            geometry=view.geometry if static else Geometry(embeddings, view.valid),
            adapt=partial(dict, adapted),
        )
        if before is not None:
            taken = order[:, step - 1]
            yield before, taken.clamp(min=0), past, (taken >= 0) & (step > initial)
        before = past


class Selector(Strategy):
    """Holds the rules to choose among.

    Args:
        experts: names of registered strategies, neither stochastic nor privileged.
    """

    stochastic = True
    needs_learner = True

    def __init__(self, *, experts: Sequence[str] = EXPERTS, seed: int = 0):
        super().__init__(seed=seed)
        self.experts = [STRATEGIES[name](seed=seed) for name in experts]

    def picks(self, view: PoolView) -> Tensor:
        """Returns the (B, E) items that the rules would label."""
        return torch.stack([expert.select(view) for expert in self.experts], 1)


@STRATEGIES.register("albl")
class ALBL(Selector):
    """Chooses among rules by EXP4.P: active learning by learning (Hsu & Lin 2015).

    The item is drawn from q_i = Σ_e p_e 1[e picks i], where p_e = (1 − E p_min) w_e / Σ w + p_min and a
    uniform rule is among the E experts. After a label, w_e grows by the factor
    exp(p_min/2 (r̂_e + v̂_e √(log(E/δ) / (E T)))) with r̂_e = r 1[e picked it] / q, v̂_e = Σ_i 1[e picks i] / q_i
    and r the accuracy on the labelled items, each weighted by 1/q.
    """

    def __init__(self, *, experts: Sequence[str] = EXPERTS, delta: float = 0.1, seed: int = 0):
        super().__init__(experts=experts, seed=seed)
        self.delta = delta

    def _advice(self, view: PoolView) -> Tensor:
        """Returns the (B, E, N) distributions over items that the rules advise, the uniform one last."""
        n = view.valid.shape[1]
        hot = torch.nn.functional.one_hot(self.picks(view), n).double()
        uniform = view.selectable / view.selectable.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([hot, uniform.double().unsqueeze(1)], 1)

    def score(self, view: PoolView) -> Tensor:
        experts = len(self.experts) + 1
        horizon = view.budget.clamp(min=1).double()  # (B,)
        least = torch.sqrt(np.log(experts) / (experts * horizon)).clamp(max=1 / experts).unsqueeze(1)
        bonus = torch.sqrt(np.log(experts / self.delta) / (experts * horizon)).unsqueeze(1)
        log_w = view.embeddings.new_zeros(len(view), experts, dtype=torch.float64)
        drawn = torch.zeros_like(view.valid, dtype=torch.float64)  # (B, N) 1/q of the items labelled so far

        def mixture(advice: Tensor) -> Tensor:
            p = (1 - experts * least) * torch.softmax(log_w, 1) + least
            return torch.einsum("be,ben->bn", p, advice)

        for before, taken, after, real in history(view, self):
            advice = self._advice(before)
            q = mixture(advice).clamp(min=1e-6)
            index = taken.unsqueeze(1)
            q_taken = torch.take_along_dim(q, index, 1)  # (B, 1)
            drawn = torch.where(real.unsqueeze(1), drawn.scatter(1, index, 1 / q_taken), drawn)
            hit = (after.logits.argmax(-1) == after.labels).double()
            count = view.selectable.sum(1) + view.labelled.sum(1)
            reward = ((drawn * hit).sum(1) / (count * horizon)).unsqueeze(1)
            chose = torch.take_along_dim(advice, index.unsqueeze(1), 2).squeeze(2)  # (B, E)
            gain = reward * chose / q_taken + bonus * (advice / q.unsqueeze(1)).sum(-1)
            log_w = torch.where(real.unsqueeze(1), log_w + least / 2 * gain, log_w)
        n = view.valid.shape[1]
        gumbel = view.random(lambda rng: rng.gumbel(size=n), self.seed).double()
        return mixture(self._advice(view)).clamp(min=1e-12).log() + gumbel


@STRATEGIES.register("tailor")
class Tailor(Selector):
    """Chooses among rules by Thompson sampling, rewarding labels of rare classes (Zhang et al. 2023, TAILOR).

    Each rule has a Beta posterior. A label of a class with c earlier labels is worth 1 / (c + 1) to every rule that
    had asked for that item. The rule with the largest draw is followed.
    """

    def score(self, view: PoolView) -> Tensor:
        wins = view.embeddings.new_ones(len(view), len(self.experts), dtype=torch.float64)
        losses = wins.clone()
        for before, taken, after, real in history(view, self):
            index = taken.unsqueeze(1)
            label = torch.take_along_dim(after.labels, index, 1)  # (B, 1)
            had = torch.take_along_dim(before.counts, label.clamp(min=0), 1).double()
            worth = torch.where(label >= 0, 1 / (had + 1), 0.0)
            asked = (self.picks(before) == index) & real.unsqueeze(1)
            wins, losses = wins + asked * worth, losses + asked * (1 - worth)
        draw = view.random(lambda rng: rng.random(len(self.experts)), self.seed).double().cpu()
        value = beta.ppf(draw.numpy(), wins.cpu().numpy(), losses.cpu().numpy())
        arm = torch.from_numpy(value).argmax(1).to(view.device)
        # Each rule's ranking, so that scores of different rules share one scale.
        ranked = torch.stack(
            [
                (-expert.score(view).double()).argsort(dim=1, stable=True).argsort(dim=1)
                for expert in self.experts
            ],
            1,
        )
        return -torch.take_along_dim(ranked, arm.view(-1, 1, 1), 1).squeeze(1).double()
