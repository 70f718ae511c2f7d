"""Time per query beside scikit-activeml, same pool and labels: ``python -m benchmarks.speed.strategies``.

Both sides start from arrays: ours builds a view of one pool and adapts the learner where the rule reads it, theirs
fits its classifier (``fit_clf=True``, its default); ``--fitted`` hands theirs a classifier that is fitted already,
while ours still adapts. Processor time of one thread, medians over repeats taken in turns, ratio theirs / ours.
The look-ahead rules of scikit-activeml are left out above ``--slow-limit`` items, where they take minutes.
``--write docs/strategies.md`` puts the tables there.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from agents.loading import load_strategy
from agents.strategies import Strategy
from benchmarks.sections import replace_section
from metaal_env.learners import LEARNERS, InnerLearner
from metaal_env.pool.view import PoolView
from metaal_env.runtime.command_line import run_command

CLASSES, DIMENSIONS, LABELS = 5, 64, 50


def median_seconds(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> list[float]:
    """Median processor time of each, called in turns: other programs on the machine then count for neither.

    The first calls, which warm caches, do not count unless they are the only ones.
    """
    times: list[list[float]] = [[], []]
    for _ in range(repeats + (repeats > 1)):
        for call, found in zip((ours, theirs), times, strict=True):
            start = time.process_time()
            call()
            found.append(time.process_time() - start)
    return [float(np.median(found[1:] or found)) for found in times]


def references(x: np.ndarray, y: np.ndarray, fit: bool) -> dict[str, tuple[Callable[[], object], bool]]:
    """Our name → (scikit-activeml's query, whether it is slow)."""
    from skactiveml import pool
    from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    classes = list(range(CLASSES))
    clf = SklearnClassifier(LogisticRegression(max_iter=500), classes=classes, random_state=0).fit(x, y)
    parzen = ParzenWindowClassifier(classes=classes, random_state=0).fit(x, y)
    members = [
        SklearnClassifier(LogisticRegression(max_iter=500), classes=classes, random_state=i)
        for i in range(10)
    ]
    fitted = {"clf": clf, "fit_clf": fit}
    unsure = {
        "least_confident": "least_confident",
        "margin": "margin_sampling",
        "entropy": "entropy",
    }

    def uncertainty(method: str) -> object:
        return pool.UncertaintySampling(method=method).query(x, y, **fitted)

    calls: dict[str, tuple[Callable[[], object], bool]] = {
        name: (partial(uncertainty, method), False) for name, method in unsure.items()
    }
    discriminator = SklearnClassifier(LogisticRegression(max_iter=500), classes=[0, 1])
    return calls | {
        "random": (lambda: pool.RandomSampling().query(x, y), False),
        "k_center": (lambda: pool.CoreSet().query(x, y), False),
        "max_herding": (lambda: pool.MaxHerding().query(x, y), False),
        "typiclust": (lambda: pool.TypiClust().query(x, y), False),
        "probcover": (lambda: pool.ProbCover(n_classes=CLASSES).query(x, y), False),
        "badge": (lambda: pool.Badge().query(x, y, **fitted), False),
        "clue": (lambda: pool.Clue().query(x, y, clf, fit_estimator=fit), False),
        "falcun": (lambda: pool.Falcun().query(x, y, **fitted), False),
        "dropquery": (lambda: pool.DropQuery().query(x, y, **fitted), False),
        "discriminative": (
            lambda: pool.DiscriminativeAL(greedy_selection=True).query(x, y, discriminator=discriminator),
            False,
        ),
        # A committee has to be fitted, by them as by us.
        "vote_entropy": (lambda: pool.QueryByCommittee(method="vote_entropy").query(x, y, members), False),
        "consensus_kl": (lambda: pool.QueryByCommittee(method="KL_divergence").query(x, y, members), False),
        "bald": (lambda: pool.GreedyBALD().query(x, y, members), False),
        "mcpal": (lambda: pool.ProbabilisticAL(metric="rbf").query(x, y, **fitted), False),
        "eer_error": (lambda: pool.MonteCarloEER().query(x, y, parzen), True),
        "eer_log_loss": (
            lambda: pool.MonteCarloEER(method="log_loss").query(x, y, parzen),
            True,
        ),
    }


GEOMETRIC = ("random", "k_center", "max_herding", "typiclust", "probcover", "discriminative")
"""Rules that need no classifier, here as there."""


def query(
    strategy: Strategy, x: np.ndarray, labels: np.ndarray, learner: InnerLearner | None
) -> torch.Tensor:
    """One query from arrays: nothing is kept between queries, the learner is adapted anew."""
    probs = np.full((len(x), CLASSES), 1 / CLASSES) if learner is None else None
    return strategy.select(PoolView.from_arrays(x, probs, labels, budget=10, learner=learner))


@dataclass(frozen=True)
class Options:
    """What to time."""

    sizes: tuple[int, ...] = (100, 1000)
    """Items of the pools."""
    repeats: int = 5
    """Calls of each side; medians are reported."""
    slow_limit: int = 1000
    """Largest pool for look-ahead rules of scikit-activeml."""
    fitted: bool = False
    """Hand scikit-activeml a classifier that is fitted beforehand."""
    write: Path | None = None
    """Markdown file whose section is replaced."""
    only: tuple[str, ...] = ()
    """Names of strategies; all by default."""


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    lines: list[str] = [""]
    for size in options.sizes:
        rng = np.random.default_rng(0)
        truth = rng.integers(0, CLASSES, size)
        x = rng.normal(size=(CLASSES, DIMENSIONS))[truth] + 1.5 * rng.normal(size=(size, DIMENSIONS))
        labels = np.where(np.arange(size) < LABELS, truth, -1)
        y = np.where(labels < 0, np.nan, labels)
        learner = LEARNERS["prototype"]((DIMENSIONS,))
        title = f"n = {size:,}, {DIMENSIONS} features, {CLASSES} classes, {LABELS} labels"
        lines += ["", title, "", "| strategy | ours ms | theirs ms | ratio |", "|---|---|---|---|"]
        print("\n".join(lines[-5:]))
        ratios = []
        for name, (theirs, slow) in references(x, y, not options.fitted).items():
            if (slow and size > options.slow_limit) or (options.only and name not in options.only):
                continue
            strategy = load_strategy(name)

            repeats = 1 if slow and size >= 1000 else options.repeats
            needed = None if name in GEOMETRIC else learner
            mine, other = median_seconds(partial(query, strategy, x, labels, needed), theirs, repeats)
            ratios.append(other / mine)
            lines.append(f"| {name} | {1e3 * mine:.2f} | {1e3 * other:.2f} | {other / mine:.1f} |")
            print(lines[-1], flush=True)
        lines.append(f"| median ratio | | | {np.median(ratios):.1f} |")
        print(lines[-1])
    if options.write:
        sizes = " ".join(map(str, options.sizes))
        lines[0] = f"`python -m benchmarks.speed.strategies --sizes {sizes}{' --fitted' * options.fitted}`"
        replace_section(options.write, "strategy-speed", "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
