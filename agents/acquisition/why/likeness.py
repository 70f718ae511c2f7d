"""Finds which rules a policy resembles and from when on: rank correlations along an episode that it plays itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata

from agents.acquisition.policies import PolicySpec, load_policy
from agents.acquisition.query import select
from agents.strategies.base import Strategy
from metaal_env.batched import standardise
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames, standardised_scores
from metaal_env.pool.view import PoolView

SHOWN = (0, 0.1, 0.25, 0.5, 0.75, 1)
"""Parts of the budget at which the policy is compared."""


class Likeness(NamedTuple):
    labels: int
    rule: str
    correlation: float  # Spearman, over the unlabelled items; NaN where the rule is constant


def policy_report(
    x: np.ndarray,
    truth: Sequence[Any] | np.ndarray,
    *,
    policy: PolicySpec = "metaal-pools",
    budget: int = 30,
) -> list[Likeness]:
    """Rank correlation of the policy's scores with each rule's, as labels grow from 0 to `budget`.

    Args:
        x: (N, D) features.
        truth: (N,) the label of every item; only those of picked items are read.
        policy: see `agents.acquisition.load_policy`.

    Raises:
        InputError: a missing label, or a budget that leaves nothing to score.
    """
    missing = sum(label is None or label != label for label in truth)
    if missing:
        raise InputError(f"truth lacks {missing} labels; a report plays an episode and needs every label.")
    if not 1 <= budget < len(truth):
        raise InputError(f"budget={budget} must be in 1…{len(truth) - 1}.")
    strategy = load_policy(policy)
    y = np.full(len(truth), None, dtype=object)
    shown = {round(budget * part) for part in SHOWN}
    found: list[Likeness] = []
    for n in range(budget + 1):
        selection = select(x, y, policy=strategy, missing_label=None, budget=budget)
        if n in shown:
            correlations = rank_correlations(strategy, selection.views[0])
            found += [Likeness(n, rule, value) for rule, value in correlations.items()]
        y[selection.picks[0]] = truth[selection.picks[0]]
    return found


def rank_correlations(strategy: Strategy, view: PoolView) -> dict[str, float]:
    """Spearman correlation over the unlabelled items of pool 0 between the strategy's scores and each rule's.

    NaN where a rule is constant.
    """
    open_ = view.selectable[0]
    items = standardised_scores(view)[0][open_].double().numpy()
    with torch.no_grad():
        # Standardised as the rules' are, so that what differs by rounding alone is constant here, too.
        scores = (
            standardise(strategy.score(view).unsqueeze(-1), view.selectable)[0, open_, 0].double().numpy()
        )
    ranks = np.apply_along_axis(rankdata, 0, np.column_stack([scores, items]))
    ranks -= ranks.mean(0)
    length = np.sqrt(np.square(ranks).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = ranks[:, 1:].T @ ranks[:, 0] / (length[1:] * length[0])
    return dict(zip(FeatureNames.registered().item_scores, correlation.tolist(), strict=True))


def most_alike(report: Sequence[Likeness], labels: int, most: int = 4) -> list[Likeness]:
    """The rules most like the policy at one number of labels."""
    here = [point for point in report if point.labels == labels and not np.isnan(point.correlation)]
    return sorted(here, key=lambda point: -point.correlation)[:most]
