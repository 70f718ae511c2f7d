"""What the learner would predict if a candidate had a given label: all candidates × all labels, in chunks.

Two routes. The generic one re-adapts the learner to every hypothetical support. The exact one serves
prototypical heads (`MAML` without gradient steps): a label for class y moves that class's prototype only, so
one logit column changes, and by the identity

    ‖h − (n p + h_i)/(n + 1)‖² = (1 − λ)‖h − p‖² + λ‖h − h_i‖² − λ(1 − λ)‖p − h_i‖²,   λ = 1/(n + 1),

it follows from distances that are known already: O(1) per candidate, label and evaluated item.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from metaal_env.errors import InputError
from metaal_env.learners.base import EXCLUDED_LOGIT, Adapted, InnerLearner
from metaal_env.learners.maml import MAML
from metaal_env.pool.distances import Geometry, squared_distances
from metaal_env.pool.view import PoolView

MAX_ELEMENTS = 2**24
"""Largest number of floats that one chunk of hypotheses may hold."""

CPU_ELEMENTS = 2**20
"""The same on a CPU: larger chunks leave its caches and take up to twice as long."""


def learner_of(view: PoolView, strategy: object) -> tuple[InnerLearner, Tensor]:
    """The view's learner and the pool's prepared features. Raises: `InputError` when it has none."""
    if view.learner is None or view.features is None:
        raise InputError(
            f"strategy={type(strategy).__name__} re-adapts the inner learner, but this pool has none: "
            "give a learner, or take a strategy that reads probabilities and embeddings only."
        )
    return view.learner, view.features


def support(view: PoolView, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Labelled items in the order of labelling: features (B, S, *F), labels (B, S), mask (B, S)."""
    order = view.order[:, : int(view.order_mask.sum(1).max())] if _packed(view) else view.order
    labels = torch.take_along_dim(view.labels, order.clamp(min=0), 1)
    return Geometry.rows(features, order), labels, (order >= 0) & (labels >= 0)


def _packed(view: PoolView) -> bool:
    """True when padding of `order` stands at the end only, so that its tail can be cut off."""
    longest = int(view.order_mask.sum(1).max()) if view.order.numel() else 0
    return not bool(view.order_mask[:, longest:].any())


def tile(x: Tensor, times: int) -> Tensor:
    """(B, …) → (B·times, …), each episode's copies together."""
    return x.unsqueeze(1).expand(len(x), times, *x.shape[1:]).flatten(0, 1)


@torch.no_grad()
def hypotheses(view: PoolView, strategy: object, evaluated: int) -> Iterator[tuple[slice, Adapted, Tensor]]:
    """Re-adapts to every candidate with every label, some candidates at a time.

    Args:
        evaluated: items that will be predicted per hypothesis; sets the size of a chunk.

    Yields:
        The slice of candidates, the adapted learner with leading dimension B·c·K (label fastest), and the
        candidates' features (B·c·K, 1, *F).
    """
    learner, features = learner_of(view, strategy)
    base, labels, mask = support(view, features)
    b, n = view.valid.shape
    k = view.class_mask.shape[1]
    size = features[0, 0].numel()
    per_item = k if shares_items(learner) else max(size, k)  # a tensor of logits, or of copied features
    per_candidate = b * k * max(per_item * evaluated, max(size, k) * (base.shape[1] + 1))
    step = max(1, (CPU_ELEMENTS if view.device.type == "cpu" else MAX_ELEMENTS) // per_candidate)
    for start in range(0, n, step):
        part = slice(start, min(n, start + step))
        c = part.stop - part.start
        candidate = features[:, part].repeat_interleave(k, 1).flatten(0, 1).unsqueeze(1)  # (B·c·K, 1, *F)
        label = torch.arange(k, device=view.device).repeat(b * c).unsqueeze(1)  # (B·c·K, 1)
        adapted = learner.adapt(
            torch.cat([tile(base, c * k), candidate], 1),
            torch.cat([tile(labels, c * k), label], 1),
            torch.cat([tile(mask, c * k), torch.ones_like(label, dtype=torch.bool)], 1),
            tile(view.class_mask, c * k),
        )
        yield part, adapted, candidate


def shares_items(learner: InnerLearner) -> bool:
    """True when hypotheses see the same embeddings and a class's logit depends on that class alone."""
    return isinstance(learner, MAML) and learner.depth == "head"


def predict_under(view: PoolView, learner: InnerLearner, adapted: Adapted, items: Tensor) -> Tensor:
    """(B, E, K, R) logits of (B, E, *F) `items` under the R hypotheses of each episode.

    Where `shares_items` holds, the classes of all hypotheses are predicted as if they were the classes of one
    task, so that items are neither copied nor read once per hypothesis.
    """
    b, k = len(view), view.class_mask.shape[1]
    copies = len(next(iter(adapted.values()))) // b
    if not shares_items(learner):
        logits = learner.predict(adapted, tile(items, copies))  # (B·R, E, K)
        return logits.unflatten(0, (b, copies)).permute(0, 2, 3, 1)
    # Hypotheses last: what follows runs over the classes, and is vectorised over hypotheses.
    folded = {name: v.unflatten(0, (b, copies)).transpose(1, 2).flatten(1, 2) for name, v in adapted.items()}
    return learner.predict(folded, items).unflatten(2, (k, copies))


def has_prototypes(view: PoolView) -> bool:
    """True when the exact route applies: one label changes one logit column."""
    return isinstance(view.learner, MAML) and view.learner.steps == 0 and view.adapted is not None


class Columns:
    """The exact route: new logits of class y on evaluated items if candidate i had label y.

    Args:
        view: with a prototypical learner.
        evaluated: (B, E, D) embeddings of the items to predict.
    """

    def __init__(self, view: PoolView, evaluated: Tensor):
        assert isinstance(view.learner, MAML) and view.adapted is not None
        self.learner = learner = view.learner
        self.view = view
        prototypes, self.counts = view.adapted["prototypes"], view.adapted["counts"]  # (B, K, D), (B, K)
        self.to_prototype = squared_distances(evaluated, prototypes)  # (B, E, K)
        self.candidate_to_prototype = squared_distances(view.embeddings, prototypes)  # (B, N, K)
        self.evaluated = evaluated
        after = self.counts + 1
        self.share = 1 / after  # λ
        self.precision = learner.log_scale.exp() / (1 + learner.log_shrink.exp() / after)  # (B, K)
        self.bias = learner.count_weight * after.log()
        self.bias_change = self.bias - learner.count_weight * self.counts.clamp(min=1).log()

    def logits_now(self) -> Tensor:
        """(B, N, K) the learner's own logits; the view's may be others."""
        assert self.view.adapted is not None and self.view.features is not None
        return self.learner.predict(self.view.adapted, self.view.features)

    def own(self) -> Tensor:
        """(B, N, K) logit of class y on the candidate itself once it has that label."""
        moved = (1 - self.share).square().unsqueeze(1) * self.candidate_to_prototype
        logits = self.bias.unsqueeze(1) - self.precision.unsqueeze(1) * moved
        return logits.masked_fill(~self.view.class_mask.unsqueeze(1), EXCLUDED_LOGIT)

    def logits(self, part: slice, label: Tensor | None = None) -> Tensor:
        """(B, c, K, E) for all labels of the candidates in `part`; (B, c, E) for their (B, c) `label`."""
        to_candidate = squared_distances(self.view.embeddings[:, part], self.evaluated)  # (B, c, E)
        own = self.candidate_to_prototype[:, part]  # (B, c, K)
        near = self.to_prototype.transpose(1, 2)  # (B, K, E)
        if label is None:
            share, precision, bias = (x[:, None, :, None] for x in (self.share, self.precision, self.bias))
            far = to_candidate.unsqueeze(2)
            moved = (1 - share) * near.unsqueeze(1) + share * far - share * (1 - share) * own.unsqueeze(-1)
            return (bias - precision * moved.clamp(min=0)).masked_fill(
                ~self.view.class_mask[:, None, :, None], EXCLUDED_LOGIT
            )
        y = label.clamp(min=0)
        share, precision, bias = (
            torch.take_along_dim(x, y, 1).unsqueeze(-1) for x in (self.share, self.precision, self.bias)
        )
        own = torch.take_along_dim(own, y.unsqueeze(-1), 2)  # (B, c, 1)
        near = torch.take_along_dim(near, y.unsqueeze(-1), 1)  # (B, c, E)
        moved = (1 - share) * near + share * to_candidate - share * (1 - share) * own
        return bias - precision * moved.clamp(min=0)


def without_each(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For (B, E, K) logits and each class y left out: log-sum-exp, maximum and entropy of the others.

    Each (B, E, K). The chain rule then gives every statistic after column y changed in O(1).
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
