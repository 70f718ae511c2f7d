"""Whether ``metaal forecast`` is right: ``python -m benchmarks.policy.forecast_calibration --data DATA/pmlb``.

Forecasts sessions on data sets whose labels are known, plays them with the true labels, and notes the errors. Every
second data set, in the order of the names and with its kin, gives the intervals: its errors are shipped with the
package (--write), and so many of them are taken into an interval of 80 % that it holds with one data set left out at a
time, with one standard error to spare. The other data sets are the check. Results are kept in --out, a line per
session, and what is there is not played again.

Data sets: scikit-learn's digits, iris, wine and breast_cancer, and every npz file with X and y that --data names.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.forecast.forecast import LEVEL, forecast, played_curves
from agents.acquisition.forecast.look_alikes import FILE, LookAlikes, log_odds, look_alikes
from agents.acquisition.forecast.plausible import plausible_truths
from agents.acquisition.named_classifiers import CLASSIFIERS
from metaal_env.datasets.prepare import standardise
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

POLICIES = ("random", "uherding", "margin")
LABELS, BATCH, PLAYS, ITEMS, MOST_CLASSES = 40, 2, 4, 300, 10
GRID = (2, 4, 6, 10, 16, 24, 32, 40)
TARGETS = (0.6, 0.7, 0.8, 0.9)
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
class Options:
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
    write: bool = False
    """Write the errors of the first half into the package."""
    measured: Path | None = None
    """JSON to write for docs/results.md."""


def sources(options: Options) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
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


def played(options: Options) -> list[dict[str, Any]]:
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


def errors_of(rows: list[dict[str, Any]], level: float) -> LookAlikes:
    """Returns the errors of sessions in the form that ships."""
    at = np.array(GRID) - 1

    def curves(policy: str) -> tuple[np.ndarray, np.ndarray]:
        true, told = (np.array([row[key][policy] for row in rows]) for key in ("true", "forecast"))
        return true, told

    def gap(policy: str) -> np.ndarray:
        return np.asarray(np.subtract(*curves(policy)).mean(1) - np.subtract(*curves("random")).mean(1))

    errors = {p: np.subtract(*map(log_odds, curves(p)))[:, at].round(3) for p in POLICIES}
    saved = {policy: gap(policy).round(4) for policy in POLICIES[1:]}
    return LookAlikes(np.array(GRID), errors, saved, level, tuple(dict.fromkeys(row["data"] for row in rows)))


def held(row: dict[str, Any], errors: LookAlikes) -> dict[str, list[bool]]:
    """Returns, for each kind of statement, which of them held in a session."""
    promise = forecast({policy: np.array([row["forecast"][policy]]) for policy in POLICIES}, errors)
    true = {policy: np.maximum.accumulate(row["true"][policy]) for policy in POLICIES}
    found: dict[str, list[bool]] = {"accuracy": [], "labels": [], "saved": [], "fewer": []}
    first = {(p, target): _first(true[p], target) for p in POLICIES for target in TARGETS}
    for policy in POLICIES:
        span = promise.accuracy(policy)
        found["accuracy"].append(span.low <= true[policy][-1] <= span.high)
        for target in TARGETS:
            wanted = promise.labels_to(policy, target)
            found["labels"].append(wanted.low <= first[policy, target] <= wanted.high)
            fewer = None if policy == "random" else promise.labels_saved(policy, target)
            less = first["random", target], first[policy, target]
            if fewer is not None and np.isfinite(less).all():
                found["fewer"].append(fewer.low <= less[0] - less[1] <= fewer.high)
        if policy != "random":
            gap = promise.saved(policy)
            apart = float(np.mean(true[policy]) - np.mean(true["random"]))
            found["saved"].append(gap.low <= apart <= gap.high)
    return found


def _first(curve: np.ndarray, target: float) -> float:
    """Returns the first number of labels at which a curve reaches the target, inf where it does not."""
    above = np.flatnonzero(curve >= target)
    return float(above[0] + 1) if len(above) else np.inf


def coverage(rows: list[dict[str, Any]], errors: dict[str, LookAlikes]) -> dict[str, float]:
    """Returns kind of statement → share that held; `errors` names those to use for each data set."""
    parts = [held(row, errors[row["data"]]) for row in rows]
    return {kind: float(np.mean([value for part in parts for value in part[kind]])) for kind in parts[0]}


def said(shares: dict[str, float]) -> str:
    """Returns shares in words."""
    return ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items())


def level_that_holds(rows: list[dict[str, Any]]) -> float:
    """Returns the least level at which all kinds of statements hold, each data set by the errors of the others.

    The share that must hold is `LEVEL` and one standard error of it, since the data sets are few.
    """
    kin = {row["data"]: first_of_kin(row["data"]) for row in rows}
    wanted = LEVEL + (LEVEL * (1 - LEVEL) / len(set(kin.values()))) ** 0.5
    for level in np.arange(LEVEL, 0.999, 0.01):
        others = {name: errors_of([r for r in rows if kin[r["data"]] != kin[name]], level) for name in kin}
        if min(coverage(rows, others).values()) >= wanted:
            return round(float(level), 2)
    return 1.0


def _share(parts: list[dict[str, list[bool]]], kind: str) -> str:
    values = [value for part in parts for value in part[kind]]
    return f"{np.mean(values):.2f}" if values else "–"


def measured(checked: list[dict[str, Any]], errors: LookAlikes, shares: dict[str, str]) -> dict[str, Any]:
    """Returns the table of docs/results.md: each data set of the check, and in its text what holds over all."""
    table = []
    for name in dict.fromkeys(row["data"] for row in checked):
        rows = [row for row in checked if row["data"] == name]
        parts = [held(row, errors) for row in rows]
        whole = forecast({p: np.mean([[row["forecast"][p]] for row in rows], 0) for p in POLICIES}, errors)
        span, gap = whole.accuracy("uherding"), whole.saved("uherding")
        true = float(np.mean([row["true"]["uherding"][-1] for row in rows]))
        apart = [np.mean(row["true"]["uherding"]) - np.mean(row["true"]["random"]) for row in rows]
        cells = [
            name,
            str(rows[0]["classes"]),
            f"{span.middle:.2f} [{span.low:.2f}, {span.high:.2f}]",
            f"{true:.2f}",
        ]
        cells += [f"{gap.middle:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]", f"{np.mean(apart):+.3f}"]
        table.append([*cells, *(_share(parts, kind) for kind in parts[0])])
    return {
        "title": "What `metaal forecast` states before the first label",
        "command": "python -m benchmarks.policy.forecast_calibration --out sessions.jsonl --data DATA/pmlb "
        "DATA/intents/{clinc150,banking77}_minilm384.npz DATA/fashion_28.npz --most 82 --seeds 1",
        "text": [
            f"{len(errors.data)} data sets gave the errors, {len(table)} others are the check. Pools of {ITEMS} items "
            f"at most, {LABELS} labels, logistic regression, the number of classes known, intervals of {LEVEL:.0%}, "
            f"which hold {errors.level:.0%} of the errors of the first half: so many that with a data set and "
            "its kin left out they hold there, with one standard error to spare.",
            *(f"{title}: {share}." for title, share in shares.items()),
            "Accuracy is that of random, `uherding` and `margin` after all labels; labels are those to accuracies of "
            f"{', '.join(f'{target:.0%}' for target in TARGETS)}; saved is the mean accuracy beyond random, "
            "fewer the labels less than random's to the targets that both reach; – where neither was stated and true.",
        ],
        "columns": [
            "data set",
            "classes",
            "`uherding`: accuracy forecast",
            "true",
            "beyond random forecast",
            "true",
            "accuracy holds",
            "labels hold",
            "saved holds",
            "fewer holds",
        ],
        "rows": table,
    }


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    rows = played(options)
    names = list(dict.fromkeys(row["data"] for row in rows))
    if options.known:
        shipped = look_alikes()
        others = [row for row in rows if row["data"] not in shipped.data]
        shares = said(coverage(others, dict.fromkeys(names, shipped)))
        line = (
            f"With {options.known} labels known (--known), in {len(others)} sessions of the check: {shares}."
        )
        print(line)
        if options.measured is not None:
            table = json.loads(options.measured.read_text())
            table["text"].append(line)
            write_atomic(options.measured, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())
        return
    first, second = halves(rows)
    errors = errors_of(first, level_that_holds(first))
    told = {}
    for title, by in (
        ("Held in the check", errors),
        (f"With {LEVEL:.0%} of the errors inside", errors_of(first, LEVEL)),
    ):
        told[title] = said(coverage(second, dict.fromkeys(names, by)))
        print(f"{title}: {told[title]}")
    print(f"{len(names)} data sets, {len(rows)} sessions; level {errors.level}")
    if options.measured is not None:
        text = json.dumps(measured(second, errors, told), indent=1, ensure_ascii=False)
        write_atomic(options.measured, (text + "\n").encode())
    if options.write:
        content = {
            "labels": list(GRID),
            "level": errors.level,
            "data": list(errors.data),
            "errors": {policy: values.tolist() for policy, values in errors.errors.items()},
            "saved": {policy: values.tolist() for policy, values in errors.saved.items()},
        }
        write_atomic(FILE, (json.dumps(content) + "\n").encode())


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
