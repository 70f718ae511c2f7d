"""Guesses from a pool's dimension how many classes it has, with caution, while nobody has named them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaal_env.pool.even_spacing import evenly_spaced

ITEMS = 256
"""Items of which the dimension is measured."""

LEVEL, SLOPE, SPREAD = 0.60, 0.43, 0.75
"""log K is about normal with the mean `LEVEL` + `SLOPE` · log d and the deviation `SPREAD`.

Fitted to pools of 2 to 30 training classes of images, texts, tables and drawn spaces, see docs/log/2026-11.md.
"""

CAUTION = 0.5
"""Deviations below the mean at which the number is taken: one too large costs a policy far more than one too small."""


def effective_dimension(x: Tensor) -> float:
    """Returns the participation ratio (Σ λ)² / Σ λ² of the eigenvalues λ of the covariance of (N, D) items."""
    everyone = torch.ones(1, len(x), dtype=torch.bool, device=x.device)
    some = x[evenly_spaced(x.unsqueeze(0), everyone, min(len(x), ITEMS))[0]].double()
    centred = some - some.mean(0)
    product = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    trace = float(product.diagonal().sum())
    return trace**2 / float(product.square().sum()) if trace > 0 else 1.0


def cautious_class_count(x: Tensor) -> int:
    """Returns a number of classes that a pool of (N, D) items probably has, at least 2.

    Classes that lie apart span dimensions, so their number grows with the `effective_dimension` d of the pool.
    """
    mean = LEVEL + SLOPE * math.log(effective_dimension(x))
    return max(2, round(math.exp(mean - CAUTION * SPREAD)))
