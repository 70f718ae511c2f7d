"""Gathers what the page shows beside the item: progress, reasons, neighbours, earlier answers, disagreements."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from agents.acquisition.tool.answers import RANDOM
from agents.acquisition.tool.marks import annotators, mark_of
from agents.acquisition.tool.progress import progress
from agents.acquisition.tool.web.claims import Claim
from agents.acquisition.tool.web.class_keys import class_keys
from agents.acquisition.tool.web.desk import Desk
from agents.acquisition.tool.web.item_view import item_view, short
from agents.acquisition.tool.web.pool_map import pool_map
from agents.acquisition.tool.yardstick import learning_curve

NEIGHBOURS = 3
PAGE = 60
"""Earlier answers that are sent at once."""


class Reports:
    """Computes what stands beside the item; the slow parts in the desk's thread, when no query is due."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self.x = desk.ahead.x
        self._lock = threading.Lock()
        self._map: tuple[np.ndarray, np.ndarray] | None = None
        self._progress: dict[str, Any] | None = None

    def compute(self) -> None:
        """Brings the map and the progress up to date; the map is computed once."""
        self.map()
        desk = self.desk
        with desk.lock:
            y, drawn = desk.session.training_labels(), desk.session.yardstick()
            order = list(desk.session.answers)
        state = progress(self.x, y, drawn=drawn, order=order)
        curve = learning_curve(self.x, y, drawn, order)
        self._progress = {
            "accuracy": state.accuracy,
            "interval": state.interval,
            "yardstick": state.yardstick,
            "changed": state.changed,
            "advice": state.advice,
            "curve": [point._asdict() for point in curve],
        }

    def map(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions and places, as `pool_map`."""
        with self._lock:
            if self._map is None:
                self._map = pool_map(self.x)
            return self._map

    def state(self, claim: Claim | None, annotator: str) -> dict[str, Any]:
        """Returns what every answer of the server holds: the item to show, classes and counts."""
        desk, session = self.desk, self.desk.session
        with desk.lock:
            counts = desk.classes()
            numbers = {name: session.menu.numbers[name] for name in counts}
            keys = class_keys(numbers)
            answers = session.answers.values()
            skipped = sum(answer.label is None for answer in answers)
            left = session.open_positions()
            mine = [i for i, name in annotators(session).items() if name == annotator]
            return {
                "item": None if claim is None else self.item(claim.position, claim, annotator),
                "classes": [
                    {"name": name, "count": count, "key": keys.get(name), "number": numbers[name]}
                    for name, count in counts.items()
                ],
                "labels": sum(counts.values()),
                "skipped": skipped,
                "open": len(left),
                "total": len(session.items),
                "budget": desk.choice.budget,
                "spent": None if desk.choice.budget is None else round(float(desk.choice.spent(session)), 2),
                "money": desk.choice.costs is not None,
                "exhausted": desk.choice.exhausted(session),
                "yardstick": {"size": desk.choice.yardstick, "done": int(session.yardstick().sum())},
                "history": mine[-PAGE:],
                "ahead": desk.ahead.queue[:2],
                "notes": list(session.notes),
                "failure": str(desk.ahead.failure) if desk.ahead.failure else None,
            }

    def item(self, position: int, claim: Claim | None = None, annotator: str = "") -> dict[str, Any]:
        """Returns an item with what is known of its answer; a second annotator is not told the first one's."""
        desk, session = self.desk, self.desk.session
        view = item_view(session.items, position)
        answer = session.answers.get(position)
        view["drawn"] = desk.is_random(position)
        view["second"] = claim is not None and claim.second
        mark = None if answer is None else mark_of(session, answer)
        blind = view["second"] and mark is not None and mark.annotator not in ("", annotator)
        view["answer"] = None
        if answer is not None and mark is not None and not blind:
            view["answer"] = {
                "label": answer.label,
                "unsure": mark.unsure,
                "annotator": mark.annotator,
                "time": mark.time,
                "opinions": mark.opinions,
                "settled": mark.settled,
            }
        elif session.items.labels[position] is not None:
            view["given"] = session.items.labels[position]
        return view

    def why(self, position: int) -> dict[str, Any]:
        """Returns why an item is asked, and the labelled items nearest to it with their classes."""
        desk, session = self.desk, self.desk.session
        with desk.lock:
            y = session.labels()
        known = np.flatnonzero([label is not None for label in y])
        near = desk.ahead.nearest(position, known, NEIGHBOURS)
        reasons = [words for _, _, words in desk.ahead.why(position)]
        if desk.is_random(position):
            reasons = ["it was drawn at random, to measure the accuracy"]
        elif not reasons:
            with desk.lock:
                reasons = [self._origin(position)]
        return {
            "position": position,
            "reasons": reasons,
            "nearest": [{**item_view(session.items, i), "label": y[i]} for i in near],
        }

    def _origin(self, position: int) -> str:
        """Returns how an item came to be shown or answered where no query of this run says why."""
        session = self.desk.session
        if (answer := session.answers.get(position)) is not None and answer.label is not None:
            policy = mark_of(session, answer).policy
            return f"{policy} chose it" if policy else "it has an answer already"
        if session.items.labels[position] is not None:
            return "its label came with the data"
        claims = [claim for claim in self.desk.claims.all() if claim.position == position]
        if any(claim.at_random for claim in claims):
            return "it was drawn at random, since you were faster than the next choice"
        if claims:
            return "it was chosen before the page was started again, which keeps no reasons"
        return "nothing chose it: you opened it yourself"

    def progress(self) -> dict[str, Any]:
        """Returns accuracy, learning curve and pace; what the thread has not computed yet is None."""
        session = self.desk.session
        with self.desk.lock:
            marks = [mark_of(session, answer) for answer in session.answers.values()]
        seconds = [mark.seconds for mark in marks if mark.seconds is not None]
        return {
            "measured": self._progress,
            "seconds": float(np.median(seconds)) if seconds else None,
            "agreement": self._agreement(),
        }

    def answers(self, before: int | None = None) -> dict[str, Any]:
        """Returns up to `PAGE` answers, the latest first, those earlier than number `before`."""
        session = self.desk.session
        with self.desk.lock:
            pairs = list(session.answers.items())
        end = len(pairs) if before is None else max(0, min(before, len(pairs)))
        start = max(0, end - PAGE)
        rows = []
        for number in range(end - 1, start - 1, -1):
            position, answer = pairs[number]
            mark = mark_of(session, answer)
            rows.append(
                {
                    "number": number + 1,
                    "position": position,
                    "label": answer.label,
                    "short": short(session.items, position),
                    "unsure": mark.unsure,
                    "annotator": mark.annotator,
                    "random": answer.drawn == RANDOM,
                }
            )
        return {"answers": rows, "before": start if start else None, "total": len(pairs)}

    def review(self) -> dict[str, Any]:
        """Returns items on which annotators disagree, and answers that somebody doubted, unless settled."""
        session = self.desk.session
        with self.desk.lock:
            rows = [(i, answer, mark_of(session, answer)) for i, answer in session.answers.items()]
        found = [
            {**item_view(session.items, i), "label": a.label, "opinions": mark.opinions, "unsure": mark.unsure,
             "annotator": mark.annotator}
            for i, a, mark in rows
            if mark.disagrees or (mark.unsure and not mark.settled)
        ]  # fmt: skip
        found.sort(key=lambda row: len(set(row["opinions"].values())) < 2)
        return {"items": found, "agreement": self._agreement()}

    def map_view(self) -> dict[str, Any]:
        """Returns the map: position, place and class number of each item drawn."""
        drawn, places = self.map()
        session = self.desk.session
        with self.desk.lock:
            y = session.labels()
            numbers = dict(session.menu.numbers)
        return {
            "positions": drawn.tolist(),
            "x": np.round(places[:, 0], 4).tolist(),
            "y": np.round(places[:, 1], 4).tolist(),
            "classes": [0 if y[i] is None else numbers.get(str(y[i]), 0) for i in drawn],
        }

    def _agreement(self) -> dict[str, int] | None:
        session = self.desk.session
        with self.desk.lock:
            marks = [mark_of(session, answer) for answer in session.answers.values()]
        twice = [mark.opinions for mark in marks if len(mark.opinions) > 1]
        return {"of": len(twice), "same": sum(len(set(o.values())) == 1 for o in twice)} if twice else None
