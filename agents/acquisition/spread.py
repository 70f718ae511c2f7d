"""From the items that were scored to all items of the pool: each takes the utility of the nearest scored one."""

from __future__ import annotations

import numpy as np
import torch

from agents.acquisition.pool import Pool

CHUNK = 4096


class Spread:
    """Picks among the candidates and gives utilities for the whole pool.

    With `everything` allowed, or when every unlabelled item was scored, no distance is computed.

    Args:
        pool: what was scored.
        x: (N, D) the whole pool.
        positions: (C,) the candidates; those with a label already rank last.
        known: (N,) bool, items with a label.
        scored_only: every scored item is a candidate and nobody asks about the others.
    """

    def __init__(
        self, pool: Pool, x: np.ndarray, positions: np.ndarray, known: np.ndarray, scored_only: bool
    ):
        self.n = len(x)
        open_ = pool.view.selectable[0].cpu().numpy()
        self.targets = np.flatnonzero(open_)  # view positions that represent
        self.rows = pool.rows
        scored = pool.rows[self.targets]
        self.candidate = np.zeros(self.n, dtype=bool)
        self.candidate[positions] = True
        again = np.flatnonzero(self.candidate & known)
        self.candidate[again] = False
        self.exact = scored_only or bool(np.isin(np.flatnonzero(self.candidate), scored).all())
        self.covers_all = self.exact and not len(again) and bool(self.candidate[scored].all())
        if self.exact:
            self.members, self.owner, self.distance = scored, self.targets, np.zeros(len(scored))
            keep = self.candidate[scored]
        else:
            self.members = np.flatnonzero(self.candidate)
            self.owner, self.distance = self._nearest(x, scored)
            keep = np.ones(len(self.members), dtype=bool)
        self.members = np.concatenate([self.members[keep], again])
        self.owner = np.concatenate([self.owner[keep], np.full(len(again), -1)])
        self.distance = np.concatenate([self.distance[keep], np.zeros(len(again))])
        self.candidate[again] = True
        self.left = self.candidate.copy()

    def _nearest(self, x: np.ndarray, scored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest scored item of every candidate and the squared distance to it, in chunks: O(C·M·D)."""
        centre = x[scored].astype(np.float64).mean(0)
        scale = max(float(np.abs(x[scored] - centre).max()), 1e-300)

        def prepared(positions: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(((x[positions] - centre) / scale).astype(np.float32))

        own = np.searchsorted(scored, self.members).clip(max=len(scored) - 1)
        is_scored = scored[own] == self.members
        owner, distance = np.empty(len(self.members), np.int64), np.zeros(len(self.members))
        reference = prepared(scored)
        half = 0.5 * reference.square().sum(1)
        for start in range(0, len(self.members), CHUNK):
            part = slice(start, start + CHUNK)
            rows = prepared(self.members[part])
            score = rows @ reference.T
            score -= half
            best, index = score.max(1)
            owner[part] = index.numpy()
            distance[part] = (rows.square().sum(1) - 2 * best).clamp(min=0).numpy()
        owner[is_scored], distance[is_scored] = own[is_scored], 0.0  # among copies, itself
        return self.targets[owner], distance

    def pick(self, scores: np.ndarray, place: int | None = None) -> tuple[int, int, float]:
        """The best candidate left, the view position that stands for it (−1: none), and its utility.

        Ties go to the candidate nearest to its scored item, then to the first.

        Args:
            place: view position that a plan asks for instead; only where `covers_all`.
        """
        if place is not None:
            self.left[self.rows[place]] = False
            return int(self.rows[place]), place, float(scores[place])
        values = self._values(scores)
        best = np.flatnonzero(values == np.nanmax(values))
        chosen = best[np.argmin(self.distance[best])]
        self.left[self.members[chosen]] = False
        # A representative is covered once; its other members keep the lowest rank from then on.
        return int(self.members[chosen]), int(self.owner[chosen]), float(values[chosen])

    def utilities(self, scores: np.ndarray, picked: list[int]) -> np.ndarray:
        """(N,) utilities before the pick at hand, NaN at what is no candidate and at earlier picks."""
        out = np.full(self.n, np.nan)
        out[self.members] = self._values(scores, picked)
        return out

    def _values(self, scores: np.ndarray, picked: list[int] | None = None) -> np.ndarray:
        values = np.where(self.owner < 0, np.nan, scores[self.owner])
        covered = np.isnan(values)
        if covered.any():
            low = np.nanmin(scores) - 1 if np.isfinite(scores).any() else 0.0
            values = np.where(covered, low, values)
        gone = ~self.left[self.members] if picked is None else np.isin(self.members, picked)
        return np.where(gone, np.nan, values)
