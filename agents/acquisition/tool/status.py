"""``metaal status``: what there is, how good it makes a model, whether to stop, and which labels to check again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agents.acquisition.tool.agreement import agreement_lines
from agents.acquisition.tool.label_errors import Doubt, doubted_labels, predicted_shares
from agents.acquisition.tool.menu import one_line
from agents.acquisition.tool.outlook import outlook, outlook_lines
from agents.acquisition.tool.pool_options import PoolOptions
from agents.acquisition.tool.progress import progress, status_lines
from agents.acquisition.tool.session import Session
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import say

SHOWN = 60
"""Characters of an item in the list of doubted labels."""


@dataclass(frozen=True)
class Status(PoolOptions):
    """Show the labels so far, the accuracy that they allow to state, whether to stop, and labels to check again."""

    price: float | None = None
    """Price of a label; the next ten are weighed against it. By default the mean of --cost-column over open items."""
    worth: float | None = None
    """What a percentage point of accuracy is worth to you, in the money of --price."""
    doubts: int = 10
    """Labels to show at most of those that the others contradict."""

    def run(self) -> None:
        self.check()
        require_at_least(0, self, "price", "worth", "doubts")
        if self.worth is not None and self.price is None and self.cost_column is None:
            raise InputError(f"worth={self.worth} has no effect without --price, the price of a label.")
        session = self.read()
        if self.dry_run:
            return
        y, x = session.labels(), self.encoded(session.items)
        drawn, order, training = session.yardstick(), list(session.answers), session.training_labels()
        state = progress(x, training, drawn=drawn, order=order)
        counts = session.counts()
        skipped = sum(answer.label is None for answer in session.answers.values())
        n = sum(counts.values())
        say(f"{n} of {len(y)} items labelled, {skipped} skipped, {len(counts)} classes")
        for line in balance_lines(counts, predicted_shares(x, y)):
            say(line)
        for line in (*cost_lines(session), *agreement_lines(session), *group_lines(session)):
            say(line)
        for line in status_lines(state):
            say(line)
        if n:
            for line in outlook_lines(
                outlook(x, training, drawn, order), price=self._price(session), worth=self.worth
            ):
                say(line)
        keys = None if session.groups is None else session.groups.keys
        for line in doubt_lines(doubted_labels(x, y, groups=keys), session, self.doubts):
            say(line)

    def _price(self, session: Session) -> float | None:
        costs, left = session.items.costs, session.open_positions()
        if self.price is not None or costs is None or not len(left):
            return self.price
        return float(np.mean(np.asarray(costs)[left]))


def cost_lines(session: Session) -> list[str]:
    """Returns what the labels so far cost, where items have prices."""
    known = [i for i, label in enumerate(session.labels()) if label is not None]
    if session.items.costs is None or not known:
        return []
    total = sum(session.items.costs[i] for i in known)
    return [f"they cost {total:g}, {total / len(known):.3g} a label"]


def group_lines(session: Session) -> list[str]:
    """Returns how many groups the yardstick is drawn from, whose other labels train no estimate."""
    drawn = np.flatnonzero(session.yardstick())
    if session.groups is None or not len(drawn):
        return []
    held = len({session.groups.keys[i] for i in drawn})
    unused = sum(
        a is not None and b is None for a, b in zip(session.labels(), session.training_labels(), strict=True)
    )
    return [
        f"the labels drawn at random are of {held} groups, whose {unused} other labels play no part in the estimates; "
        "items of a group are alike, so the intervals are too narrow where groups differ"
    ]


def balance_lines(counts: Mapping[str, int], shares: Mapping[str, float]) -> list[str]:
    """Returns the labels of each class, their share, and the share of the pool that is predicted to be of it."""
    total = sum(counts.values())
    found = []
    for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        pool = f", predicted for {shares[name]:.0%} of the pool" if name in shares else ""
        found.append(f"  {count:5d}  {name}  ({count / total:.0%} of the labels{pool})")
    return found


def doubt_lines(doubts: list[Doubt], session: Session, most: int) -> list[str]:
    """Returns the labels to check again, at most so many."""
    if not doubts or not most:
        return []
    found = [f"{len(doubts)} label(s) that the others contradict; check them again:"]
    for doubt in doubts[:most]:
        name, shown = session.contents.names[doubt.position], session.items.shown[doubt.position]
        item = name if shown == name else f"{name}: {one_line(shown, SHOWN)}"
        found.append(f"  {item}  is {doubt.label!r}, probably {doubt.likely!r} ({doubt.chance:.0%})")
    return found + ([f"  and {len(doubts) - most} more; --doubts shows them"] if len(doubts) > most else [])
