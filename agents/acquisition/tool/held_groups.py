"""Groups of items, e.g. patients, of which none is split between the labels that train and those that measure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np

SHARE = 0.2
"""Share of the groups that are held back for a yardstick."""
MOST = 0.5
"""Share beyond which no group more is held back, although the yardstick stays smaller than was asked for."""


class HeldGroups:
    """Says which groups are held back for the yardstick, and in which order their items are drawn.

    Both follow from names alone, so that leaving and coming back changes nothing.

    Args:
        groups: (N,) group of each item; an empty one is a group of its own.
        names: (N,) name of each item.
    """

    def __init__(self, groups: Sequence[str], names: Sequence[str]):
        self.keys = [group or f"alone: {name}" for group, name in zip(groups, names, strict=True)]
        self.names = names

    @cached_property
    def _order(self) -> list[str]:
        return sorted(set(self.keys), key=lambda key: draw_key(f"group {key}"))

    def held(self, drawn: Collection[int], size: int, eligible: Collection[int]) -> frozenset[str]:
        """Returns the groups held back: those of drawn items, and further ones until they hold `size` items.

        At least `SHARE` of the groups are held where a yardstick is wanted, since items of one group are alike.

        Args:
            drawn: Positions of items drawn already.
            size: Items that the yardstick is to have; 0 for none.
            eligible: Positions of items that may be drawn at all.
        """
        found = {self.keys[i] for i in drawn}
        if not size:
            return frozenset(found)
        sizes = Counter(self.keys[i] for i in eligible)
        total = len(self._order)
        for key in self._order:
            enough = sum(sizes[k] for k in found) >= size and len(found) >= SHARE * total
            if enough or len(found) + 1 > MOST * total:
                break
            found.add(key)
        return frozenset(found)

    def free(self, positions: np.ndarray, held: Collection[str]) -> np.ndarray:
        """Returns the positions of items of other groups than those held; all of them where there are none."""
        found = np.array([i for i in positions.tolist() if self.keys[i] not in held], int)
        return found if len(found) else positions

    def apart(self, y: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Returns (N,) labels, None at items that were not drawn but are of a group of which others were.

        Args:
            y: (N,) labels.
            drawn: (N,) bool, items of the yardstick.
        """
        measuring = {self.keys[i] for i in np.flatnonzero(drawn)}
        found = y.copy()
        found[[not d and key in measuring for d, key in zip(drawn, self.keys, strict=True)]] = None
        return found

    def in_turn(self, positions: Sequence[int]) -> list[int]:
        """Returns positions in a random but fixed order that takes from each group in turn."""
        order = sorted(positions, key=lambda i: draw_key(self.names[i]))
        seen: Counter[str] = Counter()
        turns = []
        for place, i in enumerate(order):
            seen[self.keys[i]] += 1
            turns.append((seen[self.keys[i]], place, i))
        return [i for _, _, i in sorted(turns)]


def draw_key(name: str) -> bytes:
    """Returns the key by which items or groups are sorted at random, but always alike, to be drawn for a yardstick."""
    return hashlib.blake2b(f"yardstick {name}".encode(), digest_size=8).digest()
