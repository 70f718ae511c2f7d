"""The cells of a verdict as a table, in words and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.evaluation.hindsight.cell import OWN_RULE, Cell
from agents.evaluation.statistics.intervals import Interval

HEADER = (
    "| cell | best rule | it | policy | policy − best rule | policy − margin | policy − better herding | gap closed "
    "| labels to 90 %: policy / best rule / margin |\n|---|---|---|---|---|---|---|---|---|"
)


def line(cell: Cell) -> str:
    """Returns a row of the table."""

    def interval(i: Interval) -> str:
        return "–" if np.isnan(i.estimate) else f"{i.estimate:+.4f} [{i.low:+.4f}, {i.high:+.4f}]"

    labels = [f"{cell.labels[n]:.1f}" for n in ("policy", cell.rival, "margin")]
    return (
        f"| {cell.name} | {cell.rival} | {cell.rule:.3f} | {cell.policy:.3f} | {interval(cell.gain)} | "
        f"{interval(cell.over_margin)} | {interval(cell.over_herding)} | {cell.gap.estimate:.0%} | "
        f"{' / '.join(labels)} |"
    )


def summary(cells: Sequence[Cell]) -> str:
    """Returns what the cells say together, in Markdown."""

    def against(what: str, found: Sequence[Interval]) -> str:
        above, below = sum(i.low > 0 for i in found), sum(i.high < 0 for i in found)
        mean = np.mean([i.estimate for i in found])
        return (
            f"- {what}: above with the interval excluding 0 in {above}, below in {below}; mean {mean:+.4f}."
        )

    closed, gap = np.sum([c.to_oracle for c in cells], 0)
    policy, rule, ahead = np.sum([c.from_random for c in cells], 0)
    return "\n".join(
        [
            f"{len(cells)} cells; the policy against",
            against("the best rule of the cell in hindsight", [c.gain for c in cells]),
            against("margin", [c.over_margin for c in cells]),
            against("the better of MaxHerding and UHerding", [c.over_herding for c in cells]),
            against(f"our rule {OWN_RULE}", [c.over_own for c in cells]),
            f"Of the gap from the best rule to greedy look-ahead it closes {closed / gap:.0%} "
            "(sums over cells; the tasks that look-ahead played).",
            f"Of the gap from random to greedy look-ahead it closes {policy / ahead:.0%}, "
            f"the best rule {rule / ahead:.0%}.",
            *labels_needed(cells),
        ]
    )


def labels_needed(cells: Sequence[Cell]) -> list[str]:
    """Returns ratios of labels to 90 %, once for each setting: cells that differ in their budget share a curve."""
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


def to_json(cell: Cell) -> dict[str, Any]:
    """Returns a cell as plain numbers, None where there are none."""
    row = cell._asdict()
    for key in ("gain", "over_margin", "over_herding", "over_own", "gap"):
        row[key] = [None if np.isnan(value) else round(value, 5) for value in row[key][:3]]
    row["labels"] = {name: None if np.isinf(n) else round(n, 2) for name, n in cell.labels.items()}
    for key in ("to_oracle", "from_random"):
        row[key] = [round(value, 5) for value in row[key]]
    row["floor"] = round(cell.floor, 3) if np.isfinite(cell.floor) else None
    return row
