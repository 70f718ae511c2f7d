"""`InnerLearner`: the interface of every few-shot learner to the environment, batched over episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from metaal_env.compiled import loops_for
from metaal_env.learners.bodies import Body, Kind
from metaal_env.registry import Registry

if TYPE_CHECKING:
    from metaal_env.learners.columns import Columns

Adapted = dict[str, Tensor]
"""Result of adaptation; every tensor has the leading dimension B.

A tensor that grows with the support must accept zeros behind its rows: episodes with fewer labels are padded so."""

EXCLUDED_LOGIT = -1e4
"""Logit of a class that the task does not have; finite so that gradients and entropies stay finite."""


SQUARES, ONES = 0, 1
"""Rows of `Labelled.table` before those of the labels."""


class Labelled(NamedTuple):
    """Holds the labelled items of B episodes by their inner products with each other and with E items to predict."""

    table: Tensor  # (B, 2 + S + …, E) squared norms of the evaluated items, ones, then products with labelled items
    gram: Tensor  # (B, S, S) products of the labelled items with each other
    own_squares: Tensor  # (B, S) squared norms of the labelled items
    labels: Tensor  # (B, S) int64; ignored where `mask` is False
    mask: Tensor  # (B, S) bool, True at real labels; elsewhere products are finite and mean nothing
    class_mask: Tensor  # (B, K) bool
    last: Tensor | None = None  # (B, E) products of the last labelled item, where tables are shared

    def weighted(self, weights: Tensor) -> Tensor:
        """Returns the (B, K, E) sums of the rows of each table, with (B, K, 2 + S) weights.

        Of hypotheses about the next label, C consecutive ones share a table without the last row, which is `last`.
        """
        if self.last is None:
            if (fast := loops_for(self.table)) and not weights.requires_grad:
                return fast.weighted(weights, self.table)  # type: ignore[no-any-return]
            return weights @ self.table[:, : weights.shape[2]]
        rows = self.table[:, : weights.shape[2] - 1]
        shared = weights[:, :, :-1].reshape(len(rows), -1, rows.shape[1]) @ rows
        shared = shared.view(*weights.shape[:2], -1)
        return shared.addcmul_(weights[:, :, -1:], self.last.unsqueeze(1))


class InnerLearner(nn.Module, ABC):
    """Adapts to a few labels, for B episodes at once.

    In an episode, `prepare` runs once and computes the parts that adaptation does not change. After every label,
    `adapt` is called with the whole labelled set, then `predict` and `embed`. Supports are padded to S and masked;
    S may be 0.

    Before the first label every class of the task is equally likely. Classes without a label share one logit of
    the learner; the sum of their probabilities is the *novelty* of an item.

    Attributes:
        static_embedding: whether `embed` is independent of `adapted`, so that geometry is computed once per
            episode.
        shares_items: whether all hypotheses about a label see the same embeddings and a class's logit depends on
            that class alone. Look-ahead may then predict the classes of all hypotheses as if they were one task.
        products: ``"inner"`` when prepared items are the embeddings and predictions depend on nothing but their inner
            products, ``"centred"`` when those of the items less any constant do; None otherwise. The core then calls
            `predict_products` at every label instead of `adapt` and `predict`.
    """

    static_embedding: bool = True
    shares_items: bool = False
    products: Literal["inner", "centred"] | None = None

    @abstractmethod
    def prepare(self, inputs: Tensor) -> Tensor:
        """Maps (M, *input_shape) raw inputs to (M, *F) prepared items, which adaptation does not change."""

    @abstractmethod
    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        """Fits each episode's labelled set.

        Args:
            support: (B, S, *F) prepared items.
            labels: (B, S) int64 in [0, K); ignored where `mask` is False.
            mask: (B, S) bool, True at real labels.
            class_mask: (B, K) bool, True at the task's classes.
        """

    @abstractmethod
    def predict(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        """Maps (B, n, *F) prepared items to (B, n, K) logits; `EXCLUDED_LOGIT` outside `class_mask`."""

    def predict_each(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        """Maps (B, n, *F) prepared items to (B·C, n, K) logits under each of C adaptations (B·C, …)."""
        each = len(next(iter(adapted.values()))) // len(prepared)
        return self.predict(adapted, prepared.repeat_interleave(each, 0))

    @abstractmethod
    def embed(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        """Maps (B, n, *F) prepared items to (B, n, D) embeddings."""

    def predict_products(self, labelled: Labelled) -> Tensor:
        """Returns the (B, K, E) logits that `predict` has after `adapt`, from inner products; see `products`."""
        raise NotImplementedError(f"{type(self).__name__} predicts from items")

    def columns(self, adapted: Adapted, candidates: Tensor, evaluated: Tensor) -> Columns | None:
        """Returns the closed form of look-ahead, or None where the learner has none.

        Args:
            candidates: (B, N, D) embeddings of the items that may be labelled.
            evaluated: (B, E, D) embeddings of the items to predict.
        """
        return None

    def adapt_path(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> list[Adapted]:
        """Returns the states of adaptation in order, the last being `adapt`'s; meta-training weights their losses."""
        return [self.adapt(support, labels, mask, class_mask)]

    def path_weights(self, length: int) -> list[float]:
        """Returns the current weight of each state of `adapt_path` in the meta-loss; they sum to 1."""
        return [0.0] * (length - 1) + [1.0]

    def start_update(self, update: int) -> None:
        """Prepares meta-update number `update` (0, 1, …); `meta_train` calls it, for learners with schedules."""

    def calibration_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters, mostly scalars, that meta-training moves in ten times larger steps."""
        return []

    @torch.no_grad()
    def prepare_all(self, inputs: Tensor, chunk: int = 1024) -> Tensor:
        """Runs `prepare` on a whole data set, in chunks of bounded memory."""
        device = next((p.device for p in self.parameters()), inputs.device)
        return torch.cat([self.prepare(part.to(device)) for part in inputs.split(chunk)])


def outside_logits(class_mask: Tensor, unseen_logit: Tensor) -> Tensor:
    """Returns the (B, K, 1) logits of classes without a label: `unseen_logit`, or `EXCLUDED_LOGIT` outside the task."""
    return torch.where(class_mask, unseen_logit, EXCLUDED_LOGIT).unsqueeze(2)


def linear_logits(
    labelled: Labelled, seen: Tensor, outside: Tensor, *, weights: Tensor, constant: Tensor, squares: Tensor
) -> Tensor:
    """Returns the (B, K, E) logits of heads that are linear in `Labelled.table`, in one product.

    Args:
        seen: (B, K, 1) bool.
        outside: (B, K, 1) logits of the other classes.
        weights: (B, K, S) of the products with the labelled items.
        constant: (B, K, 1) to add.
        squares: (B, K, 1) weights of the squared norms.
    """
    parts = torch.cat([squares, torch.where(seen, constant, 0.0), weights], 2) * seen
    parts[:, :, ONES : ONES + 1] += outside.masked_fill(seen, 0.0)
    return labelled.weighted(parts)


def products(h: Tensor, p: Tensor) -> Tensor:
    """Computes (B·C, n, K) inner products of (B, n, D) `h` and (B·C, K, D) `p`, without C copies of `h`."""
    together = h @ p.view(len(h), -1, p.shape[2]).transpose(1, 2)  # (B, n, C·K)
    return together.unflatten(2, (-1, p.shape[1])).transpose(1, 2).flatten(0, 1)


class BodyLearner(InnerLearner):
    """Embeds items once with a body that all episodes share; subclasses adapt a head.

    Embeddings are unit-norm inputs (``"identity"``), or a network's outputs divided by √D. Either way their squared
    norms are of order one.

    Args:
        input_shape: (C, H, W) or (D,).
        body: ``"conv4"``, ``"mlp"``, ``"identity"`` or None for the modality's default.
        width: filters or hidden units of the body.
        unseen_logit: initial logit of a class without a label.
    """

    def __init__(self, input_shape: tuple[int, ...], body: Kind | None, width: int, unseen_logit: float):
        super().__init__()
        self.body = Body(body, input_shape, width)
        self.unseen_logit = nn.Parameter(torch.tensor(float(unseen_logit)))
        with torch.no_grad():
            self.size = self.prepare(torch.zeros(1, *input_shape)).shape[1]

    def prepare(self, inputs: Tensor) -> Tensor:
        x = self.body(self.body.preprocess(inputs)).flatten(1)
        return x / x.shape[1] ** 0.5 if len(self.body.blocks) else x

    def embed(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        return prepared

    def finish(self, logits: Tensor, adapted: Adapted) -> Tensor:
        """Returns (B, n, K) logits with label-less classes at their constant and foreign classes excluded."""
        logits = torch.where(adapted["seen"].unsqueeze(1), logits, self.unseen_logit)
        return logits.masked_fill(~adapted["class_mask"].unsqueeze(1), EXCLUDED_LOGIT)


def one_hot_support(labels: Tensor, mask: Tensor, n_classes: int) -> Tensor:
    """Maps (B, S) labels and mask to (B, S, K) float, all zero where `mask` is False."""
    hot = torch.nn.functional.one_hot(labels.clamp(min=0), n_classes).to(torch.get_default_dtype())
    return hot * mask.unsqueeze(-1)


def class_first_support(labelled: Labelled) -> Tensor:
    """Returns (B, K, S) float, 1 at the label of each item, all zero where there is none."""
    classes = torch.arange(labelled.class_mask.shape[1], device=labelled.labels.device).view(-1, 1)
    hot = (labelled.labels.unsqueeze(1) == classes) & labelled.mask.unsqueeze(1)
    return hot.to(labelled.table)


LEARNERS: Registry[Callable[..., InnerLearner]] = Registry("learner")
"""Name → constructor taking ``input_shape`` and the learner's own keyword arguments."""
