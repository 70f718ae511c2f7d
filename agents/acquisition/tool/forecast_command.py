"""``metaal forecast``: how many labels it will take, and what active learning saves, before there are labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.acquisition.forecast.forecast import LEVEL, Forecast, Range, forecast, played_curves
from agents.acquisition.forecast.look_alikes import LookAlikes, look_alikes
from agents.acquisition.forecast.plausible import plausible_counts, plausible_truths
from agents.acquisition.named_classifiers import named_classifier
from agents.acquisition.policies import load_policy
from agents.acquisition.tool.pool_options import PoolOptions
from agents.evaluation.statistics.comparisons import RANDOM
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import say

MOST = 400
"""Items without a label that take part; of more, this many drawn at random."""
LEAST = 30
"""Items beyond the budget, of which a third judge."""
NOTHING = 0.005
"""Mean gain in accuracy that is none."""


@dataclass(frozen=True)
class ForecastCommand(PoolOptions):
    """Forecast how many labels your pool will take, and what active learning saves there; needs no label."""

    policies: tuple[str, ...] = ("uherding", "margin")
    """Rules, shipped policies or run folders to forecast beside random."""
    target: float = 0.8
    """Accuracy that you want."""
    budget: int = 40
    """Labels in all, those known included; nothing is forecast beyond."""
    batch: int = 2
    """Labels to buy at a time."""
    way: int | None = None
    """Number of classes, where you do not name them by --classes; without either it is guessed."""
    classifier: str = "logistic"
    """logistic, neighbours, bayes, forest, label_spreading (which learns from items without a label, too), or
    module:attribute of a scikit-learn classifier of your own."""
    plays: int = 4
    """Plausible partitions of the pool into classes on which each policy plays; up to 8 differ."""

    def run(self) -> None:
        self.check()
        for path in self.policies:
            self.check(path)
        for least, name in ((4, "budget"), (1, "batch"), (1, "plays"), (2, "way")):
            require_at_least(least, self, name)
        if not 0 < self.target < 1:
            raise InputError(f"target={self.target} must lie between 0 and 1, e.g. 0.9.")
        policies = tuple(dict.fromkeys((RANDOM, *self.policies)))
        strategies = {name: load_policy(name) for name in policies}
        make = named_classifier(self.classifier)
        session = self.read()
        names, y = _codes(session.labels(), self.class_names())
        known, n = y >= 0, int((y >= 0).sum())
        if self.way is not None and self.way < len(names):
            raise InputError(f"way={self.way} is below the {len(names)} classes that are known.")
        if n == len(y):
            raise InputError(
                f"data={str(self.data)!r}: all {n} items have a label; nothing is left to forecast."
            )
        if n >= self.budget:
            raise InputError(f"budget={self.budget} is spent: {n} items have a label; raise it.")
        needed = max(4, n + 1) + LEAST  # of the smallest budget
        if len(y) < needed:
            count = "1 item" if len(y) == 1 else f"{len(y)} items"
            raise InputError(
                f"data={str(self.data)!r} has {count}; a forecast needs at least {needed}: label so few all."
            )
        if len(y) < self.budget + LEAST:
            raise InputError(
                f"data={str(self.data)!r} has {len(y)} items; a forecast of {self.budget} labels needs "
                f"{self.budget + LEAST}; lower --budget."
            )
        if self.dry_run:
            return
        rng = np.random.default_rng(0)
        rows = np.concatenate([np.flatnonzero(known), rng.permutation(np.flatnonzero(~known))[:MOST]])
        x, y, known = self.encoded(session.items)[rows], y[rows], known[rows]
        x = np.asarray(x).reshape(len(x), -1)
        if self.way is not None or self.classes is not None:
            counts = [max(2, self.way or 0, len(names))] * self.plays
        else:
            counts = plausible_counts(x, self.plays, len(names))
            tried = ", ".join(map(str, sorted(set(counts))))
            say(f"number of classes unknown, tried {tried}; --classes or --way tells it.")
        truths = plausible_truths(x, y, counts)
        played = {}
        for name, strategy in strategies.items():
            curves = played_curves(x, truths, known, strategy, make, labels=self.budget, batch=self.batch)
            played[name] = np.stack(list(curves))
            say(f"  {name} played")
        errors = look_alikes()
        for line in lines(forecast(played, errors), self.target, self.budget):
            say(line)
        for line in self._differences(errors, n):
            say(line)

    def _differences(self, errors: LookAlikes, labels: int) -> list[str]:
        """Returns in what this forecast differs from those whose intervals were checked."""
        parts = []
        if unknown := [name for name in self.policies if name not in errors.errors]:
            parts.append(f"{', '.join(unknown)} was not among the policies")
        if self.budget > errors.labels[-1]:
            parts.append(f"it went to {errors.labels[-1]} labels")
        if self.way is None and self.classes is None:
            parts.append("the number of classes was known")
        if labels:
            parts.append("nothing was labelled")
        if self.classifier != "logistic":
            parts.append("the classifier was logistic")
        found = f"intervals of {LEVEL:.0%} come from the errors of forecasts on {len(errors.data)} other data sets"
        return [f"{found}; there {'; '.join(parts)}." if parts else f"{found}."]


def _codes(labels: np.ndarray, named: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Returns the known classes, and (N,) their numbers, −1 where unknown."""
    seen = sorted({str(label) for label in labels if label is not None})
    names = list(dict.fromkeys((*named, *seen)))
    code = {name: i for i, name in enumerate(names)}
    return names, np.array([-1 if label is None else code[str(label)] for label in labels])


def lines(found: Forecast, target: float, budget: int) -> list[str]:
    """Returns the table for a terminal, and what it says."""
    width = max(6, *(len(name) for name in found.curves))
    lines = [
        f"{'policy':{width}}  {f'accuracy after {budget}':24}  {f'labels to {target:.0%}':24}  beyond random"
    ]
    for name in found.curves:
        wanted = _labels(found.labels_to(name, target), budget)
        line = f"{name:{width}}  {_shares(found.accuracy(name)):24}  {wanted:24}"
        if name != RANDOM:
            gap = found.saved(name)
            line += f"  {100 * gap.middle:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
            fewer = found.labels_saved(name, target)
            if fewer is not None:
                line += f", {fewer.middle:.0f} fewer labels [{fewer.low:.0f}, {fewer.high:.0f}]"
        lines.append(line.rstrip())
    return [*lines, verdict(found)]


def verdict(found: Forecast) -> str:
    """Returns one sentence: whether active learning saves anything here."""
    gaps = {name: found.saved(name) for name in found.curves if name != RANDOM}
    if not gaps:
        return "Only random was played."
    best = max(gaps, key=lambda name: gaps[name].middle)
    gap = gaps[best]
    if gap.middle < NOTHING:
        return "Active learning probably saves nothing here: label at random."
    if gap.low <= 0:
        return f"{best} probably saves labels, but the interval includes that it saves nothing."
    return f"{best} saves labels here."


def _shares(span: Range) -> str:
    return f"{span.middle:.0%} [{span.low:.0%}, {span.high:.0%}]"


def _labels(span: Range, budget: int) -> str:
    def one(value: float) -> str:
        return f"{value:.0f}" if np.isfinite(value) else f"over {budget}"

    return f"{one(span.middle)} [{one(span.low)}, {one(span.high)}]"
