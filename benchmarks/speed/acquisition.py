"""`query` beside scikit-activeml and on large pools: ``python -m benchmarks.speed.acquisition WHAT``.

digits  0 → 30 labels on scikit-learn's digits, logistic regression, paired over seeds: mean accuracy over the
        curve, and the paired difference to scikit-activeml's MaxHerding with a bootstrap interval.
        With --data FILE another data set: ten of its test classes, drawn anew for each seed.
time    one query at n = 1,000 × 64: on a known pool, on a new one, and the mean over buying 30 labels.
scale   time and peak memory beyond the data for a batch of 100 from 10³ to 10⁶ × 384 items; with --utilities
        for a batch of 10 and the utility of every item.
rare    which of the first 50 picks of k-center reaches a class of one item in 5,000, with landmarks that cover the pool
        and with landmarks that are drawn uniformly.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro

from metaal_env.runtime.command_line import run_command

CLASSES, POOL = 10, 1000
LABELS, DIMENSIONS, BATCH, BATCH_WITH_UTILITIES = 30, 384, 100, 10
RARE = 5000
REFERENCE = "skactiveml MaxHerding"
Ask = Callable[[np.ndarray, np.ndarray, int], int]


def strategies(policies: list[str], classes: list[int], peers: list[str] | None = None) -> dict[str, Ask]:
    """Name → (x, y with nan, seed) → position to label; of scikit-activeml's, all or the `peers`."""
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
    found = {
        name: ask for name, ask in found.items() if not peers or name.split()[1] in [*peers, "MaxHerding"]
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


def pools(source: str | None, seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each seed x, truth (numbers from 0) and the positions that are held out; the others are the pool."""
    from sklearn.datasets import load_digits

    from metaal_env.datasets import load_dataset

    if source is None:
        x, truth = load_digits(return_X_y=True)
        for seed in range(seeds):
            yield x / 16, truth, np.random.default_rng(seed).permutation(len(x))[POOL:]
        return
    data = load_dataset(source).split("test")
    inputs, labels = data.inputs.flatten(1).numpy(), data.labels.numpy()
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(data.n_classes)[:CLASSES]
        items = rng.permutation(np.flatnonzero(np.isin(labels, chosen)))
        truth = np.searchsorted(np.sort(chosen), labels[items])
        yield inputs[items], truth, np.arange(min(POOL, len(items) * 2 // 3), len(items))


def digits(source: str | None, seeds: int, policies: list[str], peers: list[str] | None) -> None:
    asks = strategies(policies, list(range(CLASSES)), peers)
    scores: dict[str, list[float]] = {name: [] for name in asks}
    for seed, (x, truth, held) in enumerate(pools(source, seeds)):
        for name, ask in asks.items():
            scores[name].append(curve(ask, x, truth, held, seed))
    rng = np.random.default_rng(0)
    resampled = rng.integers(0, seeds, (10_000, seeds))
    print(f"{source or 'digits'}, 0 → {LABELS} labels, logistic regression, {seeds} paired seeds")
    print(f"{'strategy':32s} {'AULC':>6s}   difference to {REFERENCE} [95 %]")
    for name, values in scores.items():
        difference = np.array(values) - scores[REFERENCE]
        low, high = np.quantile(difference[resampled].mean(1), [0.025, 0.975])
        print(f"{name:32s} {np.mean(values):6.4f}   {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")


def timing(policies: list[str], peers: list[str] | None) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 1000)
    x = rng.normal(size=(5, 64))[truth] + 1.5 * rng.normal(size=(1000, 64))
    asks = strategies(policies, list(range(5)), peers)

    def timed(ask: Ask, pool: np.ndarray, y: np.ndarray) -> tuple[int, np.ndarray]:
        start, computing = time.perf_counter(), time.process_time()
        pick = ask(pool, y, 0)
        return pick, 1e3 * np.array([time.perf_counter() - start, time.process_time() - computing])

    print("one query, n = 1,000 × 64, 5 classes: ms, and ms that a core computed")
    for new in (False, True):
        times: dict[str, list[np.ndarray]] = {name: [] for name in asks}
        for repeat in range(32):
            y = np.where(np.arange(1000) < 50 + repeat % 10, truth, np.nan)
            for name, ask in asks.items():  # interleaved: a busy moment hits all alike
                pool = x + 1e-3 * rng.normal(size=x.shape) if new else x
                spent = timed(ask, pool, y)[1]
                if repeat > 1:
                    times[name].append(spent)
        print(
            f"\n{'a new pool' if new else 'the same pool, other labels'} each time, 50 to 59 labels: median"
        )
        _table({name: np.median(spent, 0) for name, spent in times.items()})
    sessions: dict[str, list[np.ndarray]] = {name: [] for name in asks}
    for _ in range(8):
        for name, ask in asks.items():
            pool, y = x + 1e-3 * rng.normal(size=x.shape), np.full(1000, np.nan)
            for _ in range(LABELS):
                pick, spent = timed(ask, pool, y)
                y[pick] = truth[pick]
                sessions[name].append(spent)
    print(f"\n{LABELS} labels bought one by one for a new pool, from none: mean of a query")
    _table({name: np.mean(spent, 0) for name, spent in sessions.items()})


def _table(times: dict[str, np.ndarray]) -> None:
    for name, (seconds, computing) in times.items():
        print(f"{name:32s} {seconds:7.2f}   of a core {computing:7.2f}", flush=True)


def scale_one(n: int, policy: str, utilities: bool) -> None:
    from agents.acquisition import query

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    y = np.full(n, np.nan)
    y[:50] = rng.integers(0, 5, 50)
    query(x[:200], y[:200], policy=policy)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, computing = time.perf_counter(), time.process_time()
    size = BATCH_WITH_UTILITIES if utilities else BATCH
    query(x, y, policy=policy, batch_size=size, return_utilities=utilities)
    seconds, computing = time.perf_counter() - start, time.process_time() - computing
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(f"{n:10,d} {policy:20s} {seconds:8.2f} s, {computing:8.2f} s of a core {peak:8.2f} GB", flush=True)


def rare(n: int, seeds: int) -> None:
    from agents.acquisition.options import Limits
    from agents.acquisition.query import select

    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 20, n)
        truth[rng.choice(n, n // RARE, replace=False)] = 20
        centres = rng.standard_normal((21, DIMENSIONS), dtype=np.float32)
        x = rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
        for start in range(0, n, 10_000):
            x[start : start + 10_000] += centres[truth[start : start + 10_000]]
        for name, limits in {"covering": Limits(), "uniform": Limits(rounds=0)}.items():
            started = time.process_time()
            picks = select(
                x, np.full(n, np.nan), policy="k_center", batch_size=50, limits=limits, random_state=seed
            ).picks
            place = np.flatnonzero(truth[picks] == 20)
            found = f"pick {place[0] + 1}" if len(place) else "missed"
            print(
                f"{n:10,d} {name:10s} {found:10s} {time.process_time() - started:8.1f} s of a core",
                flush=True,
            )


@dataclass(frozen=True)
class Options:
    """What to measure."""

    what: tyro.conf.Positional[Literal["digits", "time", "scale", "rare", "one"]]
    """Accuracy on digits, time of a query, time and memory by size, a rare class by size, or one such size
    in this process."""
    seeds: int = 30
    """Paired seeds of digits."""
    data: str | None = None
    """Another data set than digits: a npz file or a name."""
    policy: tuple[str, ...] = ("uherding",)
    """One or more policies, as policy= of query."""
    peers: tuple[str, ...] = ()
    """Strategies of scikit-activeml, e.g. MaxHerding; all by default."""
    utilities: bool = False
    """Ask for the utility of every item, not only for the picks."""
    sizes: tuple[float, ...] = (1e3, 1e4, 1e5, 1e6)
    """Items of the pools of scale."""


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    policies, peers = list(options.policy), list(options.peers) or None
    if options.what == "digits":
        digits(options.data, options.seeds, policies, peers)
    elif options.what == "time":
        timing(policies, peers)
    elif options.what == "rare":
        for size in options.sizes:
            rare(int(size), options.seeds)
    elif options.what == "one":
        scale_one(int(options.sizes[0]), policies[0], options.utilities)
    else:
        for policy in policies:
            for size in options.sizes:  # a process each: peak memory never falls
                command = [sys.executable, "-m", "benchmarks.speed.acquisition", "one"]
                command += ["--sizes", str(size), "--policy", policy]
                subprocess.run(command + ["--utilities"] * options.utilities, check=True)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
