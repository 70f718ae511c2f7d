"""Tells a page of an item: JSON for its text, its cells, or where its picture or sound is."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.acquisition.items.items import Items
from agents.acquisition.tool.menu import one_line, visible
from metaal_env.datasets.readers.columns import is_unnamed

MAX_TEXT = 200_000
"""Characters of a text that are shown."""
MAX_CELL = 5_000
MAX_CELLS = 200
SHORT = 90


def item_view(items: Items, position: int) -> dict[str, Any]:
    """Returns what a page needs to show an item, as JSON; texts are to be shown as text, never as HTML."""
    view: dict[str, Any] = {
        "position": position,
        "name": one_line(str(items.ids[position]), SHORT),
        "short": short(items, position),
        "kind": shown_as(items),
        "cells": _cells(items, position),
    }
    if view["kind"] == "text":
        text = visible(items.shown[position])
        view["text"] = text[:MAX_TEXT]
        view["cut"] = len(text) > MAX_TEXT
    if view["kind"] == "numbers":
        assert items.vectors is not None
        row = np.asarray(items.vectors[position], dtype=np.float64).reshape(-1)
        view["numbers"] = [float(f"{value:.6g}") for value in row[:MAX_CELLS]]
        view["of"] = int(row.size)
    return view


def short(items: Items, position: int) -> str:
    """Returns the item on one line, for lists."""
    if items.images is not None or items.sounds is not None:
        return one_line(str(items.ids[position]), SHORT)
    if items.kind == "table" and items.columns:
        return one_line(" · ".join(cell for _, cell in _cells(items, position) if cell), SHORT)
    return one_line(items.shown[position], SHORT)


def shown_as(items: Items) -> str:
    """Returns ``"image"``, ``"sound"``, ``"text"``, ``"row"`` or ``"numbers"``."""
    if items.images is not None:
        return "image"
    if items.sounds is not None:
        return "sound"
    if items.texts is not None or items.matrix is not None:
        return "text"
    if items.kind == "table":
        return "row"
    return "image" if is_pictures(items.vectors) else "numbers"


def is_pictures(x: np.ndarray | None) -> bool:
    """Returns whether an array holds pictures: (N, H, W) or (N, H, W, C) with 1, 3 or 4 channels."""
    return x is not None and (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3, 4)))


def _cells(items: Items, position: int) -> list[list[str]]:
    """Name and cell of each column of a table: inputs, then metadata, then the others."""
    named = [
        name for names in (items.used, items.meta, items.columns) for name in names if name in items.columns
    ]
    names = list(dict.fromkeys(named))[:MAX_CELLS]
    return [
        ["" if is_unnamed(name) else visible(name), visible(items.columns[name][position])[:MAX_CELL]]
        for name in names
    ]
