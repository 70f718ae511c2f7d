"""One cell of the verdict on general policies: its comparison, its line in the table, and what all cells say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.evaluation.episodes import Episodes
from agents.evaluation.paired import Paired
from agents.evaluation.statistics.comparisons import LOOKAHEAD, gap_share, mean_of, pooled_difference
from agents.evaluation.statistics.intervals import Interval

RULES = ("margin", "max_herding", "uherding", "typiclust", "probcover", "badge", "clue")
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
    """Compares policies with rules and an oracle, whose curves may be longer than `budget`.

    Rules may have played more tasks, the oracle fewer. Every rule but `OWN_RULE` is a rival.
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
    own, rivals = list(policies), [n for n in rules if n != OWN_RULE]
    rival = max(rivals, key=lambda n: mean_of(everyone.column(n)))
    herding = max(("max_herding", "uherding"), key=lambda n: mean_of(everyone.column(n)))
    mean_policy = np.stack([everyone.column(n) for n in own], 1).mean(1)
    among = np.isin(first.seeds, oracle.seeds)
    best = oracle.curves["accuracy"][:, 1 : budget + 1].mean(1)
    three = np.stack([mean_policy[among], everyone.column(rival)[among], best], 1)
    gap = gap_share(
        Paired(("policy", rival, LOOKAHEAD), three, strata[among], oracle.seeds), "policy", rival, LOOKAHEAD
    )
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
        labels={n: crossing(curve, 0.9 * full) for n, curve in by_curve.items()},
        floor=crossing(ahead, 0.9 * full) / crossing(best_rule, 0.9 * full),
    )


def crossing(curve: np.ndarray, level: float) -> float:
    """First (interpolated) label count at which a mean learning curve reaches `level`; inf if it does not."""
    reached = np.flatnonzero(curve >= level)
    if len(reached) == 0:
        return np.inf
    at = int(reached[0])
    return float(at if at == 0 else at - (curve[at] - level) / (curve[at] - curve[at - 1]))


HEADER = (
    "| cell | best rule | it | policy | policy − best rule | policy − margin | policy − better herding | gap closed "
    "| labels to 90 %: policy / best rule / margin |\n|---|---|---|---|---|---|---|---|---|"
)


def line(cell: Cell) -> str:
    """A row of the table."""

    def interval(i: Interval) -> str:
        return "–" if np.isnan(i.estimate) else f"{i.estimate:+.4f} [{i.low:+.4f}, {i.high:+.4f}]"

    labels = [f"{cell.labels[n]:.1f}" for n in ("policy", cell.rival, "margin")]
    return (
        f"| {cell.name} | {cell.rival} | {cell.rule:.3f} | {cell.policy:.3f} | {interval(cell.gain)} | "
        f"{interval(cell.over_margin)} | {interval(cell.over_herding)} | {cell.gap.estimate:.0%} | "
        f"{' / '.join(labels)} |"
    )


def summary(cells: Sequence[Cell]) -> str:
    """What the cells say together."""

    def against(what: str, found: Sequence[Interval]) -> str:
        above, below = sum(i.low > 0 for i in found), sum(i.high < 0 for i in found)
        mean = np.mean([i.estimate for i in found])
        return (
            f"- {what}: above with the interval excluding 0 in {above}, below in {below}; mean {mean:+.4f}."
        )

    closed, gap = np.sum([c.to_oracle for c in cells], 0)
    return "\n".join(
        [
            f"{len(cells)} cells; the policy against",
            against("the best rule of the cell in hindsight", [c.gain for c in cells]),
            against("margin", [c.over_margin for c in cells]),
            against("the better of MaxHerding and UHerding", [c.over_herding for c in cells]),
            against(f"our rule {OWN_RULE}", [c.over_own for c in cells]),
            f"Of the gap from the best rule to greedy look-ahead it closes {closed / gap:.0%} "
            "(sums over cells; the tasks that look-ahead played).",
            *labels_needed(cells),
        ]
    )


def labels_needed(cells: Sequence[Cell]) -> list[str]:
    """Ratios of labels to 90 %, once for each setting: cells that differ in their budget share a curve."""
    longest = list({cell.name.rsplit(" ", 2)[0]: cell for cell in cells}.values())
    margin = [c.labels["policy"] / c.labels["margin"] for c in longest]
    rule = [(c.labels["policy"] / c.labels[c.rival], c.floor) for c in longest]
    text = []
    for whose, ratios in (("margin's", np.array(margin)[:, None]), ("the best rule's", np.array(rule))):
        there = ratios[(np.isfinite(ratios) & (ratios > 0)).all(1)]
        if len(there):
            first, *rest = np.exp(np.log(there).mean(0))
            text.append(
                f"Labels to 90 % of full-pool accuracy: {first:.2f} × {whose}"
                + "".join(f", greedy look-ahead {other:.2f} ×" for other in rest)
                + f" (geometric mean over the {len(there)} of {len(longest)} settings where all get there)."
            )
    return text
