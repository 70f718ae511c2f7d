"""Learning curves fitted to accuracies: where they lead, and what further labels would bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares


@dataclass(frozen=True)
class Curve:
    """Describes a power law of the number of labels n: accuracy = top − (top − bottom) · (1 + n / scale)^−rate.

    It has the shape of PALM (ICCV 2025) with a polynomial instead of an exponential approach, as curves of small
    numbers of labels have it (Hestness et al. 2017).
    """

    top: float
    bottom: float
    scale: float
    rate: float

    def at(self, labels: np.ndarray | float) -> np.ndarray:
        """Returns the accuracy after so many labels."""
        left = (1 + np.asarray(labels, dtype=float) / self.scale) ** -self.rate
        return np.asarray(self.top - (self.top - self.bottom) * left)

    def gain(self, labels: float, more: float) -> float:
        """Returns what `more` labels add to the accuracy after `labels`."""
        return float(self.at(labels + more) - self.at(labels))


def fit_curve(labels: np.ndarray, accuracy: np.ndarray) -> Curve:
    """Fits a curve that never falls, by robust least squares.

    Args:
        labels: (P,) numbers of labels.
        accuracy: (P,) in [0, 1].
    """
    n, a = labels.astype(float), accuracy.astype(float)
    bottom, top = float(np.clip(a[0], 0.01, 0.98)), float(np.clip(a.max() + 0.02, 0.02, 0.999))
    middle = max(1.0, float(np.median(n)))

    # Shares of what is left keep 0 ≤ bottom ≤ top ≤ 1.
    def curve(p: np.ndarray) -> Curve:
        return Curve(float(p[0]), float(p[0] * p[1]), float(np.exp(p[2])), float(np.exp(p[3])))

    def apart(p: np.ndarray) -> np.ndarray:
        shape = 0.02 * np.array([p[2] - np.log(middle), p[3]])  # points that tell nothing leave it as it is
        return np.concatenate([curve(p).at(n) - a, shape])

    first = np.array([top, min(bottom / top, 0.98), np.log(middle), 0.0])
    bounds = ([0.01, 0.0, np.log(middle) - 4, -2.0], [1.0, 1.0, np.log(middle) + 4, 1.5])
    found = least_squares(
        apart, np.clip(first, *map(np.array, bounds)), bounds=bounds, loss="soft_l1", f_scale=0.05
    )
    return curve(found.x)
