"""How often ``metaal status`` is right about the accuracy: ``python -m benchmarks.robustness.status_coverage``.

Plays labelling sessions whose answers are the true labels. At every checkpoint it compares the 95 % interval of the
yardstick with the accuracy on items of the same data that the session never saw,
and on the unlabelled items of the pool. It also compares the advice with what the next labels brought, and the interval
of the gain by ten further labels with the gain on unseen items.

Data sets: scikit-learn's digits, three synthetic ones, and every file given by --data (an npz with X and y; of many
classes ten are drawn anew for each seed). Data of fewer than 600 items are left out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from agents.acquisition.items.items import Items, content_ids, row_contents
from agents.acquisition.tool.answers import CHOSEN, RANDOM
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.outlook import MORE, outlook
from agents.acquisition.tool.progress import progress
from agents.acquisition.tool.refits import refitted
from agents.acquisition.tool.session import Session
from metaal_env.datasets import load_dataset
from metaal_env.datasets.prepare import standardise
from metaal_env.runtime.command_line import run_command

SYNTHETIC = [f"synthetic:{i}" for i in range(1, 4)]
CLASSES = 10
POOL, FRESH = 400, 2000
"""Items of the pool, at most half of the data, and unseen items, of which there must be enough to know the truth."""
SMALLEST = 600


@dataclass(frozen=True)
class Options:
    """Which sessions to play."""

    data: tuple[Path, ...] = ()
    """Further data sets: npz files with X and y, or folders of them."""
    policies: tuple[str, ...] = ("uherding", "margin", "random")
    """Policies that choose the labels."""
    checkpoints: tuple[int, ...] = (40, 60, 100)
    """Chosen labels after which the statements are compared with the truth."""
    yardstick: int = 30
    """Labels drawn at random beside them."""
    seeds: int = 3
    """Sessions per data set and policy."""
    most: int = 16
    """Data sets per folder; of more, this many evenly spaced in the order of their names."""


@dataclass
class Tally:
    """Counts of statements, and how many held."""

    fresh: list[bool] = field(default_factory=list)
    pool: list[bool] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    bound_fresh: list[bool] = field(default_factory=list)
    bound_pool: list[bool] = field(default_factory=list)
    slack: list[float] = field(default_factory=list)
    gain: list[bool] = field(default_factory=list)
    # The advice, and the gain by the labels up to the next checkpoint.
    advice: list[tuple[str, float]] = field(default_factory=list)


def sources(options: Options) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name → X, y."""
    from sklearn.datasets import load_digits

    found = {"digits": load_digits(return_X_y=True)}
    for name in SYNTHETIC:
        data = load_dataset(name)
        found[name] = (data.inputs.flatten(1).numpy(), data.labels.numpy())
    for path in options.data:
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        for i in np.unique(np.linspace(0, len(files) - 1, min(options.most, len(files))).astype(int)):
            arrays = np.load(files[i], allow_pickle=False)
            found[f"{path.name}/{files[i].stem}"] = (arrays["X"], arrays["y"])
    return {name: (x, y) for name, (x, y) in found.items() if len(x) >= SMALLEST}


def halves(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """X and y of the items drawn for a seed, the pool first, and the size of the pool."""
    rng = np.random.default_rng(seed)
    classes = np.unique(y)
    if len(classes) > CLASSES:
        classes = rng.choice(classes, CLASSES, replace=False)
    rows = rng.permutation(np.flatnonzero(np.isin(y, classes)))[: POOL + FRESH]
    inputs = x[rows].reshape(len(rows), -1).astype(np.float64)
    unit = np.allclose(np.linalg.norm(inputs, axis=1), 1, atol=1e-3)  # embeddings stay as they are
    return (inputs if unit else standardise(inputs)), y[rows].astype(str), min(POOL, len(rows) // 2)


def true_accuracy(x: np.ndarray, y: np.ndarray, train: list[int], tests: list[np.ndarray]) -> list[float]:
    """Accuracy on each of `tests` of metaal's own head, fitted to `train`."""
    codes = np.unique(y, return_inverse=True)[1]
    every = np.ones((1, len(train)), dtype=bool)
    guesses = refitted(x, np.array(train), codes[train], every, np.arange(len(x)))[0].argmax(-1)
    return [float((guesses[rows] == codes[rows]).mean()) for rows in tests]


def leave_one_out_bound(x: np.ndarray, y: np.ndarray, train: list[int]) -> float:
    """One-sided 95 % bound of the accuracy on each label of a head fitted to the others."""
    codes, rows = np.unique(y[train], return_inverse=True)[1], np.array(train)
    guesses = refitted(x, rows, codes, ~np.eye(len(train), dtype=bool), rows).argmax(-1)
    hits = int((guesses.diagonal() == codes).sum())
    return float(binomtest(hits, len(train), alternative="greater").proportion_ci(0.95).low)


def play(x: np.ndarray, y: np.ndarray, pool: int, policy: str, options: Options, tally: Tally) -> None:
    """Plays one session and notes which statements held at the checkpoints."""
    ids = content_ids(row_contents(x[:pool]))
    session = Session(Path("unused"), Items("pool", ids, [None] * pool, ids, vectors=x[:pool]))
    for position in session.next_of_yardstick(options.yardstick):
        session.set(position, y[position], RANDOM)
    earlier: tuple[str, float] | None = None
    promised: dict[int, tuple[float, float]] = {}  # labels → accuracies between which ten more lead
    for n in range(1, max(options.checkpoints) + MORE + 1):
        if not len(session.open_positions()):
            return
        position = int(choose_items(session, x[:pool], Choice(policy)).picks[0])
        session.set(position, y[position], CHOSEN)
        if n not in options.checkpoints and n not in promised:
            continue
        drawn, order = session.yardstick(), list(session.answers)
        train = [i for i in order if not drawn[i]]
        rest = session.open_positions()
        if len(rest) < 10:
            return
        fresh, left = true_accuracy(x, y, train, [np.arange(pool, len(x)), rest])
        if n in promised:
            tally.gain.append(promised[n][0] <= fresh <= promised[n][1])
        if n not in options.checkpoints:
            continue
        further = outlook(x[:pool], session.labels(), drawn, order)
        if further is not None:
            least, most = further.gain_interval
            promised[n + MORE] = fresh + least, fresh + most
        state = progress(x[:pool], session.labels(), drawn=drawn, order=order)
        if state.interval is not None:
            low, high = state.interval
            tally.fresh.append(low <= fresh <= high)
            tally.pool.append(low <= left <= high)
            tally.width.append(high - low)
        bound = leave_one_out_bound(x, y, train)
        tally.bound_fresh.append(bound <= fresh)
        tally.bound_pool.append(bound <= left)
        tally.slack.append(fresh - bound)
        if earlier is not None:
            tally.advice.append((earlier[0], fresh - earlier[1]))
        earlier = (state.advice.partition(":")[0], fresh)


def share(held: list[bool]) -> str:
    """Returns a share with its exact 95 % interval."""
    if not held:
        return "none"
    interval = binomtest(sum(held), len(held)).proportion_ci()
    return f"{sum(held) / len(held):.3f} [{interval.low:.3f}, {interval.high:.3f}] of {len(held)}"


def lines(name: str, tally: Tally) -> list[str]:
    """Returns what a tally says."""
    found = [
        f"{name}: interval holds the accuracy on fresh items {share(tally.fresh)}, on the rest of the pool "
        f"{share(tally.pool)}, mean width {np.mean(tally.width or [np.nan]):.3f}",
        f"{name}: leave-one-out bound holds on fresh items {share(tally.bound_fresh)}, on the rest of the pool "
        f"{share(tally.bound_pool)}, mean distance {np.mean(tally.slack or [np.nan]):.3f}",
        f"{name}: interval of the gain by {MORE} labels holds {share(tally.gain)}",
    ]
    for kind in ("stop", "nearly done", "go on"):
        gains = [gain for advice, gain in tally.advice if advice == kind]
        if gains:
            found.append(
                f"{name}: after «{kind}» ({len(gains)}) the next labels brought {np.mean(gains):+.3f}"
            )
    return found


def merged(tallies: list[Tally]) -> Tally:
    """Returns all statements together."""
    return Tally(**{key: list(chain(*(getattr(t, key) for t in tallies))) for key in vars(Tally())})


def main(options: Options) -> None:
    tallies: dict[str, dict[str, Tally]] = {policy: {} for policy in options.policies}
    for name, (x, y) in sources(options).items():
        for policy in options.policies:
            tally = tallies[policy][name] = Tally()
            for seed in range(options.seeds):
                play(*halves(x, y, seed), policy, options, tally)
            counts: list[list[bool]] = [tally.fresh, tally.pool, tally.bound_fresh]
            held = [f"{np.mean(found):.2f}" if found else "nan" for found in counts]
            print(f"{name:40s} {policy:12s} interval {held[0]} {held[1]}  bound {held[2]}", flush=True)
    for policy, of_policy in tallies.items():
        for line in lines(policy, merged(list(of_policy.values()))):
            print(line)
    everything = [tally for of_policy in tallies.values() for tally in of_policy.values()]
    for line in lines("all", merged(everything)):
        print(line)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
