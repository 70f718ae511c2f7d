"""A map of the pool: its vectors on their two widest directions."""

from __future__ import annotations

import numpy as np

MAX_DRAWN = 20_000
"""Items that are drawn; of a larger pool this many, at random."""
MAX_FITTED = 5_000


def pool_map(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions (M,) of the items drawn and their places (M, 2) in [0, 1], by principal components.

    The sign of a component is chosen so that equal pools give equal maps.
    """
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    n = len(x)
    drawn = np.arange(n) if n <= MAX_DRAWN else np.sort(rng.choice(n, MAX_DRAWN, replace=False))
    flat = np.asarray(x[drawn], dtype=np.float64).reshape(len(drawn), -1)
    if flat.shape[1] < 2:
        flat = np.c_[flat, np.zeros(len(flat))]
    fitted = flat if len(flat) <= MAX_FITTED else flat[rng.choice(len(flat), MAX_FITTED, replace=False)]
    varies = len(fitted) > 1 and np.ptp(fitted, axis=0).any()
    places = PCA(2, random_state=0).fit(fitted).transform(flat) if varies else flat[:, :2] * 0
    places *= np.where(np.abs(places.min(0)) > places.max(0), -1, 1)
    low, high = np.quantile(places, [0.002, 0.998], axis=0)  # a few outliers must not press the rest together
    return drawn, np.clip((places - low) / np.where(high > low, high - low, 1.0), 0, 1)
