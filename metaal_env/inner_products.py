"""Inner products of each episode's pool with what the learner predicts: all that heads on fixed embeddings depend on.

They are computed once per episode; a label then costs O(S·K·E) instead of O(K·E·D), with D the dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import empty, take_rows
from metaal_env.learners.base import ONES, SQUARES, Labelled

UPFRONT = 8
"""Pools of at most this many times the labels have all their products computed at once, in one fast multiplication;
in larger ones only those of the labelled items, one by one."""

CHUNK = 2**20
"""Numbers of the items whose products are computed together: about what a core's cache holds."""


PER_EPISODE = ("evaluated", "table", "own", "own_squares", "gram")
"""Tensors of `InnerProducts` with a row for each episode."""


class ItemProducts:
    """The items of a data set as inner products are taken of them: less their common mean, which costs digits.

    Args:
        prepared: (M, *F) prepared items.
        centred: whether the learner may be given the products of the items less their mean, as one that depends on
            distances alone; else the mean's part is added again.
    """

    def __init__(self, prepared: Tensor, centred: bool):
        self.prepared = prepared.flatten(1)
        self.mean = self.prepared.mean(0)
        self.squares = torch.cat([(part - self.mean).square().sum(1) for part in self.prepared.split(4096)])
        self.shift: Tensor | None = None  # (M,): xᵢ·xⱼ is the product without mean + shiftᵢ + shiftⱼ
        if not centred:
            self.shift = self.prepared @ self.mean - self.mean.square().sum() / 2
            self.learner_squares = self.squares + 2 * self.shift
        else:
            self.learner_squares = self.squares

    def __deepcopy__(self, memo: object) -> ItemProducts:
        return self  # belongs to the data set, not to an episode

    def take(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """(B, n) rows → (B, n, D) items less the mean; `out` is memory for as many items or more."""
        if out is not None:
            out = out[: index.numel()]
        taken = torch.index_select(self.prepared, 0, index.flatten(), out=out)
        return taken.sub_(self.mean).unflatten(0, index.shape)


class InnerProducts:
    """Of B episodes' labelled items with their pools and reward sets.

    Args:
        items: of the data set.
        evaluated: (B, E) indices of the pool's N items, then of the reward set's.
        pool_size: N.
        most_labels: T.

    Attributes:
        table: (B, 2 + T + 1, E) squared norms of the evaluated items, ones, then their products with each label.
        own: (B, T + 1, T + 1) products of the labelled items with each other.
        own_squares: (B, T + 1) squared norms of the labelled items.
        gram: (B, N, E) products of the pool's items, less the data set's mean; None where they are not all known.
    """

    def __init__(self, items: ItemProducts, evaluated: Tensor, pool_size: int, most_labels: int):
        self.items, self.evaluated, self.pool_size = items, evaluated, pool_size
        squares = items.learner_squares[evaluated]  # (B, E)
        # One slot more than there are labels, for actions that label nothing.
        self.table = items.squares.new_zeros(len(evaluated), 2 + most_labels + 1, evaluated.shape[1])
        self.table[:, SQUARES], self.table[:, ONES] = squares, 1.0
        self.own = squares.new_zeros(len(evaluated), most_labels + 1, most_labels + 1)
        self.own_squares = squares.new_zeros(len(evaluated), most_labels + 1)
        self.gram: Tensor | None = None
        if pool_size <= UPFRONT * most_labels:
            self.gram = self._all()

    def _all(self) -> Tensor:
        (b, e), d = self.evaluated.shape, self.items.prepared.shape[1]
        gram = empty(b, self.pool_size, e, like=self.table)
        step = min(b, max(1, CHUNK // (e * d)))
        memory = self.table.new_empty(step * e, d)  # once: fresh memory costs more than the copy
        for first in range(0, b, step or 1):
            rows = slice(first, first + step)
            x = self.items.take(self.evaluated[rows], memory)
            torch.bmm(x[:, : self.pool_size], x.transpose(1, 2), out=gram[rows])
        return gram

    @property
    def of_pool(self) -> Tensor | None:
        """(B, N, N) products of the pool's items, less the data set's mean; None where they are not all known."""
        return None if self.gram is None else self.gram[:, :, : self.pool_size]

    def add(self, place: Tensor, positions: Tensor, valid: Tensor, order: Tensor) -> None:
        """Takes in the label number (B, 1) `place` of the items at (B, 1) `positions` where (B, 1) `valid`.

        Args:
            order: (B, T) pool positions of all labels, these included; −1 at padding.
        """
        row, place = (
            self.rows(positions).squeeze(1),
            torch.where(valid, place, self.own.shape[1] - 1).squeeze(1),
        )
        batch = torch.arange(len(row), device=row.device)
        self.table[batch, 2 + place] = row
        own = row.gather(1, order.clamp(min=0))
        self.own[batch, place, :-1] = own
        self.own[batch, :-1, place] = own
        self.own_squares[batch, place] = self.table[:, SQUARES].gather(1, positions).squeeze(1)

    def rows(self, positions: Tensor) -> Tensor:
        """Maps (B, C) pool positions to (B, C, E) products of these items with the evaluated ones."""
        if self.gram is None:
            x = self.items.take(torch.take_along_dim(self.evaluated, positions, 1))
            rows = torch.cat(
                [
                    x[b : b + 1] @ self.items.take(self.evaluated[b : b + 1]).transpose(1, 2)
                    for b in range(len(x))
                ]
            )
        else:
            rows = take_rows(self.gram, positions)
        if self.items.shift is not None:
            shift = self.items.shift[self.evaluated]
            rows = rows + shift.unsqueeze(1) + torch.take_along_dim(shift, positions, 1).unsqueeze(2)
        return rows

    def labelled(self, order: Tensor, labels: Tensor, longest: int, class_mask: Tensor) -> Labelled:
        """Returns a learner's input: the first `longest` labels of (B, T) `order`, and the pool's (B, N) `labels`."""
        order = order[:, :longest]
        known = labels.gather(1, order.clamp(min=0))
        return Labelled(
            table=self.table,
            gram=self.own[:, :longest, :longest],
            own_squares=self.own_squares[:, :longest],
            labels=known,
            mask=(order >= 0) & (known >= 0),
            class_mask=class_mask,
        )

    def hypotheses(self, now: Labelled, order: Tensor, positions: Tensor, labels: Tensor) -> Labelled:
        """Returns what a learner is given if one of (B, C) `positions` had its label of `labels` next, B·C in all.

        The items to predict are those of the reward set.

        Args:
            now: what it is given now.
            order: (B, S) pool positions of the labels in `now`.
        """
        count, rows = positions.shape[1], self.rows(positions)
        with_labels = torch.take_along_dim(rows, order.clamp(min=0).unsqueeze(1), 2)  # (B, C, S)
        squares = self.table[:, SQUARES].gather(1, positions)  # (B, C)
        column = with_labels.flatten(0, 1).unsqueeze(2)  # (B·C, S, 1)
        square = squares.reshape(-1, 1)

        def each(x: Tensor) -> Tensor:
            return x.repeat_interleave(count, 0)

        gram = torch.cat([each(now.gram), column], 2)
        below = torch.cat([column.transpose(1, 2), square.unsqueeze(2)], 2)
        label = labels.reshape(-1, 1)
        return Labelled(
            table=now.table[:, :, self.pool_size :],
            gram=torch.cat([gram, below], 1),
            own_squares=torch.cat([each(now.own_squares), square], 1),
            labels=torch.cat([each(now.labels), label], 1),
            mask=torch.cat([each(now.mask), label >= 0], 1),
            class_mask=each(now.class_mask),
            last=rows[:, :, self.pool_size :].flatten(0, 1),
        )

    def take(self, index: Tensor) -> InnerProducts:
        """Returns those of the episodes at `index`."""
        other = object.__new__(InnerProducts)
        other.items, other.pool_size = self.items, self.pool_size
        for name in PER_EPISODE:
            value = getattr(self, name)
            setattr(other, name, None if value is None else value[index])
        return other

    def put(self, index: Tensor, other: InnerProducts) -> None:
        """Overwrites those of the episodes at `index`."""
        for name in PER_EPISODE:
            if getattr(self, name) is not None:
                getattr(self, name)[index] = getattr(other, name)
