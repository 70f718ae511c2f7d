"""From the items that were scored to all items of the pool: each takes the utility of the nearest scored one."""

from __future__ import annotations

import numpy as np

from agents.acquisition.arrays import Features
from agents.acquisition.cover import Points
from agents.acquisition.user_pool import Pool


class Representatives:
    """Picks among the candidates by the scores of the items that stand for them, and spreads utilities over the pool.

    When only scored items are wanted, or every unlabelled item was scored, no distance is computed.

    Args:
        pool: the items that were scored.
        x: (N, D) the whole pool.
        positions: (C,) the candidates; those with a label already rank last.
        known: (N,) bool, items with a label.
        scored_only: every scored item is a candidate and nobody asks about the others.
    """

    def __init__(self, pool: Pool, x: Features, positions: np.ndarray, known: np.ndarray, scored_only: bool):
        self.n = x.shape[0]
        self.targets = np.flatnonzero(pool.view.selectable[0].cpu().numpy())  # view positions that represent
        self.rows = pool.rows
        scored = pool.rows[self.targets]
        candidate = np.zeros(self.n, dtype=bool)
        candidate[positions] = True
        again = np.flatnonzero(candidate & known)
        candidate[again] = False
        exact = scored_only or bool(np.isin(np.flatnonzero(candidate), scored).all())
        self.covers_all = exact and not len(again) and bool(candidate[scored].all())
        if exact:
            self.members, self.owner, self.distance = scored, self.targets, np.zeros(len(scored))
            keep = candidate[scored]
        else:
            self.members = np.flatnonzero(candidate)
            self.owner, self.distance = self._nearest(x, scored)
            keep = np.ones(len(self.members), dtype=bool)
        self.members = np.concatenate([self.members[keep], again])
        self.owner = np.concatenate([self.owner[keep], np.full(len(again), -1)])
        self.distance = np.concatenate([self.distance[keep], np.zeros(len(again))])
        self.left = np.ones(len(self.members), dtype=bool)

    def _nearest(self, x: Features, scored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds each candidate's nearest scored item and the squared distance to it, in chunks: O(C·M·D)."""
        own = np.searchsorted(scored, self.members).clip(max=len(scored) - 1)
        is_scored = scored[own] == self.members
        owner, distance = Points(x).nearest(scored, self.members)
        owner[is_scored], distance[is_scored] = own[is_scored], 0.0  # among copies, itself
        return self.targets[owner], distance

    def utilities(self, scores: np.ndarray) -> np.ndarray:
        """Returns (m,) utilities of the candidates, NaN at those picked already."""
        values = np.where(self.owner < 0, np.nan, scores[self.owner])
        covered = np.isnan(values)
        if covered.any():
            # A representative is covered once; its other members keep the lowest rank from then on.
            low = np.nanmin(scores) - 1 if np.isfinite(scores).any() else 0.0
            values = np.where(covered, low, values)
        values[~self.left] = np.nan
        return values

    def over_pool(self, utilities: np.ndarray) -> np.ndarray:
        """Maps (m,) utilities of the candidates to (N,) of the pool, NaN at what is no candidate."""
        out = np.full(self.n, np.nan)
        out[self.members] = utilities
        return out

    def pick(self, utilities: np.ndarray) -> tuple[int, int, float]:
        """Returns the best candidate left, the view position that stands for it (−1: none), and its utility.

        Ties go to the candidate nearest to its scored item, then to the first.
        """
        best = np.flatnonzero(utilities == np.nanmax(utilities))
        chosen = best[np.argmin(self.distance[best])]
        self.left[chosen] = False
        return int(self.members[chosen]), int(self.owner[chosen]), float(utilities[chosen])

    def take(self, place: int, scores: np.ndarray) -> tuple[int, int, float]:
        """Does as `pick` for the item at a view position that a plan asks for; only where `covers_all`."""
        self.left[self.members == self.rows[place]] = False
        return int(self.rows[place]), place, float(scores[place])
