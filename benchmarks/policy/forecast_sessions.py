"""Sessions with true labels beside their forecasts, on data sets of many origins."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.forecast.forecast import played_curves
from agents.acquisition.forecast.plausible import plausible_truths
from agents.acquisition.named_classifiers import CLASSIFIERS
from metaal_env.datasets.prepare import standardise

POLICIES = ("random", "uherding", "margin")
LABELS, BATCH, PLAYS, ITEMS, MOST_CLASSES = 40, 2, 4, 300, 10
KIN = (
    ("digits", "optdigits"),
    ("breast_cancer", "breast_cancer_wisconsin", "breast", "breast_w", "wdbc"),
    ("wine", "wine_recognition"),
    ("car", "car_evaluation"),
    ("cleve", "heart_c", "heart_h", "heart_statlog", "hungarian"),
    ("crx", "buggyCrx", "australian", "credit_a"),
    ("german", "credit_g", "analcatdata_germangss"),
    ("allhypo", "allrep", "ann_thyroid", "hypothyroid", "new_thyroid"),
    ("clean1", "clean2"),
    ("flare", "solar_flare_1", "solar_flare_2"),
    ("spect", "spectf"),
    ("house_votes_84", "vote"),
    ("clinc150_minilm384", "banking77_minilm384"),
)
"""Data sets that are versions of one another, or close to it: they go to the same half."""
SKLEARN = ("digits", "iris", "wine", "breast_cancer")


@dataclass(frozen=True)
class SessionOptions:
    """Which sessions to forecast and play."""

    out: Path
    """File of sessions, one a line."""
    data: tuple[Path, ...] = ()
    """Further data sets: npz files with X and y, or folders of them."""
    known: int = 0
    """Labels that are known when the forecast is made. With some, the shipped errors are checked, and --measured gets
    a sentence more."""
    seeds: int = 2
    """Pools of each data set."""
    most: int = 24
    """Data sets per folder; of more, this many evenly spaced in the order of their names."""
    seconds: float = 1e9
    """Begin no further session after so many seconds."""


def sources(options: SessionOptions) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields name, X and y of every data set."""
    from sklearn import datasets

    for name in SKLEARN:
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield name, x, y
    for path in options.data:
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        for i in np.unique(np.linspace(0, len(files) - 1, min(options.most, len(files))).astype(int)):
            arrays = np.load(files[i], allow_pickle=False)
            yield f"{path.stem}/{files[i].stem}" if path.is_dir() else path.stem, arrays["X"], arrays["y"]


def drawn_pool(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns vectors and class numbers of `ITEMS` items, None where too few are there or values lack."""
    rng = np.random.default_rng(seed)
    names, counts = np.unique(y, return_counts=True)
    names = rng.permutation(names[counts >= 10])[:MOST_CLASSES]
    rows = rng.permutation(np.flatnonzero(np.isin(y, names)))[:ITEMS]
    if len(rows) < 2 * LABELS + 20 or len(np.unique(y[rows])) < 2:
        return None
    vectors = x[rows].reshape(len(rows), -1).astype(np.float64)
    unit = np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)  # embeddings stay as they are
    found = vectors if unit else standardise(vectors)
    return (found, np.unique(y[rows], return_inverse=True)[1]) if np.isfinite(found).all() else None


def session(x: np.ndarray, truth: np.ndarray, labels: int) -> dict[str, Any]:
    """Returns the forecast and the true accuracies of every policy, after 1…`LABELS` labels.

    Args:
        labels: number of labels that the forecast knows.
    """
    known = np.arange(len(x)) < labels  # in random order
    plausible = plausible_truths(x, np.where(known, truth, -1), [int(truth.max()) + 1] * PLAYS)
    found: dict[str, Any] = {"forecast": {}, "true": {}}
    for policy in POLICIES:
        for key, truths in (("forecast", plausible), ("true", truth[None])):
            curves = played_curves(
                x, truths, known, policy, CLASSIFIERS["logistic"], labels=LABELS, batch=BATCH
            )
            found[key][policy] = np.mean(list(curves), 0).round(4).tolist()
    return found


def played(options: SessionOptions) -> list[dict[str, Any]]:
    """Plays what is missing; returns all sessions."""
    known = {}
    if options.out.is_file():
        for line in options.out.read_text().splitlines():
            row = json.loads(line)
            known[row["data"], row["seed"]] = row
    began = time.monotonic()
    for seed in range(options.seeds):
        for name, x, y in sources(options):
            if (name, seed) in known or time.monotonic() - began > options.seconds:
                continue
            pool = drawn_pool(x, y, seed)
            if pool is None:
                continue
            row = {"data": name, "seed": seed, "classes": int(pool[1].max()) + 1} | session(
                *pool, options.known
            )
            known[name, seed] = row
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(name, seed, {p: (row["forecast"][p][-1], row["true"][p][-1]) for p in POLICIES}, flush=True)
    return sorted(known.values(), key=lambda row: (row["data"], row["seed"]))


def first_of_kin(name: str) -> str:
    """Returns the name that stands for a data set and its `KIN`."""
    bare = name.rpartition("/")[2]
    return next((kin[0] for kin in KIN if bare in kin), bare)


def halves(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the sessions of every second data set in the order of the names, `KIN` together, and the others."""
    names = sorted({first_of_kin(row["data"]) for row in rows})
    chosen = set(names[::2])
    first = [row for row in rows if first_of_kin(row["data"]) in chosen]
    return first, [row for row in rows if first_of_kin(row["data"]) not in chosen]
