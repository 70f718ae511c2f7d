"""``metaal suggest`` and ``metaal import``: suggestions out, labels back, with any spreadsheet in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from agents.acquisition.policies import policy_name
from agents.acquisition.purchase import SLACK
from agents.acquisition.tool.answers import read_answers
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.menu import one_line
from agents.acquisition.tool.outputs import as_csv, keep_copy
from agents.acquisition.tool.pool_options import ChoiceOptions, PoolOptions
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.suggestions import COLUMNS, earlier_table, suggestion_rows, take_answers
from agents.acquisition.why.figures import save_figure, why_figure
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import say
from metaal_env.runtime.files import write_atomic

MANY = 3
"""Items in a first batch beyond which a warning is due."""


@dataclass(frozen=True)
class Suggest(ChoiceOptions):
    """Write a table of the items to label next, best first. Fill in its column label and run the command again."""

    k: int = 10
    """Items to suggest; chosen together, so that they are not near-copies."""
    out: Path = Path("suggestions.csv")
    """Table to write. Labels filled in there are taken over first, and the filled-in table is kept as a copy."""
    figure: Path | None = None
    """Figure to write (.png, .svg, .pdf): per suggestion what raised its score."""

    def run(self) -> None:
        self.check(self.policy, out=self.out, figure=self.figure, keeps=self.out)
        require_at_least(1, self, "k")
        self.check_choice()
        session = self.read()
        choice = self.choice(session.items)
        if self.dry_run:
            return
        earlier = earlier_table(self.out)
        lines: list[str] = []
        if earlier.answers is not None:
            lines += take_answers(
                session,
                earlier.answers,
                f"out={str(self.out)!r}",
                classes=self.class_names(),
                same_ids=self.same_ids,
                overwrite=self.overwrite,
            )
        left = session.open_positions()
        if not len(left):
            raise InputError(f"data={str(self.data)!r}: every item is labelled or skipped.")
        if not len(choice.affordable(session, left)):
            so_far = f"{choice.spent(session)} items are labelled"
            so_far = so_far if choice.costs is None else f"the labels so far cost {choice.spent(session):g}"
            raise InputError(f"budget={self.budget:g} is spent: {so_far}; raise it to go on.")
        most = len(left)
        if choice.costs is None and choice.budget is not None:
            most = min(most, int(choice.budget - choice.spent(session)))
        drawn = session.next_of_yardstick(self.yardstick)[:most]
        choice, drawn = _within_budget(choice, session, drawn)
        size = min(self.k, most - len(drawn))
        found = None
        open_to_choice = np.setdiff1d(session.choosable_positions(self.yardstick), drawn)
        if size > 0 and len(choice.affordable(session, open_to_choice)):
            found = choose_items(session, self.encoded(session.items), choice, size, without=drawn)
            if len(found.picks) < size:
                allowed = f"{len(found.picks)} of {size} items"
                lines.append(f"{allowed} are suggested; the budget and --per-group allow no more.")
        rows = suggestion_rows(session, drawn, found, policy_name(self.policy))
        if earlier.edited:
            lines.append(f"the table that was filled in is kept as {keep_copy(self.out)}.")
        write_atomic(self.out, as_csv([COLUMNS, *rows], for_people=True))
        lines.append(f"written to {self.out}; fill in its column label and run the command again.")
        if self.figure is not None and found is not None:
            names = [f"{session.contents.names[i]}: {session.items.shown[i]}" for i in found.picks]
            save_figure(why_figure(found, names), self.figure)
            lines.append(f"written to {self.figure}")
        if size > MANY and len(session.counts()) < 2:
            lines.append(
                f"with hardly any labels a batch of {size} is little better than chance: label a few, then ask again."
            )
        for rank, item, shown, _, why, *_ in rows:
            say(f"{rank:4d}  {item}  {one_line(str(shown), 70)}\n      {why}")
        for line in lines:
            say(line)


def _within_budget(choice: Choice, session: Session, drawn: list[int]) -> tuple[Choice, list[int]]:
    """The items of the yardstick that can be paid for, and the choice with the budget that they leave."""
    if choice.costs is None or choice.budget is None:
        return choice, drawn
    paid = np.cumsum(choice.costs[drawn])
    kept = drawn[: int(np.sum(paid <= choice.budget - choice.spent(session) + SLACK))]
    return replace(choice, budget=choice.budget - float(choice.costs[kept].sum())), kept


@dataclass(frozen=True)
class Import(PoolOptions):
    """Take labels from a filled-in table of suggestions, or any table with the columns item and label."""

    answers: Annotated[Path, tyro.conf.arg(name="from")] = Path("suggestions.csv")
    """Table to take labels from; it stays as it is."""

    def further_reads(self) -> list[Path]:
        return [self.answers]

    def run(self) -> None:
        self.check()
        file = read_answers(self.answers, f"from={str(self.answers)!r}", skips=False)
        session = self.read()
        if self.dry_run:
            return
        lines = take_answers(
            session,
            file,
            f"from={str(self.answers)!r}",
            classes=self.class_names(),
            same_ids=self.same_ids,
            overwrite=self.overwrite,
        )
        for line in lines or [f"{self.answers} holds no labels yet."]:
            say(line)
