"""Gives classes their keys."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS = "hmnrsuwz"
"""Letters that are commands of the page: help, map, new class, review, skip, undo, why, zoom."""
KEYS = [*"123456789", *(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in COMMANDS)]


def class_keys(numbers: Mapping[str, int]) -> dict[str, str]:
    """Returns class → key; classes beyond the keys have none.

    A class that is itself a digit has that key, so that 3 never stands for the class 7. The others take keys by
    their number, which never changes, so that a key keeps its class while classes are added.

    Args:
        numbers: Class → its number in the session's menu, from 1.
    """
    own = {name: name for name in numbers if len(name) == 1 and name in "0123456789"}
    offered = KEYS if not own else KEYS[9:]
    others = {
        name: offered[number - 1]
        for name, number in numbers.items()
        if name not in own and number <= len(offered)
    }
    return own | others
