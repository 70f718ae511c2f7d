"""Tells how far the labels have come: accuracy, what the last labels changed, and whether to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binomtest

from agents.acquisition.own_head import centred, head_for, scaled
from metaal_env.learners.base import InnerLearner

WINDOW = 10
"""Labels whose effect on the predictions is measured."""
WINDOWS = 3
"""Windows in a row that must change little before stopping is advised."""
WORTH = 0.01
"""Share of predictions that a window must change to be worth its labels."""
MIN_LABELS = 20
MAX_PREDICTED = 2000
"""Items whose predictions are compared; of more, this many drawn at random."""
CONFIDENCE = 0.95
UNKNOWN = (
    "accuracy is not known, since chosen labels are no sample of the pool; "
    "label --yardstick 30 or suggest --yardstick 30 measures it"
)


@dataclass(frozen=True)
class Progress:
    """Shares are in [0, 1]; None where there are too few labels to say.

    Attributes:
        counts: Class → labels.
        yardstick: Labels drawn at random.
        accuracy: Share of the yardstick that is predicted rightly from the other labels.
        interval: Two-sided 95 % interval of the accuracy on further items of this kind (Clopper and Pearson, 1934).
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
    seed: int = 0,
) -> Progress:
    """Computes what the labels tell of the accuracy of metaal's own head.

    The accuracy is measured on the yardstick alone. Chosen labels are no sample of the pool: accuracy on them, one
    left out at a time, may be far below or above that on the pool. Between two fits, accuracy on the compared items
    cannot have changed by more than the share of changed predictions. Stopping is advised once that is small several
    times in a row (Bloodgood and Vijay-Shanker, CoNLL 2009).

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        drawn: (N,) bool, items of the yardstick. None by default.
        order: Positions of labelled items in the order in which they were labelled, the earliest first. Labels
            that it lacks came before. By default the order of the data.
        seed: Seed of the subsets that are drawn where there are many labels or items.
    """
    known = [i for i, label in enumerate(y) if label is not None]
    names = list(dict.fromkeys(str(y[i]) for i in known))
    counts = {name: sum(str(y[i]) == name for i in known) for name in names}
    is_drawn = np.zeros(len(y), dtype=bool) if drawn is None else drawn
    test = [i for i in known if is_drawn[i]]
    train = _ordered([i for i in known if not is_drawn[i]], order or [])
    of_class = [sum(str(y[i]) == name for i in train) for name in names]
    if len(train) < MIN_LABELS or sum(n >= 2 for n in of_class) < 2:
        wanted = f"at least {MIN_LABELS} labels beside the yardstick and two classes with two labels each"
        return Progress(counts, len(test), None, None, [], f"go on: an estimate needs {wanted}.")
    rng = np.random.default_rng(seed)
    others = rng.permutation(len(x))[:MAX_PREDICTED]
    rows = np.array([*train, *test, *others])
    z = centred(scaled(x[rows]))
    labels = torch.tensor([names.index(str(y[i])) for i in train])
    n, m = len(train), len(test)
    head = head_for(z)
    with torch.no_grad():
        features = head.prepare_all(z)
    windows = [n - WINDOW * k for k in range(WINDOWS, -1, -1) if n - WINDOW * k >= WINDOW]
    used = torch.arange(n).unsqueeze(0) < torch.tensor(windows).unsqueeze(1)
    guesses = predictions(head, features[:n], labels, used, features[n:])
    changed = (guesses[1:, m:] != guesses[:-1, m:]).double().mean(1).tolist()
    accuracy = interval = None
    if test:
        truth = torch.tensor([names.index(str(y[i])) for i in test])
        hits = int((guesses[-1, :m] == truth).sum())
        exact = binomtest(hits, m).proportion_ci(CONFIDENCE, method="exact")
        accuracy, interval = hits / m, (float(exact.low), float(exact.high))
    return Progress(counts, m, accuracy, interval, changed, _advice(changed, counts))


def _ordered(positions: list[int], order: Sequence[int]) -> list[int]:
    """Positions as `order` has them, after those that it lacks."""
    when = {position: k for k, position in enumerate(order)}
    return sorted(positions, key=lambda i: when.get(i, -1))


def predictions(
    head: InnerLearner, support: torch.Tensor, labels: torch.Tensor, used: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """(R, M) classes of the (M, F) items, predicted from the labels that each row of the (R, n) mask uses.

    Args:
        support: (n, F) features of the labelled items, prepared by the head.
        labels: (n,) classes.
    """
    return torch.cat([part.argmax(-1) for part in _logits(head, support, labels, used, items)])


def probabilities(
    head: InnerLearner, support: torch.Tensor, labels: torch.Tensor, used: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """(R, M, C) class probabilities; else as `predictions`."""
    return torch.cat([part.softmax(-1) for part in _logits(head, support, labels, used, items)])


def _logits(
    head: InnerLearner, support: torch.Tensor, labels: torch.Tensor, used: torch.Tensor, items: torch.Tensor
) -> Iterator[torch.Tensor]:
    with torch.no_grad():
        for mask in used.split(16):
            b = len(mask)
            of_class = torch.nn.functional.one_hot(labels).to(torch.bool)  # (n, C)
            classes = (mask.unsqueeze(-1) & of_class).any(1)  # a class without label is never predicted
            adapted = head.adapt(support.expand(b, *support.shape), labels.expand(b, -1), mask, classes)
            yield head.predict(adapted, items.expand(b, *items.shape))


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
