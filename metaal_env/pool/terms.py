"""`Terms`: what labels cost, when they are revealed, and what ends an episode besides its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from metaal_env.pool.view import PoolView

AFFORDABLE = 1e-4
"""Money that may be missing: sums of costs are rounded."""


class Terms(NamedTuple):
    """Holds the terms on which B pools are labelled; all of them are known to the agent."""

    cost: Tensor  # (B, N) money for the label of each item; 1 unless items differ
    money_left: Tensor  # (B,) what is left of the budget
    price: Tensor  # (B,) return paid for a unit of money; 0 where only the budget limits
    target: Tensor  # (B,) accuracy on the reward set that ends the episode; inf without one
    pending: Tensor  # (B, N) bool, True at picks whose labels are not revealed yet
    batch_size: Tensor  # (B,) int64 picks before labels are revealed

    @property
    def affordable(self) -> Tensor:
        """Returns the (B, N) mask of items whose label costs no more than what is left."""
        return self.cost <= self.money_left.unsqueeze(1) + AFFORDABLE

    @property
    def batch_left(self) -> Tensor:
        """Returns the (B,) picks, at least 1, after which the labels of the open batch are revealed."""
        return (self.batch_size - self.pending.sum(1)).clamp(min=1)

    def picked(self, pick: Tensor) -> Terms:
        """Returns the terms after the (B,) items `pick` have been sent for labelling; −1 sends none."""
        place, sent = pick.clamp(min=0).unsqueeze(1), (pick >= 0).unsqueeze(1)
        paid = (self.cost.gather(1, place) * sent).squeeze(1)
        return self._replace(
            money_left=(self.money_left - paid).clamp(min=0),
            pending=self.pending.scatter(1, place, sent | self.pending.gather(1, place)),
        )

    def rows(self, index: Tensor) -> Terms:
        """Returns the terms of the pools at `index` (int64)."""
        return Terms(*(values[index] for values in self))


def plain_terms(valid: Tensor, budget_left: Tensor) -> Terms:
    """Returns the terms where every label costs one of the budget and is revealed at once.

    Args:
        valid: (B, N) bool, True at real items.
        budget_left: (B,) labels.
    """
    left = budget_left.to(torch.get_default_dtype())
    return Terms(
        cost=torch.ones_like(valid, dtype=left.dtype),
        money_left=left,
        price=torch.zeros_like(left),
        target=torch.full_like(left, torch.inf),
        pending=torch.zeros_like(valid),
        batch_size=torch.ones_like(left, dtype=torch.long),
    )


def terms_of(view: PoolView) -> Terms:
    """Returns the terms of a view, plain ones where it has none."""
    return plain_terms(view.valid, view.budget_left) if view.terms is None else view.terms
