"""Chooses which items to ask for next, given the answers of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.acquisition.batch import Selection
from agents.acquisition.items.items import Items
from agents.acquisition.policies import PolicySpec
from agents.acquisition.purchase import SLACK
from agents.acquisition.query import select
from agents.acquisition.tool.session import Session
from metaal_env.errors import InputError


@dataclass(frozen=True)
class Choice:
    """Says which items to ask for.

    Attributes:
        policy: See `agents.acquisition.load_policy`.
        budget: Labels in all, those known included; the loop ends there. Money where items have prices.
        classes: Classes that are known in advance.
        yardstick: Items to draw at random, before any is chosen, to measure the accuracy with.
        costs: (N,) price of each item's label; None where all cost the same.
        groups: (N,) what each item belongs to, empty where it stands alone.
        per_group: Most items of a group that are chosen together.
    """

    policy: PolicySpec = None
    budget: float | None = None
    classes: tuple[str, ...] = ()
    yardstick: int = 0
    costs: np.ndarray | None = None
    groups: np.ndarray | None = None
    per_group: int | None = None

    @classmethod
    def of_items(
        cls,
        items: Items,
        policy: PolicySpec = None,
        budget: float | None = None,
        classes: tuple[str, ...] = (),
        yardstick: int = 0,
        per_group: int | None = None,
    ) -> Choice:
        """Returns the choice with the prices and groups of a pool.

        Raises:
            InputError: a budget that is no number of labels where all cost the same, a yardstick of all items, or
                `per_group` without groups.
        """
        if items.costs is None and budget is not None:
            if budget % 1:
                raise InputError(f"budget={budget:g} must be a whole number of labels without --cost-column.")
            budget = int(budget)
        if yardstick >= len(items) > 0:
            raise InputError(
                f"yardstick={yardstick} leaves none of the {len(items)} items to learn from; draw fewer."
            )
        if per_group is not None and (per_group < 1 or items.groups is None):
            fault = "must be at least 1" if per_group < 1 else "has no effect without --group-column; give it"
            raise InputError(f"per_group={per_group} {fault}.")
        costs = None if items.costs is None else np.array(items.costs, dtype=float)
        groups = None if items.groups is None else np.array([*items.groups, None], dtype=object)[:-1]
        return cls(policy, budget, classes, yardstick, costs, groups, per_group)

    def spent(self, session: Session) -> float:
        """Returns the labels so far, or the money that they cost."""
        known = np.array([label is not None for label in session.labels()], dtype=bool)
        return int(known.sum()) if self.costs is None else float(self.costs[known].sum())

    def affordable(self, session: Session, positions: np.ndarray, pending: Sequence[int] = ()) -> np.ndarray:
        """Returns those of the positions for which the budget is enough.

        Args:
            pending: Positions of items that are asked for already.
        """
        if self.budget is None:
            return positions
        costs = np.ones(len(session.items)) if self.costs is None else self.costs
        left = self.budget - self.spent(session) - costs[list(pending)].sum()
        return positions[costs[positions] <= left + SLACK]

    def exhausted(self, session: Session) -> bool:
        """Returns whether the budget is enough for no open item, or is spent where none is open."""
        if self.budget is None:
            return False
        left = session.open_positions()
        return not len(self.affordable(session, left)) if len(left) else self.spent(session) >= self.budget

    def paid_unseen(self, session: Session) -> float:
        """Returns the money that labels cost which do not guide the choice."""
        return 0.0 if self.costs is None else float(self.costs[session.yardstick()].sum())

    @property
    def budget_in_words(self) -> str:
        """Returns the budget with its unit."""
        return f"{self.budget:g}{'' if self.costs is not None else ' labels'}"


def choose_items(
    session: Session, x: np.ndarray, choice: Choice, size: int = 1, *, without: Sequence[int] = ()
) -> Selection:
    """Returns the `size` items that the policy finds most useful; labels of the yardstick play no part.

    Args:
        x: (N, D) vectors of the items.
        without: Positions of items that are not to be chosen.
    """
    return choose_among(
        x,
        session.choosing_labels(),
        np.setdiff1d(session.choosable_positions(choice.yardstick), without),
        choice,
        size,
        paid=choice.paid_unseen(session),
    )


def choose_among(
    x: np.ndarray, y: np.ndarray, candidates: np.ndarray, choice: Choice, size: int = 1, *, paid: float = 0.0
) -> Selection:
    """Returns the `size` most useful candidates, from arrays alone: other threads may go on with the session.

    Args:
        x: (N, D) vectors of the items.
        y: (N,) labels that may guide the choice, None where unknown.
        candidates: Positions of the items that may be chosen.
        paid: Money that labels cost which `y` lacks.
    """
    seen = [label for label in y if label is not None]
    return select(
        x,
        y,
        candidates=candidates,
        batch_size=size,
        policy=choice.policy,
        missing_label=None,
        budget=choice.budget
        if choice.budget is None or choice.costs is None
        else max(0.0, choice.budget - paid),
        costs=choice.costs,
        groups=choice.groups,
        per_group=choice.per_group,
        classes=list(dict.fromkeys([*choice.classes, *seen])) if choice.classes else None,
    )
