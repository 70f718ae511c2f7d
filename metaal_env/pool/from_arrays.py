"""Checks of the arrays from which `PoolView.from_arrays` builds a view."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from metaal_env.errors import InputError, brief
from metaal_env.learners.base import InnerLearner


def check_embeddings(
    embeddings: np.ndarray | Tensor, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """Returns (B, N, D) embeddings of an (N, D) or (B, N, D) array. Raises: `InputError`."""
    x = _batched(_numbers(embeddings, "embeddings").to(device, dtype), 2)
    if x.dim() != 3 or 0 in x.shape:
        raise InputError(f"embeddings of shape {tuple(x.shape)} must be (N, D) or (B, N, D), none of them 0.")
    if not _finite(x):
        raise InputError("embeddings contain NaN or infinite values; impute or drop those items.")
    return x


def check_labels(labels: np.ndarray | Tensor | None, embeddings: Tensor) -> Tensor:
    """Returns (B, N) int64 labels of an (N,) or (B, N) array, −1 where there is none. Raises: `InputError`."""
    b, n, _ = embeddings.shape
    given = torch.full((b, n), -1) if labels is None else _numbers(labels, "labels")
    y = _batched(given, 1).to(embeddings.device)
    if y.shape != (b, n):
        raise InputError(f"labels of shape {tuple(y.shape)} must be (N,) or (B, N) = {(b, n)}.")
    whole = y.long()
    if bool((whole != y).any()) or bool((whole < -1).any()):
        raise InputError("labels must be whole numbers from 0, and -1 where unknown; NaN is no label here.")
    return whole


def check_probs(probs: np.ndarray | Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
    """Returns (B, N, K) positive probabilities of an (N, K) or (B, N, K) array, scaled to sum to one.

    Raises:
        InputError: another shape, values that are negative or not finite, or fewer classes than `labels` has.
    """
    p = _batched(_numbers(probs, "probs").to(embeddings), 2)
    b, n = labels.shape
    if p.dim() != 3 or p.shape[:2] != (b, n) or not p.shape[2] or not _finite(p) or bool((p < 0).any()):
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


def check_learner(learner: object, device: torch.device) -> InnerLearner:
    """Returns a learner in evaluation mode on a device. Raises: `InputError` for anything but an `InnerLearner`."""
    if not isinstance(learner, InnerLearner):
        raise InputError(f"learner={learner!r} must be an InnerLearner, e.g. LEARNERS['prototype']((D,)).")
    return learner.to(device).eval().requires_grad_(False)


def check_budget(budget: object, unlabelled: Tensor) -> Tensor:
    """Returns (B,) labels still to buy, by default one for each `unlabelled` item. Raises: `InputError`."""
    if budget is None:
        return unlabelled
    whole = int(budget) if isinstance(budget, Integral) and not isinstance(budget, bool) else -1
    if not 0 <= whole < 2**63:
        raise InputError(f"budget={budget!r} must be a whole number of labels, at least 0, or None.")
    return torch.full_like(unlabelled, whole)


def _numbers(values: object, name: str) -> Tensor:
    """Returns an array-like as a tensor. Raises: `InputError` where it holds no numbers."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} is not an array of numbers ({brief(error)}); give an array or a tensor."
        ) from error


def _batched(values: Tensor, dims: int) -> Tensor:
    """Adds the batch axis to an array of `dims` axes."""
    return values.unsqueeze(0) if values.dim() == dims else values


def _finite(x: Tensor) -> bool:
    """Returns whether no value is NaN or infinite.

    The sum settles it except after an overflow, at a tenth of the cost.
    """
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())
