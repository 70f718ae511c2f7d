"""One cell of the verdict on general policies: its comparison, its line in the table, and what all cells say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.evaluation.comparisons import ORACLE, gap_share, mean_of, pooled_difference
from agents.evaluation.episodes import Episodes, Paired
from agents.evaluation.statistics import Interval

RULES = ("margin", "max_herding", "uherding", "typiclust", "probcover", "badge")


class Cell(NamedTuple):
    """One comparison."""

    name: str
    rival: str
    policy: float
    rule: float
    gain: Interval  # policy − best rule
    over_margin: Interval
    over_herding: Interval  # policy − the better of MaxHerding and UHerding
    gap: Interval  # share of (best rule → oracle) that is closed
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
    """Compares policies with rules and an oracle, whose curves may be longer than `budget`."""
    cut = {n: e.curves["accuracy"][:, : budget + 1] for n, e in (rules | policies).items()}
    first = next(iter(policies.values()))
    strata = np.array([text.split(" ")[0] for text in first.strata], dtype=object)  # the data set
    for episodes in rules.values():
        same = np.allclose(episodes.curves["accuracy"][:, 0], first.curves["accuracy"][:, 0])
        assert same and np.array_equal(episodes.seeds, first.seeds), "rules and policies play the same tasks"
    values = np.stack([curve[:, 1:].mean(1) for curve in cut.values()], 1)
    everyone = Paired(tuple(cut), values, strata, first.seeds)
    own = list(policies)
    rival = max(RULES, key=lambda n: mean_of(everyone.column(n)))
    herding = max(("max_herding", "uherding"), key=lambda n: mean_of(everyone.column(n)))
    mean_policy = np.stack([everyone.column(n) for n in own], 1).mean(1)
    among = np.isin(first.seeds, oracle.seeds)
    best = oracle.curves["accuracy"][:, 1 : budget + 1].mean(1)
    three = np.stack([mean_policy[among], everyone.column(rival)[among], best], 1)
    gap = gap_share(
        Paired(("policy", rival, ORACLE), three, strata[among], oracle.seeds), "policy", rival, ORACLE
    )
    best_rule = cut[rival][among].mean(0)
    ahead = oracle.curves["accuracy"][:, : budget + 1].mean(0)
    by_curve = {n: cut[n].mean(0) for n in RULES} | {"policy": np.mean([cut[n].mean(0) for n in own], 0)}
    return Cell(
        name=name,
        rival=rival,
        policy=mean_of(mean_policy),
        rule=mean_of(everyone.column(rival)),
        gain=pooled_difference(everyone, own, rival),
        over_margin=pooled_difference(everyone, own, "margin"),
        over_herding=pooled_difference(everyone, own, herding),
        gap=gap,
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
    above = sum(c.gain.low > 0 for c in cells)
    below = sum(c.gain.high < 0 for c in cells)
    gap = np.nanmean([c.gap.estimate for c in cells])
    text = [
        f"{len(cells)} cells; policy above the best rule of the cell with the interval excluding 0 in {above}, "
        f"below in {below}; mean difference {np.mean([c.gain.estimate for c in cells]):+.4f}.",
        f"Against margin: above in {sum(c.over_margin.low > 0 for c in cells)}, below in "
        f"{sum(c.over_margin.high < 0 for c in cells)}; mean {np.mean([c.over_margin.estimate for c in cells]):+.4f}. "
        "Against the better of MaxHerding and UHerding: mean "
        f"{np.mean([c.over_herding.estimate for c in cells]):+.4f}.",
        f"Share of the gap from the best rule to greedy look-ahead: mean {gap:.0%}.",
    ]
    ratios = {
        "margin's": [c.labels["policy"] / c.labels["margin"] for c in cells],
        "the best rule's": [c.labels["policy"] / c.labels[c.rival] for c in cells],
        "the best rule's by greedy look-ahead": [c.floor for c in cells],
    }
    for what, values in ratios.items():
        there = [r for r in values if np.isfinite(r) and r > 0]
        if there:
            text.append(
                f"Labels to 90 % of full-pool accuracy: {np.exp(np.mean(np.log(there))):.2f} × {what} "
                f"(geometric mean over the {len(there)} cells where both get there)."
            )
    return "\n".join(text)
