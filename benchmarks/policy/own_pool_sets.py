"""Pools as users have them: items of a data set as vectors of some encoder, some of its classes, the rest held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from agents.acquisition.played_sessions import HELD_OUT, OwnPool
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset, Split
from metaal_env.errors import InputError


def vectors(data: ClassDataset, encoder: str) -> np.ndarray:
    """Returns the (M, D) float32 items of a data set under an encoder.

    Args:
        encoder: ``raw`` for values as they are, ``convolutions`` for random ones, ``scaled`` for standardised columns,
            or the folder or name of a learner of images; see `with_tfidf` for ``tfidf``.

    Raises:
        InputError: an encoder of images for items that are none.
    """
    if encoder == "raw":
        return data.inputs.flatten(1).numpy().astype(np.float32)
    if encoder == "scaled":
        x = data.inputs.flatten(1).numpy().astype(np.float64)
        return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-9)).astype(np.float32)
    if data.inputs.dim() < 4:
        raise InputError(f"encoder={encoder!r} reads images; for vectors choose raw or scaled.")
    if encoder == "convolutions":
        return _random_convolutions(data.inputs)
    from metaal_env.learners import load_learner

    learner = load_learner(encoder, tuple(data.inputs.shape[1:])).eval()
    with torch.no_grad():
        return learner.prepare_all(data.inputs, 512).flatten(1).numpy().astype(np.float32)


def _random_convolutions(images: torch.Tensor) -> np.ndarray:
    """Returns (M, 128) pooled responses of untrained convolutions."""
    generator = torch.Generator().manual_seed(0)
    x, channels = images.float(), images.shape[1]
    parts = []
    for size in (3, 5):
        weight = torch.randn(32, channels, size, size, generator=generator) / (channels * size * size) ** 0.5
        found = torch.nn.functional.conv2d(x, weight, padding=size // 2).relu()
        parts += [found.mean((2, 3)), found.amax((2, 3))]
    return torch.cat(parts, 1).numpy()


def with_tfidf(data: ClassDataset, source: str) -> ClassDataset:
    """Returns a data set of embedded texts with the texts' TF-IDF in place of the embeddings, by an SVD to 64 numbers.

    The texts of ``NAME_….npz`` lie beside it in ``NAME_text.npz``, in the same order.

    Raises:
        InputError: there is no such file.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    file = Path(source).with_name(f"{short_name(source)}_text.npz")
    if not file.is_file():
        raise InputError(f"encoder='tfidf' reads {file.name!r} beside {source!r}, which is not there.")
    with np.load(file) as found:
        texts = found["text"]
    x = TruncatedSVD(64, random_state=0).fit_transform(TfidfVectorizer().fit_transform(texts))
    return replace(data, inputs=torch.from_numpy(x.astype(np.float32)))


@lru_cache(maxsize=4)
def _loaded(source: str, split: Split, encoder: str) -> tuple[np.ndarray, np.ndarray]:
    data = load_dataset(source)
    if encoder == "tfidf":
        data, encoder = with_tfidf(data, source), "raw"
    data = data.split(split)
    return vectors(data, encoder), data.labels.numpy()


def own_pools(
    source: str,
    split: Split,
    encoder: str,
    *,
    size: int,
    classes: int,
    seeds: int,
    rare: float | None = None,
) -> Iterator[OwnPool]:
    """Yields the pool of each seed: classes, items and what is held out are drawn anew.

    Args:
        classes: as many are drawn, or all if there are fewer.
        rare: share of the first class's items in a pool of two classes; by default shares are those of the data.
    """
    x, labels = _loaded(source, split, encoder)
    names, counts = np.unique(labels, return_counts=True)
    for seed in range(seeds):
        rng = np.random.default_rng([seed, size, classes])
        chosen = np.sort(rng.permutation(names[counts >= 10])[:classes])
        items = rng.permutation(np.flatnonzero(np.isin(labels, chosen)))
        if rare is not None:
            items = _with_rare(items, labels, rare, rng)
        truth = np.searchsorted(chosen, labels[items])
        stop = min(size, len(items) * 2 // 3)
        held = items[stop : stop + HELD_OUT]
        yield OwnPool(x[items[:stop]], truth[:stop], x[held], truth[stop : stop + HELD_OUT])


def _with_rare(items: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the items without so many of the rarer class that its share is `share`."""
    names, counts = np.unique(labels[items], return_counts=True)
    few = items[labels[items] == names[counts.argmin()]]
    rest = items[labels[items] != names[counts.argmin()]]
    kept = few[: max(2, round(share / (1 - share) * len(rest)))]
    return rng.permutation(np.concatenate([kept, rest]))


def short_name(source: str) -> str:
    """Returns the name of a source for tables."""
    return Path(source).stem.split("_")[0]
