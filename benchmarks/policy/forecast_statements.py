"""How often the statements of forecasts held, and the table of docs/results.md that says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.acquisition.forecast.forecast import LEVEL, forecast
from agents.acquisition.forecast.look_alikes import LookAlikes
from benchmarks.policy.forecast_sessions import ITEMS, LABELS, POLICIES

TARGETS = (0.6, 0.7, 0.8, 0.9)


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


def _share(parts: list[dict[str, list[bool]]], kind: str) -> str:
    values = [value for part in parts for value in part[kind]]
    return f"{np.mean(values):.2f}" if values else "–"
