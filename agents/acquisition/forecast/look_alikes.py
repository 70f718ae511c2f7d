"""Recalls how far forecasts were from the truth on data sets with known labels, which makes intervals honest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("look_alikes.json")
"""Written by ``python -m benchmarks.policy.forecast_calibration``."""
STAND_IN = "uherding"
"""Whose errors stand for those of policies that were not measured."""
EDGE = 0.01


@dataclass(frozen=True)
class LookAlikes:
    """Holds the errors of R forecasts.

    Attributes:
        labels: (P,) numbers of labels.
        errors: policy → (R, P) true minus forecast accuracy, as log-odds; the r-th of all policies belong together.
        saved: policy → (R,) true minus forecast mean accuracy beyond that of random.
        level: share of the errors between the ends of an interval of 80 %. It is larger, since these were seen before.
        data: names of the data sets.
    """

    labels: np.ndarray
    errors: dict[str, np.ndarray]
    saved: dict[str, np.ndarray]
    level: float
    data: tuple[str, ...]

    def of(self, policy: str, labels: np.ndarray) -> np.ndarray:
        """Returns (R, L) errors after (L,) numbers of labels; beyond the last number, those of the last."""
        rows = self.errors.get(policy, self.errors[STAND_IN])
        return np.stack([np.interp(labels, self.labels, row) for row in rows])

    def of_saved(self, policy: str) -> np.ndarray:
        """Returns the (R,) errors of what a policy saves."""
        return self.saved.get(policy, self.saved[STAND_IN])


@lru_cache(maxsize=1)
def look_alikes() -> LookAlikes:
    """Reads those that ship."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    errors, saved = (
        {policy: np.array(rows) for policy, rows in found[key].items()} for key in ("errors", "saved")
    )
    return LookAlikes(np.array(found["labels"]), errors, saved, found["level"], tuple(found["data"]))


def log_odds(accuracy: np.ndarray) -> np.ndarray:
    """Returns the log-odds of accuracies, which are kept `EDGE` away from 0 and 1."""
    inner = np.clip(accuracy, EDGE, 1 - EDGE)
    return np.asarray(np.log(inner / (1 - inner)))


def from_log_odds(values: np.ndarray) -> np.ndarray:
    """Returns accuracies of log-odds."""
    return np.asarray(1 / (1 + np.exp(-values)))
