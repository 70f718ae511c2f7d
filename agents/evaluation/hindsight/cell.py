"""One cell of a verdict: policies against the best rule of the cell in hindsight."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agents.evaluation.episodes import Episodes
from agents.evaluation.paired import Paired
from agents.evaluation.statistics.comparisons import LOOKAHEAD, RANDOM, gap_share, mean_of, pooled_difference
from agents.evaluation.statistics.intervals import Interval

RULES = (
    "margin",
    "max_herding",
    "uherding",
    "typiclust",
    "probcover",
    "badge",
    "clue",
    "bait",
    "tcm",
    "dropquery",
    "refine",
)
"""The rivals."""

COMPARED = ("margin", "max_herding", "uherding")
"""Of these, what policies are compared with in every cell, whichever is the best rule."""

OWN_RULE = "partition_lookahead"
"""Ours, no rival: its scores are among the policy's features, and what is above it was learned."""


class Cell(NamedTuple):
    """One comparison."""

    name: str
    rival: str
    policy: float
    rule: float
    gain: Interval  # policy − best rule
    over_margin: Interval
    over_herding: Interval  # policy − the better of MaxHerding and UHerding
    over_own: Interval  # policy − `OWN_RULE`
    gap: Interval  # share of (best rule → oracle) that is closed
    to_oracle: tuple[float, float]  # policy − best rule and oracle − best rule, on the oracle's tasks
    from_random: tuple[float, float, float]  # policy, best rule, oracle, each − random, on the oracle's tasks
    labels: dict[str, float]  # strategy → labels to 90 % of the accuracy with all labels
    floor: float  # of these, what greedy look-ahead needs, as a share of the best rule's on the same tasks


def judge(
    name: str,
    budget: int,
    rules: dict[str, Episodes],
    policies: dict[str, Episodes],
    oracle: Episodes,
    full: float,
) -> Cell:
    """Compares policies with rules and look-ahead, in one setting at one budget.

    Args:
        name: of the cell.
        budget: labels; curves may be longer.
        rules: name → episodes, on the policies' tasks and perhaps more. Every rule but `OWN_RULE` and
            `RANDOM` is a rival.
        policies: name → episodes; policies of several seeds count as one method.
        oracle: episodes of greedy look-ahead, perhaps on fewer tasks.
        full: accuracy once the whole pool is labelled.
    """
    first = next(iter(policies.values()))
    rules = {n: e.rows(np.isin(e.seeds, first.seeds)) for n, e in rules.items()}
    cut = {n: e.curves["accuracy"][:, : budget + 1] for n, e in (rules | policies).items()}
    strata = np.array([text.split(" ")[0] for text in first.strata], dtype=object)  # the data set
    for episodes in rules.values():
        same = np.allclose(episodes.curves["accuracy"][:, 0], first.curves["accuracy"][:, 0])
        assert same and np.array_equal(episodes.seeds, first.seeds), "rules and policies play the same tasks"
    values = np.stack([curve[:, 1:].mean(1) for curve in cut.values()], 1)
    everyone = Paired(tuple(cut), values, strata, first.seeds)
    own, rivals = list(policies), [n for n in rules if n not in (OWN_RULE, RANDOM)]
    rival = max(rivals, key=lambda n: mean_of(everyone.column(n)))
    herding = max(("max_herding", "uherding"), key=lambda n: mean_of(everyone.column(n)))
    mean_policy = np.stack([everyone.column(n) for n in own], 1).mean(1)
    among = np.isin(first.seeds, oracle.seeds)
    best = oracle.curves["accuracy"][:, 1 : budget + 1].mean(1)
    three = np.stack([mean_policy[among], everyone.column(rival)[among], best], 1)
    gap = gap_share(
        Paired(("policy", rival, LOOKAHEAD), three, strata[among], oracle.seeds), "policy", rival, LOOKAHEAD
    )
    random = mean_of(everyone.column(RANDOM)[among])
    best_rule = cut[rival][among].mean(0)
    ahead = oracle.curves["accuracy"][:, : budget + 1].mean(0)
    by_curve = {n: cut[n].mean(0) for n in rivals} | {"policy": np.mean([cut[n].mean(0) for n in own], 0)}
    return Cell(
        name=name,
        rival=rival,
        policy=mean_of(mean_policy),
        rule=mean_of(everyone.column(rival)),
        gain=pooled_difference(everyone, own, rival),
        over_margin=pooled_difference(everyone, own, "margin"),
        over_herding=pooled_difference(everyone, own, herding),
        over_own=pooled_difference(everyone, own, OWN_RULE),
        gap=gap,
        to_oracle=(mean_of(three[:, 0] - three[:, 1]), mean_of(three[:, 2] - three[:, 1])),
        from_random=(
            mean_of(three[:, 0]) - random,
            mean_of(three[:, 1]) - random,
            mean_of(three[:, 2]) - random,
        ),
        labels={n: crossing(curve, 0.9 * full) for n, curve in by_curve.items()},
        floor=crossing(ahead, 0.9 * full) / crossing(best_rule, 0.9 * full),
    )


def crossing(curve: np.ndarray, level: float) -> float:
    """Returns the (interpolated) label count at which a mean learning curve first reaches `level`, else inf."""
    reached = np.flatnonzero(curve >= level)
    if len(reached) == 0:
        return np.inf
    at = int(reached[0])
    return float(at if at == 0 else at - (curve[at] - level) / (curve[at] - curve[at - 1]))
