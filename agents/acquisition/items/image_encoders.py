"""Images to vectors: thumbnails of their pixels, or the features of a ResNet-18 whose weights are on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.encoding_cache import content_digest, encode_cached
from metaal_env.datasets.readers.image_files import read_pictures
from metaal_env.errors import InputError, brief

THUMBNAIL = 16
RESNET_INPUT = 224
RESNET_BATCH = 32
SKIP = ", or add --skip-unreadable"


def pixels(images: Sequence[Path]) -> np.ndarray:
    """Returns (N, 768) colour thumbnails of 16×16, each with mean 0 and length 1.

    Raises:
        InputError: images that cannot be read.
    """
    rows = [picture.reshape(-1) for picture in read_pictures(images, "data", THUMBNAIL, mend=SKIP)]
    values = np.stack(rows).astype(np.float32) / 255
    centred = values - values.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def local_resnet() -> Path | None:
    """Returns the weights of a ResNet-18 in torch's cache, if there are any."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return next(iter(sorted(folder.glob("resnet18-*.pth"))), None)


def resnet18(images: Sequence[Path]) -> np.ndarray:
    """Returns (N, 512) unit-norm features of an ImageNet ResNet-18, each computed once and then cached.

    Raises:
        InputError: no weights in torch's cache, or images that cannot be read.
    """
    weights = local_resnet()
    if weights is None:
        raise InputError(
            "encoder='resnet18': no resnet18-*.pth in torch's cache; use encoder='pixels', or fetch the weights once: "
            "python -c \"from torchvision.models import resnet18; resnet18(weights='DEFAULT')\"."
        )
    import torch

    network = None
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def encode(positions: list[int]) -> np.ndarray:
        nonlocal network
        network = network or _resnet_body(weights)
        files = [images[i] for i in positions]
        pictures = list(read_pictures(files, "data", RESNET_INPUT, label=None, mend=SKIP))
        x = (torch.from_numpy(np.stack(pictures)).float() / 255 - mean) / deviation
        with torch.no_grad():
            return torch.nn.functional.normalize(network(x.permute(0, 3, 1, 2)), dim=1).numpy()

    digests = [_digest(path) for path in images]
    return encode_cached(weights.stem, digests, encode, "encoding by ResNet-18", RESNET_BATCH)


def _resnet_body(weights: Path) -> Any:
    import torch

    try:
        from torchvision.models import resnet18 as build
    except Exception as error:  # a torchvision that does not fit torch raises whatever its parts raise
        raise InputError(
            f"encoder='resnet18': torchvision cannot be imported ({brief(error)}); install the one that fits torch, "
            "or use encoder='pixels'."
        ) from error
    network = build()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.fc = torch.nn.Identity()
    return network.eval()


def _digest(path: Path) -> str:
    try:
        return content_digest(path.read_bytes())
    except OSError as error:
        raise InputError(f"data: {str(path)!r} cannot be read ({brief(error)}).") from error
