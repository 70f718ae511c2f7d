"""Folders of images: one sub-folder per class, possibly inside folders that group the classes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.readers.folder_files import read_each
from metaal_env.datasets.readers.image_files import image_files, is_grey, open_image, read_pictures
from metaal_env.errors import InputError

GREY_SIZE, COLOUR_SIZE = 28, 32
MAX_IMAGES = 1_000_000
_SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def load_image_folder(path: Path, name: str) -> ClassDataset:
    """Reads a folder of images, in which every folder with images is a class.

    The group of a class is its parent folder, if that is below `path`. Images become 28×28 with one channel when all
    are grey, else 32×32 with three.

    Raises:
        InputError: there are fewer than two classes, folders called train and test at the top, or an image that is
            damaged or too large.
    """
    files = find_images(path)
    tops = {Path(folder).parts[0].lower() for folder in files if Path(folder).parts}
    if len(tops) > 1 and tops <= _SPLIT_FOLDERS:
        raise InputError(
            f"dataset={name!r} has the folders {', '.join(sorted(tops))}; give one of them, e.g. "
            f"{str(path / 'train')!r}."
        )
    if len(files) < 2:
        raise InputError(
            f"dataset={name!r} has {len(files)} folder(s) with images; make one sub-folder of "
            "png or jpg files per class, at least 2."
        )
    subject, images = f"dataset={name!r}", [image for of_class in files.values() for image in of_class]
    if len(images) > MAX_IMAGES:
        raise InputError(f"{subject} has {len(images):,} images, more than {MAX_IMAGES:,}; give fewer.")
    grey = all(list(read_each(images, lambda path: is_grey(open_image(path, subject)), "image")))
    class_names = tuple(files)
    return ClassDataset(
        name=name,
        inputs=read_images(files, name, grey),
        labels=torch.tensor([c for c, images in enumerate(files.values()) for _ in images]),
        class_names=class_names,
        groups=tuple(group_of(folder) for folder in class_names),
        modality="image",
    )


def find_images(root: Path) -> dict[str, list[Path]]:
    """Returns folder relative to `root`, with ``/`` → its image files, both sorted and without `root` itself."""
    found: dict[str, list[Path]] = {}
    without_class = 0
    for path in image_files(root).paths:
        if path.parent == root:
            without_class += 1
        else:
            found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    if without_class and found:
        warnings.warn(
            f"{str(root)!r}: {without_class} images lie beside the folders of the classes and are left out.",
            stacklevel=3,
        )
    return dict(sorted(found.items()))


def group_of(folder: str) -> str:
    """Returns the group of a class: ``"Greek"`` for ``"Greek/character01"``; a class at the top is its own group."""
    return folder.rpartition("/")[0] or folder


def read_images(files: dict[str, list[Path]], name: str, grey: bool) -> torch.Tensor:
    """Reads all images in order as (M, 1, 28, 28) or (M, 3, 32, 32) uint8, with a progress bar."""
    size = GREY_SIZE if grey else COLOUR_SIZE
    paths = [path for images in files.values() for path in images]
    stack = np.empty((len(paths), size, size) if grey else (len(paths), size, size, 3), np.uint8)
    for i, picture in enumerate(read_pictures(paths, f"dataset={name!r}", size, grey, f"reading {name}")):
        stack[i] = picture
    return torch.from_numpy(stack[:, None] if grey else np.ascontiguousarray(stack.transpose(0, 3, 1, 2)))
