"""Whose turn it is: which item a page shows next, and which it may go on showing."""

from __future__ import annotations

import numpy as np

from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.marks import Mark, annotators, contested, mark_of
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.ahead import Ahead, Moment
from agents.acquisition.tool.web.claims import Claim, Claims


class Turns:
    """Decides which item a page shows. Call with the desk's lock held.

    Attributes:
        claims: What pages show now.
        overlap: Share of items of which a second annotator is asked, where there are several.
    """

    def __init__(self, session: Session, choice: Choice, claims: Claims, overlap: float):
        self.session, self.choice, self.claims, self.overlap = session, choice, claims, overlap
        self._rng = np.random.default_rng(0)

    def claim(self, tab: str, annotator: str, ahead: Ahead) -> Claim | None:
        """Returns the item that a page shows, a new one where its own is answered; None where nothing is left."""
        claim = self.claims.of_tab.get(tab)
        if claim is None or claim.annotator != annotator or not self.fits(claim):
            self.claims.of_tab.pop(tab, None)
            claim = self.claims.adopt(annotator, self.fits) or self._new(tab, annotator, ahead)
            if claim is not None:
                self.claims.of_tab[tab] = claim
        self.claims.write(ahead.queue, ahead.origin)
        return claim

    def drawn_now(self) -> list[int]:
        """Positions of the yardstick that are still to be answered."""
        missing = self.choice.yardstick - int(self.session.yardstick().sum()) if self.choice.yardstick else 0
        return self.session.next_of_yardstick(self.choice.yardstick) if missing > 0 else []

    def fits(self, claim: Claim) -> bool:
        """Whether the item of a claim is still to be answered."""
        answer = self.session.answers.get(claim.position)
        if not claim.second:
            return answer is None and self.session.items.labels[claim.position] is None
        mark = Mark() if answer is None else mark_of(self.session, answer)
        answered = answer is not None and answer.label is not None and mark.annotator != ""
        return answered and claim.annotator not in {mark.annotator, *mark.opinions}

    def moment(self) -> Moment:
        """Returns what a query needs to know."""
        session, choice, shown = self.session, self.choice, sorted(self.claims.positions())
        candidates = np.setdiff1d(session.choosable_positions(choice.yardstick), shown)
        candidates = choice.affordable(session, candidates, [i for i in shown if i not in session.answers])
        return Moment(session.choosing_labels(), candidates, shown, choice.paid_unseen(session))

    def _new(self, tab: str, annotator: str, ahead: Ahead) -> Claim | None:
        session, choice = self.session, self.choice
        if choice.exhausted(session):  # also for second opinions
            return None
        taken = self.claims.positions(but=tab)
        pending = [position for position in taken if position not in session.answers]
        second = self._second(annotator, taken)
        if second is not None:
            return Claim(second, annotator, second=True)
        for position in self.drawn_now():
            if position not in taken:
                fits = len(choice.affordable(session, np.array([position]), pending))
                return Claim(position, annotator) if fits else None
        choosable = session.choosable_positions(choice.yardstick)
        free = set(choice.affordable(session, choosable, pending).tolist()) - taken
        queue = [position for position in ahead.queue if position in free]
        ahead.queue = queue[1:]
        if queue:
            return Claim(queue[0], annotator)
        # Whoever is faster than the query gets an item at random instead of a wait.
        return Claim(int(self._rng.choice(sorted(free))), annotator, at_random=True) if free else None

    def _second(self, annotator: str, taken: set[int]) -> int | None:
        """An item that another annotator answered, as often as `overlap` says; doubtful ones first."""
        if not annotator or not self.overlap:
            return None
        names = annotators(self.session)
        twice = contested(self.session)
        asked = sum(
            name == annotator or (i in twice and annotator in twice[i].opinions) for i, name in names.items()
        )
        if int((asked + 1) * self.overlap) == int(asked * self.overlap):
            return None
        marks = {i: mark_of(self.session, a) for i, a in self.session.answers.items() if a.label is not None}
        fit = [
            i
            for i, mark in marks.items()
            if mark.annotator and mark.annotator != annotator and not mark.opinions and i not in taken
        ]
        return min(fit, key=lambda i: not marks[i].unsure, default=None)
