"""Reads class probabilities known before the first label: of a zero-shot model, a language model or an old one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.arrays import as_numbers, as_numpy, doubt_of, is_table
from metaal_env.errors import InputError

LABELS_PER_CLASS = 2.0
"""Labels per class after which the classifier counts as much as the prior."""

PSEUDO_LABELS = 5.0
"""Made-up labels, drawn from the prior, that its trust is measured on beside the real ones."""

TRUSTS = np.linspace(0, 1, 21)
"""Exponents of the prior that are tried: 0 ignores it, 1 takes it at its word."""

SMOOTHING = 0.02
"""Share of the uniform distribution in the prior, so that no class is ever impossible."""


class Prior(NamedTuple):
    """Class probabilities of every item before any label."""

    probs: np.ndarray  # (N, C) float64, positive, rows sum to 1
    classes: list[Any]  # names of the C columns

    @classmethod
    def read(cls, prior: Any, classes: Any, n: int) -> Prior:
        """Checks a prior.

        Args:
            prior: (N, C), or a data frame whose columns are named like the classes, in any order.
            classes: names of the columns of an array, each once.

        Raises:
            InputTypeError: no numbers.
            InputError: classes without names, another shape, or values that are no probabilities.
        """
        if is_table(prior):
            classes = list(prior.columns) if classes is None else classes
            prior = _ordered(prior, classes)
        if classes is None:
            raise InputError(
                "prior is given but classes is not; name the classes of its columns in their order."
            )
        names = [value.item() if isinstance(value, np.generic) else value for value in as_numpy(classes)]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise InputError(f"prior has two columns for the class {twice[0]!r}; name every class once.")
        probs = as_numbers(prior, "prior")
        if probs.shape != (n, len(names)):
            raise InputError(
                f"prior has shape {probs.shape}; give one probability per item and class: {(n, len(names))}."
            )
        total = probs.sum(1, keepdims=True)
        usable = np.isfinite(total[:, 0]) & (probs >= 0).all(1) & (total[:, 0] > 0)
        if not usable.all():
            row = int(np.flatnonzero(~usable)[0])
            raise InputError(f"prior[{row}] is {probs[row]}; give finite probabilities with a positive sum.")
        return cls((1 - SMOOTHING) * probs / total + SMOOTHING / len(names), names)

    def extended(self, count: int) -> Prior:
        """The prior with `count` further items, of which nothing is known."""
        more = np.full((count, len(self.classes)), 1 / len(self.classes))
        return self._replace(probs=np.concatenate([self.probs, more]))

    def weight(self, n_labels: int) -> float:
        """Returns the prior's share beside a classifier that has seen so many labels; 1 before the first."""
        half = LABELS_PER_CLASS * len(self.classes)
        return half / (half + n_labels)

    def trust(self, labelled: np.ndarray, values: Sequence[Any]) -> float:
        """Returns the exponent under which the labels are likeliest.

        Labels that the prior did not foresee lower it.

        Args:
            labelled: (S,) positions of the labelled items.
            values: their labels.
        """
        if not len(labelled):
            return 1.0
        column = {name: i for i, name in enumerate(self.classes)}
        pairs = [(row, column[value]) for row, value in zip(labelled, values, strict=True) if value in column]
        rows, truth = np.array(pairs, dtype=int).reshape(-1, 2).T
        log = np.log(self.probs[labelled])
        scores = []
        for exponent in TRUSTS:
            flat = exponent * log
            flat -= np.logaddexp.reduce(flat, axis=1, keepdims=True)
            place = np.searchsorted(labelled, rows)
            seen = flat[place, truth].sum()
            made_up = (self.probs[labelled] * flat).sum(1).mean()
            scores.append(seen + PSEUDO_LABELS * made_up)
        return float(TRUSTS[int(np.argmax(scores))])

    def combined(
        self, logits: Tensor, rows: np.ndarray, columns: Sequence[int], weight: float, trust: float
    ) -> Tensor:
        """Mixes the classifier's (1, M, K) logits with the prior's, geometrically.

        Args:
            rows: (M,) positions of the items.
            columns: (C,) places of the prior's classes among the K.
        """
        start = torch.full(logits.shape, float(np.log(SMOOTHING / len(self.classes))), dtype=logits.dtype)
        start[0][:, list(columns)] = torch.from_numpy(np.log(self.probs[rows])).to(logits.dtype)
        own = torch.log_softmax(logits, -1)
        return torch.log_softmax(weight * trust * start + (1 - weight) * own, -1)

    def doubt(self) -> np.ndarray:
        """Returns the (N,) doubts of all items, see `doubt_of`."""
        return doubt_of(self.probs)


def _ordered(table: Any, classes: Any) -> Any:
    """Returns a data frame's columns in the order of the classes."""
    columns, names = list(table.columns), list(as_numpy(classes))
    if set(columns) != set(names):
        raise InputError(
            f"prior has the columns {', '.join(map(repr, columns))} but classes names "
            f"{', '.join(map(repr, names))}; name the columns like the classes, or give an array."
        )
    if len(columns) == len(names):
        return np.asarray(as_numpy(table))[:, [columns.index(name) for name in names]]
    return table
