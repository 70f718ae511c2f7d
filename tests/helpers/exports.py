"""Labelled pools to export, and the command that does."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from helpers.clusters import clusters
from PIL import Image

from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.marks import update_mark
from agents.acquisition.tool.session import Session, labels_path

TOLD = {"policy": "margin", "score": -0.25, "time": "2026-03-01T10:00:00+00:00", "seconds": 2.5}


OPTIONS = ReadOptions(meta=("site", "ward"), hide=("name",))


SAID = ["--meta", "site", "ward", "--hide", "name"]


def labelled_table(path: Path) -> Session:
    """Writes a pool of 12 rows, four of which are answered in four ways."""
    x = clusters(np.arange(12) % 2, 2, apart=3, on_axes=True).round(3)
    rows = [[f"r{i}", f"Ann {i}", "north" if i % 2 else "south", f"{i:03d}", *x[i], i] for i in range(12)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "name", "site", "ward", "weight", "length", "score"], *rows])
    session = Session.open(labels_path(path), read_items(path, OPTIONS))
    session.set(3, 'böse, "ape"')
    update_mark(session, 3, annotator="ada", **TOLD)
    session.set(5, "bear", "random")
    update_mark(session, 5, annotator="bob", time=TOLD["time"], unsure=True)
    session.set(6, None)
    session.set(7, "bear")
    opinions = {"ada": "bear", "bob": 'böse, "ape"'}
    update_mark(session, 7, annotator="ada", opinions=opinions, settled=True)
    session.save()
    return session


def labelled_photos(root: Path) -> Path:
    """Writes six images of two classes with names that no folder takes; two of them in a folder of their own."""
    for i in range(6):
        path = root / "photos" / ("a" if i < 2 else "b") / f"p {i if i < 2 else i - 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i, 10), (40 * i, 0, 0)).save(path)
    session = Session.open(root / "photos.labels.csv", read_items(root / "photos"))
    for i in range(5):
        session.set(i, ("wet/dry", "..")[i % 2])
        update_mark(session, i, policy="uherding", score=0.5)
    session.save()
    return root / "photos"


def export(*arguments: str, pool: str = "pool.csv", code: int = 0) -> None:
    assert main(["export", pool, *arguments]) == code
