"""Which items to ask for next, given the answers of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.acquisition.batch import Selection
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import select
from agents.acquisition.tool.session import Session


@dataclass(frozen=True)
class Choice:
    """Says which items to ask for.

    Attributes:
        policy: See `agents.pretrained.load_policy`.
        budget: Labels in all, those known included; the loop ends there.
        classes: Classes that are known in advance.
        yardstick: Items to draw at random, before any is chosen, to measure the accuracy with.
    """

    policy: PolicySpec = None
    budget: int | None = None
    classes: tuple[str, ...] = ()
    yardstick: int = 0


def choose_items(
    session: Session, x: np.ndarray, choice: Choice, size: int = 1, *, without: Sequence[int] = ()
) -> Selection:
    """Returns the `size` items that the policy finds most useful; labels of the yardstick play no part.

    Args:
        x: (N, D) vectors of the items.
        without: Positions of items that are not to be chosen.
    """
    return choose_among(
        x, session.choosing_labels(), np.setdiff1d(session.open_positions(), without), choice, size
    )


def choose_among(
    x: np.ndarray, y: np.ndarray, candidates: np.ndarray, choice: Choice, size: int = 1
) -> Selection:
    """Returns the `size` most useful candidates, from arrays alone: other threads may go on with the session.

    Args:
        x: (N, D) vectors of the items.
        y: (N,) labels that may guide the choice, None where unknown.
        candidates: Positions of the items that may be chosen.
    """
    seen = [label for label in y if label is not None]
    return select(
        x,
        y,
        candidates=candidates,
        batch_size=size,
        policy=choice.policy,
        missing_label=None,
        budget=choice.budget,
        classes=list(dict.fromkeys([*choice.classes, *seen])) if choice.classes else None,
    )
