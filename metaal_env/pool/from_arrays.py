"""Checks of the arrays from which `PoolView.from_arrays` builds a view."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metaal_env.errors import InputError


def check_embeddings(
    embeddings: np.ndarray | Tensor, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """Returns (B, N, D) embeddings of an (N, D) or (B, N, D) array. Raises: `InputError`."""
    x = _batched(torch.as_tensor(embeddings).to(device, dtype), 2)
    if x.dim() != 3 or 0 in x.shape:
        raise InputError(f"embeddings of shape {tuple(x.shape)} must be (N, D) or (B, N, D), none of them 0.")
    if not _finite(x):
        raise InputError("embeddings contain NaN or infinite values; impute or drop those items.")
    return x


def check_labels(labels: np.ndarray | Tensor | None, embeddings: Tensor) -> Tensor:
    """Returns (B, N) int64 labels of an (N,) or (B, N) array, −1 where there is none. Raises: `InputError`."""
    b, n, _ = embeddings.shape
    given = torch.full((b, n), -1) if labels is None else torch.as_tensor(labels)
    y = _batched(given, 1).to(embeddings.device).long()
    if y.shape != (b, n):
        raise InputError(f"labels of shape {tuple(y.shape)} must be (N,) or (B, N) = {(b, n)}.")
    return y


def check_probs(probs: np.ndarray | Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
    """Returns (B, N, K) positive probabilities of an (N, K) or (B, N, K) array, scaled to sum to one.

    Raises:
        InputError: another shape, values that are negative or not finite, or fewer classes than `labels` has.
    """
    p = _batched(torch.as_tensor(probs).to(embeddings), 2)
    b, n = labels.shape
    if p.dim() != 3 or p.shape[:2] != (b, n) or not _finite(p) or bool((p < 0).any()):
        raise InputError(f"probs of shape {tuple(p.shape)} must be ({b}, {n}, K), finite and not negative.")
    if int(labels.max()) >= p.shape[2]:
        raise InputError(
            f"labels reach {int(labels.max())} but probs have {p.shape[2]} classes; labels must be below K."
        )
    # Probabilities need not sum to exactly one in the caller's arithmetic.
    return (p / p.sum(-1, keepdim=True).clamp(min=1e-30)).clamp(min=1e-30)


def labelling_order(labels: Tensor) -> Tensor:
    """Returns (B, S) positions of the labelled items in the pool's order, −1 at padding."""
    labelled = labels >= 0
    count = labelled.sum(1, keepdim=True)
    longest = int(count.max())
    # A stable sort puts labelled positions first, in pool order.
    order = torch.argsort((~labelled).long(), dim=1, stable=True)[:, :longest]
    return torch.where(torch.arange(longest, device=labels.device) < count, order, -1)


def _batched(values: Tensor, dims: int) -> Tensor:
    """Adds the batch axis to an array of `dims` axes."""
    return values.unsqueeze(0) if values.dim() == dims else values


def _finite(x: Tensor) -> bool:
    """Returns whether no value is NaN or infinite.

    The sum settles it except after an overflow, at a tenth of the cost.
    """
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())
