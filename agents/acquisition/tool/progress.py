"""Tells how far the labels have come: accuracy, what the last labels changed, and whether to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.acquisition.tool.refits import exact_interval, in_order, refitted

WINDOW = 10
"""Labels whose effect on the predictions is measured."""
WINDOWS = 3
"""Windows in a row that must change little before stopping is advised."""
WORTH = 0.01
"""Share of predictions that a window must change to be worth its labels."""
MIN_LABELS = 20
MAX_PREDICTED = 2000
"""Items whose predictions are compared; of more, this many drawn at random."""
UNKNOWN = (
    "accuracy is not known, since chosen labels are not a random sample of the pool; "
    "label --yardstick 30 or suggest --yardstick 30 measures it"
)


@dataclass(frozen=True)
class Progress:
    """Shares are in [0, 1]; None where there are too few labels to say.

    Attributes:
        counts: Class → labels.
        yardstick: Labels drawn at random.
        accuracy: Share of the yardstick that is predicted rightly from the other labels.
        interval: `exact_interval` of the accuracy on further items of this kind.
        changed: Share of predictions that each of the last windows of `WINDOW` labels changed, the latest last.
        advice: Whether to go on.
    """

    counts: dict[str, int]
    yardstick: int
    accuracy: float | None
    interval: tuple[float, float] | None
    changed: list[float]
    advice: str


def progress(
    x: np.ndarray,
    y: Sequence[str | None] | np.ndarray,
    *,
    drawn: np.ndarray | None = None,
    order: Sequence[int] | None = None,
) -> Progress:
    """Computes what the labels tell of the accuracy of metaal's own head.

    The accuracy is measured on the yardstick alone. Chosen labels are not a random sample of the pool:
    accuracy on them, one left out at a time, may be far below or above that on the pool. Between two fits, accuracy on
    the compared items cannot have changed by more than the share of changed predictions. Stopping is advised once that
    is small several times in a row (Bloodgood and Vijay-Shanker, CoNLL 2009).

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        drawn: (N,) bool, items of the yardstick. None by default.
        order: Positions of labelled items in the order in which they were labelled, the earliest first. Labels
            that it lacks came before. By default the order of the data.
    """
    known = [i for i, label in enumerate(y) if label is not None]
    counts = dict(Counter(str(y[i]) for i in known))
    is_drawn = np.zeros(len(y), dtype=bool) if drawn is None else drawn
    test = [i for i in known if is_drawn[i]]
    train = in_order([i for i in known if not is_drawn[i]], order or [])
    of_class = Counter(str(y[i]) for i in train)
    if len(train) < MIN_LABELS or sum(n >= 2 for n in of_class.values()) < 2:
        wanted = f"at least {MIN_LABELS} labels beside the yardstick and two classes with two labels each"
        return Progress(counts, len(test), None, None, [], f"go on: an estimate needs {wanted}.")
    others = np.random.default_rng(0).permutation(len(x))[:MAX_PREDICTED]
    n, m = len(train), len(test)
    code = {name: k for k, name in enumerate(counts)}
    codes = np.array([code[str(y[i])] for i in (*train, *test)])
    rows = np.array([*train, *test, *others])
    windows = np.array([n - WINDOW * k for k in range(WINDOWS, -1, -1) if n - WINDOW * k >= WINDOW])
    used = np.arange(n) < windows[:, None]
    guesses = refitted(x[rows], np.arange(n), codes[:n], used, np.arange(n, len(rows))).argmax(-1)
    changed = (guesses[1:, m:] != guesses[:-1, m:]).mean(1).tolist()
    accuracy = interval = None
    if test:
        hits = int((guesses[-1, :m] == codes[n:]).sum())
        accuracy, interval = hits / m, exact_interval(hits, m)
    return Progress(counts, m, accuracy, interval, changed, _advice(changed, counts))


def _advice(changed: list[float], counts: dict[str, int]) -> str:
    single = [name for name, count in counts.items() if count == 1]
    rare = f" {len(single)} class(es) have one label only, e.g. {single[0]!r}." if single else ""
    if len(changed) == WINDOWS and max(changed) < WORTH:
        few = f"{WINDOWS} times in a row {WINDOW} labels changed less than {WORTH:.0%} of the predictions"
        return f"stop: {few}.{rare}"
    if changed and changed[-1] < WORTH:
        return (
            f"nearly done: the last {WINDOW} labels changed less than {WORTH:.0%} of the predictions.{rare}"
        )
    return f"go on: predictions still change.{rare}"


def status_lines(state: Progress) -> list[str]:
    """Returns what a person is told of the accuracy."""
    lines = []
    if state.accuracy is not None and state.interval is not None:
        low, high = state.interval
        lines.append(
            f"accuracy on further items of this kind {state.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}), "
            f"measured on {state.yardstick} labels drawn at random"
        )
    else:
        lines.append(UNKNOWN)
    if state.changed:
        lines.append(
            f"the last {WINDOW} labels changed {state.changed[-1]:.1%} of the predictions, and the accuracy by no more"
        )
    return [*lines, state.advice]
