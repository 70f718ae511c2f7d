"""Data sets of torchvision: `omniglot`, `mnist`, `fashion_mnist`, `kmnist`, `emnist`, `cifar10`, `cifar100`."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaal_env.datasets.base import DATASETS, ClassDataset
from metaal_env.datasets.cache import cache_dir, cached
from metaal_env.datasets.prepare import carve_validation
from metaal_env.datasets.readers.image_folder import find_images, group_of, read_images
from metaal_env.errors import InputError, brief

_CLASSES = {
    "omniglot": "Omniglot",
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "emnist": "EMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
_OMNIGLOT_PARTS = {"images_background": "train", "images_evaluation": "test"}
_OMNIGLOT_RECIPE = 1  # Part of the cache file's name.
_FAILURES = (
    *(OSError, HTTPException, RuntimeError, ValueError, AssertionError, EOFError, KeyError),
    *(zlib.error, zipfile.BadZipFile, tarfile.TarError, pickle.UnpicklingError),
)
_kept_alive: list[torch.library.Library] = []


def load_vision(name: str) -> ClassDataset:
    """Loads one of torchvision's data sets, training and test part together.

    Files are searched in the folder ``METAAL_DATA``, else in metaal's cache; missing ones are fetched only when
    ``METAAL_DOWNLOAD=1``. `emnist` is its balanced part. Groups are superclasses for `cifar100`, kinds of sign for
    `emnist` and alphabets for `omniglot`.

    Raises:
        InputError: files are missing or damaged, or the download fails.
    """
    root = data_root()
    download = os.environ.get("METAAL_DOWNLOAD") == "1"
    return omniglot(root, download) if name == "omniglot" else _labelled_images(name, root, download)


def data_root() -> Path:
    """Returns the folder of torchvision's files."""
    chosen = os.environ.get("METAAL_DATA")
    return Path(chosen).expanduser() if chosen else cache_dir() / "torchvision"


def torchvision_datasets() -> ModuleType:
    """Imports `torchvision.datasets` on first use.

    A torchvision that was built against another torch than the installed one, often a CPU-only torch, cannot be
    imported because two operators' schemas are missing. No data set uses them, so they are declared before the import.
    https://github.com/pytorch/vision/issues/9077
    """
    try:
        import torchvision.datasets
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_alive.append(library)  # The schemas live as long as the library object.
        import torchvision.datasets
    return torchvision.datasets


def omniglot(root: Path, download: bool) -> ClassDataset:
    """Loads handwritten characters of 50 alphabets, 28×28, ink 255 (Lake 2015).

    The evaluation alphabets are for test, some whole background alphabets for validation. Images are decoded once and
    then read from the cache.
    """
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
    return cached(
        f"omniglot-{_OMNIGLOT_RECIPE}-{digest}", "omniglot", lambda: _decode_omniglot(root, download)
    )


def _decode_omniglot(root: Path, download: bool) -> ClassDataset:
    files: dict[str, list[Path]] = {}
    split: list[str] = []
    for folder, part in _OMNIGLOT_PARTS.items():
        images = root / "omniglot-py" / folder
        if not images.is_dir():
            _fetch("omniglot", root, download, background=part == "train")
        classes = find_images(images)
        if not classes:
            raise InputError(f"dataset='omniglot': {images} holds no images; delete it and download again.")
        files.update(classes)
        split += [part] * len(classes)
    inputs = 255 - read_images(files, "omniglot", grey=True)  # The drawings are black on white.
    groups = tuple(group_of(character) for character in files)
    return ClassDataset(
        name="omniglot",
        inputs=inputs,
        labels=torch.tensor([c for c, images in enumerate(files.values()) for _ in images]),
        class_names=tuple(files),
        groups=groups,
        modality="image",
        class_split=carve_validation(split, groups),
    )


def _labelled_images(name: str, root: Path, download: bool) -> ClassDataset:
    """Loads a data set that torchvision keeps as one array of images and one of labels."""
    options: dict[str, Any] = {"split": "balanced"} if name == "emnist" else {}
    parts = [_fetch(name, root, download, train=train, **options) for train in (True, False)]
    inputs = torch.cat([_channels_first(part.data) for part in parts])
    if name == "emnist":
        inputs = inputs.transpose(2, 3).contiguous()  # Its files are stored column by column.
    class_names = tuple(str(label) for label in parts[0].classes)
    return ClassDataset(
        name=name,
        inputs=inputs,
        labels=torch.cat([torch.as_tensor(part.targets, dtype=torch.long) for part in parts]),
        class_names=class_names,
        groups=_groups(name, class_names),
        modality="image",
    )


def _channels_first(images: Tensor | np.ndarray) -> Tensor:
    """Maps (M, H, W) or (M, H, W, C) to (M, C, H, W) uint8."""
    data = torch.as_tensor(images)
    return data.unsqueeze(1) if data.dim() == 3 else data.permute(0, 3, 1, 2).contiguous()


def _fetch(name: str, root: Path, download: bool, **options: Any) -> Any:
    """Returns torchvision's data set object. Raises: `InputError` when there are no usable files."""
    make: Callable[..., Any] = getattr(torchvision_datasets(), _CLASSES[name])
    try:
        return make(str(root), download=download, **options)
    except _FAILURES as error:
        reason = brief(error)
        if download:
            raise InputError(
                f"dataset={name!r} could not be downloaded to {str(root)!r} ({reason}); check the network, "
                "or put its files there (METAAL_DATA names the folder)."
            ) from error
        problem = "has no files" if "download=True" in reason else f"has unreadable files ({reason})"
        raise InputError(
            f"dataset={name!r} {problem} in {str(root)!r}; set METAAL_DOWNLOAD=1 to download them, "
            "or METAAL_DATA to the folder that has them."
        ) from error


def _groups(name: str, class_names: tuple[str, ...]) -> tuple[str, ...]:
    if name == "cifar100":
        from metaal_env.datasets.sources.cifar_superclasses import superclass

        return tuple(superclass(label) for label in class_names)
    if name == "emnist":
        return tuple("digit" if c.isdigit() else "capital" if c.isupper() else "small" for c in class_names)
    return class_names


for _name in _CLASSES:
    DATASETS.register(_name)(partial(load_vision, _name))
