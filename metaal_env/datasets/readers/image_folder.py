"""Folders of images: one sub-folder per class, possibly inside folders that group the classes."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError, brief

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""What is decoded, whatever the suffix says; Pillow would hand others, PostScript say, to outside programs."""
GREY_SIZE, COLOUR_SIZE = 28, 32
MAX_IMAGES = 1_000_000
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError)
_SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def load_image_folder(path: Path, name: str) -> ClassDataset:
    """Every folder that holds images is a class; its parent folder, if below `path`, is its group.

    When all images are grey they become 28×28 with one channel, else 32×32 with three.

    Raises:
        InputError: fewer than two classes, folders called train and test at the top, or an image that is
            damaged or absurdly large.
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
    n_images = sum(len(images) for images in files.values())
    if n_images > MAX_IMAGES:
        raise InputError(f"dataset={name!r} has {n_images:,} images, more than {MAX_IMAGES:,}; give fewer.")
    what = f"dataset={name!r}"
    grey = all(open_image(image, what).mode in _GREY_MODES for images in files.values() for image in images)
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
    """Folder relative to `root`, with ``/`` → its image files; both sorted. Hidden ones are left out."""
    found: dict[str, list[Path]] = {}
    for folder, subfolders, names in os.walk(root, onerror=_refuse):
        subfolders[:] = [sub for sub in subfolders if not sub.startswith(".")]
        images = [n for n in names if is_image(Path(folder) / n)]
        if images and Path(folder) != root:
            found[Path(folder).relative_to(root).as_posix()] = sorted(Path(folder) / n for n in images)
    return dict(sorted(found.items()))


def is_image(path: Path) -> bool:
    """By its name; pipes and devices, which could block for ever, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _refuse(error: OSError) -> None:
    raise InputError(
        f"dataset folder {error.filename!r} cannot be read ({error.strerror}); check its permissions."
    )


def group_of(folder: str) -> str:
    """``"Greek"`` for ``"Greek/character01"``; a class at the top is its own group."""
    return folder.rpartition("/")[0] or folder


def read_images(files: dict[str, list[Path]], name: str, grey: bool) -> torch.Tensor:
    """All images in order: (M, 1, 28, 28) or (M, 3, 32, 32) uint8. Shows a progress bar."""
    from PIL import Image

    size = GREY_SIZE if grey else COLOUR_SIZE
    paths = [path for images in files.values() for path in images]
    stack = np.empty((len(paths), size, size) if grey else (len(paths), size, size, 3), np.uint8)
    for i, path in enumerate(tqdm(paths, f"reading {name}", unit="image", disable=None)):
        picture = open_image(path, f"dataset={name!r}", decode=True).convert("L" if grey else "RGB")
        stack[i] = np.asarray(picture.resize((size, size), Image.Resampling.BOX))
    return torch.from_numpy(stack[:, None] if grey else np.ascontiguousarray(stack.transpose(0, 3, 1, 2)))


def open_image(path: Path, what: str, decode: bool = False) -> Image.Image:
    """The image, only its header unless `decode`.

    Raises:
        InputError: no image of `FORMATS`, damaged, of more than Pillow's limit of 89 million pixels, or with 16
            or 32 bits a pixel.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if decode:
                    image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *_DAMAGE) as error:
        raise InputError(
            f"{what}: {str(path)!r} is no readable image ({brief(error)}); replace or delete it."
        ) from error
    if image.mode in _DEEP_MODES:
        raise InputError(f"{what}: {str(path)!r} has 16 or 32 bits a pixel; convert it to 8 bits.")
    return image
