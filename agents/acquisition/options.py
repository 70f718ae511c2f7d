"""`QueryOptions`: what a query may be told beside the items and their labels."""

from __future__ import annotations

import numbers
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.acquisition.arrays import number_each
from agents.acquisition.policies import PolicySpec
from agents.acquisition.prior import Prior
from metaal_env.errors import InputError, InputTypeError

Seed = int | np.random.RandomState | np.random.Generator | None


@dataclass(frozen=True)
class Limits:
    """Bounds of a query's cost.

    Attributes:
        scored: unlabelled items that are scored; this many stand for a larger pool, see `scored_items`.
        cells: items times classes that are scored by strategies whose cost grows with both.
        least_scored: items that these score in any case.
        landmarks: scored items against which all of them are measured; up to as many, distances are exact.
            Environments, which play many pools at once, have half (entry 88 of docs/log/2026-11.md).
        labelled: labelled items that the view holds; of more, this many are drawn. A classifier sees them all.
        exact_batches: up to this many scored items every pick of a batch is followed by a new evaluation.
        evaluations: per batch beyond that; between them near-copies of the picks so far are penalised.
        drawn_landmarks: landmarks of a larger pool that are drawn uniformly, see `cover`.
        rounds: rounds in which further landmarks are found where these leave gaps.
        landmarks_per_round: landmarks that are found in each.
    """

    scored: int = 4096
    cells: int = 2**20
    least_scored: int = 256
    landmarks: int = 2048
    labelled: int = 1024
    exact_batches: int = 1024
    evaluations: int = 20
    drawn_landmarks: int = 512
    rounds: int = 8
    landmarks_per_round: int = 64


@dataclass(frozen=True, eq=False)
class QueryOptions:
    """Options of `agents.acquisition.query`, which documents each of them.

    Raises:
        InputTypeError: an option of the wrong type.
        InputError: a negative budget.
    """

    clf: Any = None
    fit_clf: bool = True
    sample_weight: Any = None
    prior: Any = None
    classes: Any = None
    budget: float | None = None
    missing_label: Any = np.nan
    random_state: Seed = None
    policy: PolicySpec = None
    costs: Any = None
    groups: Any = None
    per_group: int | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not isinstance(self.fit_clf, (bool, np.bool_)):
            raise InputTypeError(f"fit_clf={self.fit_clf!r} must be True or False.")
        kind = numbers.Integral if self.costs is None else numbers.Real
        if self.budget is not None and (isinstance(self.budget, bool) or not isinstance(self.budget, kind)):
            what = "a whole number of labels" if self.costs is None else "a number, the money in all"
            raise InputTypeError(f"budget={self.budget!r} must be {what}.")
        if self.budget is not None and not self.budget >= 0:  # NaN is not
            raise InputError(f"budget={self.budget!r} must be at least 0.")

    def weights(self, n: int) -> np.ndarray | None:
        """Returns the (N,) weights of the items.

        Raises:
            InputTypeError: no numbers.
            InputError: not one weight per item, or one that is negative or not finite.
        """
        if self.sample_weight is None:
            return None
        weight = number_each(self.sample_weight, n, "sample_weight", "weight")
        wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        if len(wrong):
            raise InputError(f"sample_weight[{wrong[0]}]={weight[wrong[0]]} must be a number of at least 0.")
        return weight

    def start(self, n: int) -> Prior | None:
        """Returns what is known of the N items before any label.

        Raises:
            InputTypeError, InputError: see `Prior.read`.
        """
        if self.prior is None or isinstance(self.prior, Prior):
            return self.prior
        return Prior.read(self.prior, self.classes, n)

    @property
    def seed(self) -> int:
        """The number that `random_state` stands for. A generator is not advanced, so equal calls are equal.

        Raises:
            InputTypeError: neither None, an integer nor one of NumPy's generators.
            InputError: a negative number.
        """
        state = self.random_state
        if state is None:
            return 0
        if isinstance(state, np.random.RandomState):
            return int(deepcopy(state).randint(2**31))
        if isinstance(state, np.random.Generator):
            return int(deepcopy(state).integers(2**31))
        if isinstance(state, (bool, np.bool_)) or not isinstance(state, numbers.Integral):
            raise InputTypeError(
                f"random_state={state!r} must be None, an integer, a RandomState or a Generator."
            )
        if int(state) < 0:
            raise InputError(f"random_state={state} must not be negative.")
        return int(state)
