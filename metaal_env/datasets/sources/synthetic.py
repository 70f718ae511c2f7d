"""`synthetic:N`: clusters in random spaces, so that policies meet geometries beyond those of the real data sets.

A policy learns the value of far, dense and typical items from its training spaces. If it has only seen embeddings
without outliers, it buys outliers elsewhere. As in networks for tables that are trained on drawn data alone (Hollmann
et al. 2023, TabPFN), the remedy is to draw the space itself at random, from a wide range.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError

PREFIX = "synthetic:"
CLASSES, PER_CLASS = 30, 100
FAMILY = 5
"""Classes that lie around a common centre, in half of the spaces."""
_SEED = 20261125


def load_synthetic(name: str) -> ClassDataset:
    """Returns the space ``synthetic:N``. Raises: `InputError` unless N is a whole number."""
    number = name.removeprefix(PREFIX)
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InputError(f"dataset={name!r} must be {PREFIX}N with a whole number N, such as {PREFIX}0.")
    return space(int(number))


def space(number: int) -> ClassDataset:
    """Draws 30 classes of 100 items in a space of 8 to 256 dimensions, float32, with mean square 1.

    A class is a mixture of up to four Student-t distributions in a few hidden dimensions. A random linear, saturating
    or rectifying map takes them to the space, with axes of unequal scale and noise. Half of the spaces are centred,
    and a third lie on a sphere. A space depends on its number alone.
    """
    rng = np.random.default_rng([_SEED, number])
    vectors = _mapped(rng, _hidden(rng))
    names = tuple(f"class {c}" for c in range(CLASSES))
    return ClassDataset(
        name=f"{PREFIX}{number}",
        inputs=torch.from_numpy(vectors.astype(np.float32)),
        labels=torch.arange(CLASSES).repeat_interleave(PER_CLASS),
        class_names=names,
        groups=names,
        modality="vector",
    )


def _hidden(rng: Generator) -> np.ndarray:
    """Returns (CLASSES · PER_CLASS, Q) items in order of their classes."""
    dims = round(log_uniform(rng, 2, 24))
    stretch = rng.uniform(0, 1.2)  # of axes, in log; of the same for all classes, and a third of it for each
    parts = int(rng.integers(1, 5))
    freedom = rng.choice([2.5, 5.0, np.inf])  # few degrees of freedom: outliers
    centres = rng.normal(size=(CLASSES, dims))
    if rng.random() < 0.5:
        families = rng.normal(size=(CLASSES // FAMILY, dims)).repeat(FAMILY, 0)
        centres = (families + centres) / 2**0.5
    centres *= log_uniform(rng, 0.6, 5) * np.exp(stretch / 2 * rng.normal(size=dims))
    means = centres[:, None] + rng.uniform(0.3, 1.2) * rng.normal(size=(CLASSES, parts, dims))
    scales = np.exp(
        stretch * rng.normal(size=dims)
        + stretch / 3 * rng.normal(size=(CLASSES, parts, dims))
        + 0.4 * rng.normal(size=(CLASSES, 1, 1))
    )
    shares = rng.dirichlet(np.full(parts, 2.0), CLASSES)
    member = np.stack([rng.choice(parts, PER_CLASS, p=share) for share in shares])  # (CLASSES, PER_CLASS)
    own = np.arange(CLASSES)[:, None], member
    noise = rng.normal(size=(CLASSES, PER_CLASS, dims))
    if np.isfinite(freedom):
        noise /= np.sqrt(rng.chisquare(freedom, size=(CLASSES, PER_CLASS, 1)) / freedom)
    return (means[own] + scales[own] * noise).reshape(-1, dims)


def _mapped(rng: Generator, hidden: np.ndarray) -> np.ndarray:
    """Maps (M, Q) hidden variables to (M, D) visible ones."""
    dims = max(hidden.shape[1], round(log_uniform(rng, 8, 256)))
    bias = rng.normal(size=dims) / 2
    seen = hidden @ rng.normal(size=(hidden.shape[1], dims)) / hidden.shape[1] ** 0.5
    kind = rng.choice(["linear", "saturating", "rectifying"])
    if kind == "saturating":
        seen = np.tanh(rng.uniform(0.3, 1.5) * seen + bias)
    elif kind == "rectifying":
        seen = np.maximum(seen + bias, 0)
    seen = seen * np.exp(rng.uniform(0, 1) * rng.normal(size=dims))
    seen += rng.choice([0.0, 0.2, 0.6]) * seen.std() * rng.normal(size=seen.shape)
    if rng.random() < 0.5:
        seen = seen - seen.mean(0)
    if rng.random() < 1 / 3:
        seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-9)
    return seen / np.sqrt(np.square(seen).mean())


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """Draws from the log-uniform distribution between `low` and `high`, or returns `low` where it is the larger."""
    # scipy.stats.loguniform takes no empty range and is much slower.
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))
