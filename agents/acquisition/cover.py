"""Landmarks that cover a large pool: some drawn uniformly, for its density, others wherever these leave a gap.

A uniform sample misses classes that are rarer than one in its size. So the rest is drawn in rounds, half of each the
farthest items from all landmarks so far (k-center greedy, Gonzalez 1985; a core-set, Sener & Savarese 2018), half with
probability ∝ their squared distance (k-means||, Bahmani et al. 2012), which a few outliers cannot use up.
Every item is looked at; cost O(N·L·D) for L landmarks, memory O(N) beside the data.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.arrays import Features
from agents.acquisition.options import Limits

CHUNK = 8192
"""Items whose distances are computed at a time."""
CROWD = 8
"""Times as many of the farthest items as are taken: those among them that are far from each other are."""
SAMPLE = 256
"""Items by which a pool is recognised."""


class Cover(NamedTuple):
    """Landmarks of N items."""

    landmarks: np.ndarray  # (L,) different positions, those drawn uniformly first
    uniform: int  # how many these are
    owner: np.ndarray  # (N,) the nearest landmark's place in `landmarks`
    sq_dist: np.ndarray  # (N,) float32 squared distance to it, in units of `Points`


_last = threading.local()


def cover(x: Features, seed: int, limits: Limits) -> Cover:
    """Returns the cover of a pool; that of this thread's last pool is kept, as only labels change in a session."""
    name = _fingerprint(x, seed, limits)
    if getattr(_last, "name", None) != name:
        _last.cover, _last.name = _covered(x, np.random.default_rng([seed, x.shape[0]]), limits), name
    found: Cover = _last.cover
    return found


def _fingerprint(x: Features, seed: int, limits: Limits) -> bytes:
    """Bytes that differ between pools; one that differs in few items only may share the cover of the other."""
    rows = np.random.default_rng(x.shape[0]).integers(0, x.shape[0], SAMPLE)
    part = x[np.sort(rows)]
    values = [part] if isinstance(part, np.ndarray) else [part.data, part.indices]
    found = hashlib.sha256(repr((x.shape, x.dtype, seed, limits)).encode())
    for value in values:
        found.update(np.ascontiguousarray(value).tobytes())
    return found.digest()


def _covered(x: Features, rng: np.random.Generator, limits: Limits) -> Cover:
    n = x.shape[0]
    points = Points(x)
    landmarks = rng.choice(n, min(limits.drawn_landmarks, n), replace=False)
    drawn = len(landmarks)
    owner, nearest = points.nearest(landmarks)
    nearest[landmarks] = 0.0
    for _ in range(limits.rounds):
        if not nearest.any():  # all items are copies of landmarks
            break
        new = _next(points, nearest, limits.landmarks_per_round, rng)
        place, distance = points.nearest(new)
        closer = distance < nearest
        owner[closer], nearest[closer] = place[closer] + len(landmarks), distance[closer]
        owner[new], nearest[new] = np.arange(len(landmarks), len(landmarks) + len(new)), 0.0
        landmarks = np.concatenate([landmarks, new])
    return Cover(landmarks, drawn, owner, nearest)


def _next(points: Points, nearest: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns up to `count` different positions that are no landmarks."""
    half = -(-count // 2)
    open_ = min(CROWD * half, int(np.count_nonzero(nearest)))
    crowd = np.argpartition(nearest, len(nearest) - open_)[-open_:]
    far = crowd[_spread(points.among(crowd), nearest[crowd], half)]
    mass = np.cumsum(nearest, dtype=np.float64)
    drawn = np.searchsorted(mass, rng.random(half) * mass[-1], side="right").clip(max=len(nearest) - 1)
    found = np.unique(np.concatenate([far, drawn]))
    return found[nearest[found] > 0]


def _spread(apart: np.ndarray, nearest: np.ndarray, count: int) -> np.ndarray:
    """Returns places of `count` of the items, each the farthest from landmarks and those before it."""
    left, chosen = nearest.copy(), []
    for _ in range(min(count, len(left))):
        chosen.append(int(left.argmax()))
        np.minimum(left, apart[chosen[-1]], out=left)
    return np.array(chosen)


Products: TypeAlias = "Iterator[tuple[np.ndarray, np.ndarray]]"


class Points:
    """Computes squared distances between a pool's items in chunks, all in a unit in which no square overflows."""

    def __init__(self, x: Features):
        self.x = x
        if not isinstance(x, np.ndarray):
            self.scale = float(np.abs(x.data.astype(np.float64)).max(initial=0)) or 1.0
            return
        self.kind = x.dtype if x.dtype in (np.float32, np.float64) else np.dtype(np.float64)
        bounds = [(float(part.min()), float(part.max())) for part in self._parts(None)]
        self.scale = max(max(-low, high) for low, high in bounds) or 1.0
        some = np.sort(np.random.default_rng(0).integers(0, len(x), SAMPLE))
        self.centre = (x[some].astype(np.float64) / self.scale).mean(0).astype(self.kind)

    def _dense(self, part: np.ndarray) -> Tensor:
        part = part.astype(self.kind, copy=False) / self.kind.type(self.scale)
        return torch.from_numpy(np.subtract(part, self.centre, out=part).astype(np.float32, copy=False))

    def among(self, rows: np.ndarray) -> np.ndarray:
        """Returns (M, M) squared distances between the items at (M,) positions."""
        part = self.x[rows]
        if isinstance(part, np.ndarray):
            x = self._dense(part)
            product, own = (x @ x.T).numpy(), x.square().sum(1).numpy()
        else:
            part = part.astype(np.float64) / self.scale
            product = (part @ part.T).toarray()
            own = product.diagonal()
        return (own[:, None] + own - 2 * product).clip(min=0).astype(np.float32)

    def nearest(
        self, references: np.ndarray, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns each item's nearest reference: its (C,) place in `references`, and the squared distance to it.

        Args:
            references: (M,) positions.
            rows: (C,) positions of the items; by default all.
        """
        count = self.x.shape[0] if rows is None else len(rows)
        place, distance = np.empty(count, np.int64), np.empty(count, np.float32)
        products = self._dense_products if isinstance(self.x, np.ndarray) else self._sparse_products
        start = 0
        for near, length in products(references, rows):
            part = slice(start, start + len(near))
            place[part] = near.argmax(1)  # numpy's argmax is ten times as fast as torch's
            distance[part] = (length - 2 * near[np.arange(len(near)), place[part]]).clip(min=0)
            start += len(near)
        return place, distance

    def _parts(self, rows: np.ndarray | None) -> Iterator[Features]:
        for start in range(0, self.x.shape[0] if rows is None else len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            yield self.x[part] if rows is None else self.x[rows[part]]

    # Both yield the (c, M) inner products of c items with M references, less half the squared length of the reference,
    # and the (c,) squared lengths of the items.

    def _dense_products(self, references: np.ndarray, rows: np.ndarray | None) -> Products:
        reference = self._dense(self.x[references])
        minus_half = -0.5 * reference.square().sum(1)
        out = torch.empty(CHUNK, len(references))  # one for all chunks: fresh memory of this size is slow
        for raw in self._parts(rows):
            part = self._dense(raw)
            near = torch.addmm(minus_half, part, reference.T, out=out[: len(part)])
            yield near.numpy(), np.einsum("ij,ij->i", part.numpy(), part.numpy())

    def _sparse_products(self, references: np.ndarray, rows: np.ndarray | None) -> Products:
        reference = self.x[references].astype(np.float64) / self.scale
        minus_half = -0.5 * reference.multiply(reference).sum(1)
        for raw in self._parts(rows):
            part = raw.astype(np.float64) / self.scale
            yield (part @ reference.T).toarray() + minus_half, (part * part).sum(1)
