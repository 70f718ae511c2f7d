"""The oracle: answers with hidden labels, for the core and for privileged strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaal_env.episode import EpisodeState
from metaal_env.metrics import Metrics

if TYPE_CHECKING:
    from metaal_env.core import Core


class LabelOracle:
    """Holds the hidden labels. Only the core and privileged strategies may have one; never the test set."""

    def __init__(self, core: Core, state: EpisodeState):
        self.core, self.state = core, state

    @property
    def true_labels(self) -> Tensor:
        """Returns (B, N) int64 classes; −1 for distractors and padding."""
        return self.state.task.pool_labels

    def reveal(self, positions: Tensor) -> Tensor:
        """Returns the labels that the oracle gives for (B, …) pool positions, noise included."""
        flat = positions.reshape(len(positions), -1)
        return torch.take_along_dim(self.state.task.oracle_labels, flat, 1).reshape(positions.shape)

    def look_ahead(self, positions: Tensor | None = None, *, exact: bool = True) -> Metrics:
        """Returns reward-set metrics after labelling one further item, (B, C) each; see `Core.look_ahead`.

        The labels of an open batch count as revealed.

        Args:
            positions: (B, C) candidates; the whole pool when left out.
        """
        if positions is None:
            b, n = self.state.labelled.shape
            positions = torch.arange(n, device=self.core.device).expand(b, n)
        state, pending = self.state, self.state.terms.pending
        if self.core.config.max_batch > 1 and bool(pending.any()):
            state = state.rows(torch.arange(len(state), device=self.core.device))
            state.labels = torch.where(pending, state.task.oracle_labels, state.labels)
            state.forget_moment()
        return self.core.look_ahead(state, positions, self.reveal(positions), exact=exact)
