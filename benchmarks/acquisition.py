"""`agents.acquisition.query` beside scikit-activeml: ``python benchmarks/acquisition.py digits | time | scale``.

digits  0 → 30 labels on scikit-learn's digits, logistic regression, paired over seeds: mean accuracy over the
        curve, and the paired difference to scikit-activeml's MaxHerding with a bootstrap interval.
time    one query at n = 1,000 × 64 with 50 labels: medians in one run.
scale   time and peak memory beyond the data for a batch of 100 from 10³ to 10⁶ × 384 items.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

LABELS, DIMENSIONS, BATCH = 30, 384, 100
REFERENCE = "skactiveml MaxHerding"
Ask = Callable[[np.ndarray, np.ndarray, int], int]


def strategies(policies: list[str], classes: list[int]) -> dict[str, Ask]:
    """Name → (x, y with nan, seed) → position to label."""
    from skactiveml import pool
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    from agents.acquisition import query

    def classifier() -> Any:
        return SklearnClassifier(LogisticRegression(max_iter=500), classes=classes, random_state=0)

    def theirs(name: str, with_clf: bool, **options: Any) -> Ask:
        def ask(x: np.ndarray, y: np.ndarray, seed: int) -> int:
            found = getattr(pool, name)(random_state=seed, **options)
            return int(found.query(x, y, *([classifier()] if with_clf else []))[0])

        return ask

    def ours(policy: str, with_clf: bool) -> Ask:
        def ask(x: np.ndarray, y: np.ndarray, seed: int) -> int:
            clf = classifier() if with_clf else None
            return int(np.asarray(query(x, y, clf=clf, policy=policy, random_state=seed, budget=LABELS))[0])

        return ask

    found = {
        "skactiveml RandomSampling": theirs("RandomSampling", False),
        "skactiveml margin": theirs("UncertaintySampling", True, method="margin_sampling"),
        "skactiveml TypiClust": theirs("TypiClust", False),
        "skactiveml Badge": theirs("Badge", True),
        REFERENCE: theirs("MaxHerding", False),
    }
    for policy in policies:
        found[f"metaal {policy}"] = ours(policy, False)
        found[f"metaal {policy} + clf"] = ours(policy, True)
    return found


def curve(ask: Ask, x: np.ndarray, truth: np.ndarray, held: np.ndarray, seed: int) -> float:
    """Mean test accuracy after 1…`LABELS` labels; x and truth are the whole data, `held` the test part."""
    from sklearn.linear_model import LogisticRegression

    pool = np.setdiff1d(np.arange(len(x)), held)
    y = np.full(len(pool), np.nan)
    accuracy = []
    for _ in range(LABELS):
        pick = ask(x[pool], y, seed)
        y[pick] = truth[pool[pick]]
        known = np.flatnonzero(~np.isnan(y))
        labels = y[known].astype(int)
        if len(np.unique(labels)) < 2:
            accuracy.append(np.mean(truth[held] == labels[0]))
        else:
            model = LogisticRegression(max_iter=500).fit(x[pool[known]], labels)
            accuracy.append(model.score(x[held], truth[held]))
    return float(np.mean(accuracy))


def digits(seeds: int, policies: list[str]) -> None:
    from sklearn.datasets import load_digits

    x, truth = load_digits(return_X_y=True)
    asks = strategies(policies, list(range(10)))
    scores: dict[str, list[float]] = {name: [] for name in asks}
    for seed in range(seeds):
        held = np.random.default_rng(seed).permutation(len(x))[1000:]
        for name, ask in asks.items():
            scores[name].append(curve(ask, x / 16, truth, held, seed))
    rng = np.random.default_rng(0)
    resampled = rng.integers(0, seeds, (10_000, seeds))
    print(f"digits, 0 → {LABELS} labels, logistic regression, {seeds} paired seeds")
    print(f"{'strategy':32s} {'AULC':>6s}   difference to {REFERENCE} [95 %]")
    for name, values in scores.items():
        difference = np.array(values) - scores[REFERENCE]
        low, high = np.quantile(difference[resampled].mean(1), [0.025, 0.975])
        print(f"{name:32s} {np.mean(values):6.4f}   {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")


def timing(policies: list[str]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 1000)
    x = rng.normal(size=(5, 64))[truth] + 1.5 * rng.normal(size=(1000, 64))
    y = np.where(np.arange(1000) < 50, truth, np.nan)
    asks = strategies(policies, list(range(5)))
    times: dict[str, list[float]] = {name: [] for name in asks}
    for repeat in range(22):
        for name, ask in asks.items():  # interleaved: a busy moment hits all alike
            start = time.perf_counter()
            ask(x, y, 0)
            if repeat > 1:
                times[name].append(1e3 * (time.perf_counter() - start))
    print("one query, n = 1,000 × 64, 5 classes, 50 labels; ms")
    for name, values in times.items():
        print(f"{name:32s} median {np.median(values):7.2f}   fastest {np.min(values):7.2f}")


def scale_one(n: int, policy: str) -> None:
    from agents.acquisition import query

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    y = np.full(n, np.nan)
    y[:50] = rng.integers(0, 5, 50)
    query(x[:200], y[:200], policy=policy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    query(x, y, policy=policy, batch_size=BATCH)
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(f"{n:10,d} {policy:20s} {seconds:8.2f} s {peak:8.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["digits", "time", "scale", "one"])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--policies", nargs="+", default=["uherding"], help="as `policy=` of query")
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e3, 1e4, 1e5, 1e6])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.what == "digits":
        digits(arguments.seeds, arguments.policies)
    elif arguments.what == "time":
        timing(arguments.policies)
    elif arguments.what == "one":
        scale_one(int(arguments.sizes[0]), arguments.policies[0])
    else:
        for policy in arguments.policies:
            for size in arguments.sizes:  # a process each: peak memory never falls
                command = [sys.executable, __file__, "one", "--sizes", str(size), "--policies", policy]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
