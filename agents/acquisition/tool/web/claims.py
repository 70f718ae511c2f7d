"""Keeps on disk which item each open page shows, beside the answers: after a crash the same item comes next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SILENCE = 150.0
"""Seconds after which a page that no longer asks is closed, and its item free; browsers let hidden pages ask once a
minute."""
MAX_BYTES = 2**20
OVERLAP = 0.1
"""Share of an annotator's items that another one answered before, where nothing else is said."""
Origin = tuple[str, float | None]
"""Policy that chose an item, empty where none did, and its utility then."""


@dataclass
class Claim:
    """Says that a page shows an item.

    Attributes:
        second: Whether another annotator answered it already, and this one is asked without knowing.
        at_random: Whether it was drawn at random, since no choice was ready.
        heard: When the page was last heard of, in seconds of `time.monotonic`.
    """

    position: int
    annotator: str
    second: bool = False
    at_random: bool = False
    heard: float = field(default_factory=time.monotonic)


class Claims:
    """Holds the claims of open pages, and those of an earlier run of which no page is left.

    Attributes:
        origins: Item → policy and utility with which an earlier run chose it.
    """

    def __init__(self, path: Path, names: Sequence[str]):
        self.path, self.names = path, names
        self.of_tab: dict[str, Claim] = {}
        self.orphans: list[Claim] = []
        self.origins: dict[int, Origin] = {}
        self._written = ""

    def read(self) -> list[int]:
        """Reads what was shown last, as claims without a page, and returns the queue of that moment."""
        try:
            with self.path.open("rb") as file:
                saved = json.loads(file.read(MAX_BYTES))
            place = {name: i for i, name in enumerate(self.names)}
            self.orphans = [
                Claim(place[name], str(annotator), bool(second), any(at_random))
                for name, annotator, second, *at_random in saved["shown"]
                if name in place
            ]
            self.origins = {
                place[name]: (str(policy), None if score is None else float(score))
                for name, (policy, score) in saved.get("origins", {}).items()
                if name in place
            }
            return [place[name] for name in saved["next"] if name in place]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return []  # none, or damaged: choose anew

    def write(self, queue: Sequence[int], origin: Callable[[int], Origin]) -> None:
        """Writes what is shown and what comes next; not flushed, since nothing is lost with it but the order.

        Args:
            origin: Returns the policy that chose an item, and its utility then.
        """
        shown = [[self.names[c.position], c.annotator, c.second, c.at_random] for c in self.all()]
        origins = {
            self.names[i]: origin(i) for i in [*(c.position for c in self.all()), *queue] if origin(i)[0]
        }
        data = json.dumps({"shown": shown, "next": [self.names[i] for i in queue], "origins": origins})
        if data == self._written:
            return
        self._written = data
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_text(data, encoding="utf-8")
        os.replace(temporary, self.path)

    def all(self) -> list[Claim]:
        """Returns the claims of pages, then those without one."""
        return [*self.of_tab.values(), *self.orphans]

    def positions(self, but: str = "") -> set[int]:
        """Returns the items that pages other than `but` show."""
        return {claim.position for tab, claim in self.of_tab.items() if tab != but} | {
            claim.position for claim in self.orphans
        }

    def heard(self, tab: str) -> None:
        """Notes that a page is open, and frees the items of those that have been silent for long."""
        now = time.monotonic()
        if tab in self.of_tab:
            self.of_tab[tab].heard = now
        for other in [t for t, claim in self.of_tab.items() if now - claim.heard > SILENCE]:
            self.orphans.append(self.of_tab.pop(other))

    def adopt(self, annotator: str, fits: Callable[[Claim], bool]) -> Claim | None:
        """Takes over a claim without a page, one of the same annotator first; those that fit nobody are dropped."""
        self.orphans = [claim for claim in self.orphans if fits(claim)]
        for claim in sorted(self.orphans, key=lambda claim: claim.annotator != annotator):
            if claim.annotator == annotator or not claim.second:
                self.orphans.remove(claim)
                return Claim(claim.position, annotator, claim.second, claim.at_random)
        return None
