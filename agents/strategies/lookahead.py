"""Look-ahead: the learner's predictions if a candidate had a given label, for all candidates and labels in chunks.

There are two routes. The generic one re-adapts the learner to every hypothetical support (`hypotheses`). The exact
one uses the learner's closed form (`metaal_env.learners.columns`), where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from metaal_env.batched import take_rows
from metaal_env.errors import InputError
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.learners.columns import Columns
from metaal_env.look_ahead import MAX_ELEMENTS
from metaal_env.pool.view import PoolView

CPU_ELEMENTS = 2**20
"""`MAX_ELEMENTS` on a CPU: larger chunks do not fit into its caches and are slower."""


def learner_of(view: PoolView, strategy: object) -> tuple[InnerLearner, Tensor]:
    """Returns the view's learner and the pool's prepared items. Raises: `InputError` when there is no learner."""
    if view.learner is None or view.prepared is None:
        raise InputError(
            f"strategy={type(strategy).__name__} re-adapts the inner learner, but this pool has none: "
            "give a learner, or use a strategy that needs only probabilities and embeddings."
        )
    return view.learner, view.prepared


def support(view: PoolView, prepared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the labelled items in the order of labelling: prepared (B, S, *F), labels (B, S) and mask (B, S)."""
    order = view.order[:, : int(view.order_mask.sum(1).max())] if _packed(view) else view.order
    labels = torch.take_along_dim(view.labels, order.clamp(min=0), 1)
    return take_rows(prepared, order), labels, (order >= 0) & (labels >= 0)


def _packed(view: PoolView) -> bool:
    """Returns whether all padding of `order` is at its end, so that it can be cut off."""
    longest = int(view.order_mask.sum(1).max()) if view.order.numel() else 0
    return not bool(view.order_mask[:, longest:].any())


def tile(x: Tensor, times: int) -> Tensor:
    """Repeats each of B episodes: maps (B, …) to (B·times, …), with each episode's copies together."""
    return x.unsqueeze(1).expand(len(x), times, *x.shape[1:]).flatten(0, 1)


@torch.no_grad()
def hypotheses(view: PoolView, strategy: object, evaluated: int) -> Iterator[tuple[slice, Adapted, Tensor]]:
    """Re-adapts to every candidate with every label, some candidates at a time.

    Args:
        evaluated: number of items that will be predicted per hypothesis; sets the size of a chunk.

    Yields:
        The slice of candidates, the adapted learner with leading dimension B·c·K (label fastest), and the
        prepared candidates (B·c·K, 1, *F).
    """
    learner, prepared = learner_of(view, strategy)
    base, labels, mask = support(view, prepared)
    b, n = view.valid.shape
    k = view.class_mask.shape[1]
    size = prepared[0, 0].numel()
    per_item = k if learner.shares_items else max(size, k)  # a tensor of logits, or of copied items
    per_candidate = b * k * max(per_item * evaluated, max(size, k) * (base.shape[1] + 1))
    step = max(1, (CPU_ELEMENTS if view.device.type == "cpu" else MAX_ELEMENTS) // per_candidate)
    for start in range(0, n, step):
        part = slice(start, min(n, start + step))
        c = part.stop - part.start
        candidate = prepared[:, part].repeat_interleave(k, 1).flatten(0, 1).unsqueeze(1)  # (B·c·K, 1, *F)
        label = torch.arange(k, device=view.device).repeat(b * c).unsqueeze(1)  # (B·c·K, 1)
        adapted = learner.adapt(
            torch.cat([tile(base, c * k), candidate], 1),
            torch.cat([tile(labels, c * k), label], 1),
            torch.cat([tile(mask, c * k), torch.ones_like(label, dtype=torch.bool)], 1),
            tile(view.class_mask, c * k),
        )
        yield part, adapted, candidate


def predict_under(view: PoolView, learner: InnerLearner, adapted: Adapted, items: Tensor) -> Tensor:
    """Returns (B, E, K, R) logits of (B, E, *F) `items` under the R hypotheses of each episode.

    Where the learner's `shares_items` holds, the classes of all hypotheses are predicted as if they were the
    classes of one task, so that items are neither copied nor read once per hypothesis.
    """
    b, k = len(view), view.class_mask.shape[1]
    copies = len(next(iter(adapted.values()))) // b
    if not learner.shares_items:
        logits = learner.predict(adapted, tile(items, copies))  # (B·R, E, K)
        return logits.unflatten(0, (b, copies)).permute(0, 2, 3, 1)
    # Hypotheses last, because later steps run over the classes and are vectorised over hypotheses.
    folded = {name: v.unflatten(0, (b, copies)).transpose(1, 2).flatten(1, 2) for name, v in adapted.items()}
    return learner.predict(folded, items).unflatten(2, (k, copies))


def columns_of(view: PoolView, evaluated: Tensor) -> Columns | None:
    """Returns the learner's closed form of look-ahead on (B, E, D) `evaluated` items, or None."""
    if view.learner is None or view.adapted is None:
        return None
    return view.learner.columns(view.adapted, view.embeddings, evaluated)


def learner_logits(view: PoolView, strategy: object) -> Tensor:
    """Returns (B, N, K) logits of the inner learner, as the view's own may come from another classifier."""
    learner, prepared = learner_of(view, strategy)
    assert view.adapted is not None
    return learner.predict(view.adapted, prepared)


def without_each(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes log-sum-exp, maximum and entropy of the other classes' logits, for each class of (B, E, K) logits.

    Each result is (B, E, K). The chain rule then gives every statistic after a change of column y in O(1).
    """
    k = logits.shape[-1]
    eye = torch.eye(k, dtype=torch.bool, device=logits.device)
    if k <= 32:
        others = logits.unsqueeze(-2).masked_fill(eye, -torch.inf)  # (B, E, K, K)
        total = torch.logsumexp(others, -1)
        share = torch.exp(others - total.unsqueeze(-1))
        return total, others.amax(-1), torch.special.entr(share).sum(-1)
    parts = []
    for y in range(k):  # one class at a time: K² values per item would not fit
        others = logits.masked_fill(eye[y], -torch.inf)
        total = torch.logsumexp(others, -1)
        share = torch.exp(others - total.unsqueeze(-1))
        parts.append((total, others.amax(-1), torch.special.entr(share).sum(-1)))
    log_sum, top, entropy = (torch.stack(column, -1) for column in zip(*parts, strict=True))
    return log_sum, top, entropy
