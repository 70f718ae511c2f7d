"""Image files: finds the images of a folder and reads each as an upright, opaque 8-bit picture."""

from __future__ import annotations

import importlib
import importlib.util
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metaal_env.datasets.readers.dicom import SUFFIXES as DICOM_SUFFIXES
from metaal_env.datasets.readers.dicom import dicom_available, is_dicom, read_dicom, stretched
from metaal_env.datasets.readers.folder_files import FolderFiles, files_below, read_each, unreadable_files
from metaal_env.errors import InputError, brief

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga"),
    ".ico",
}
FORMATS = ["PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO"]
"""Formats that are decoded, whatever the suffix; Pillow would pass others, such as PostScript, to other programs."""
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
UNREADABLE_SUFFIXES = {
    *(".svg", ".psd", ".xcf", ".eps", ".pdf", ".jxl", ".exr", ".hdr", ".nii"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
}
"""Pictures that Pillow does not decode; a folder with some is read without them, with a warning."""
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_COLOUR_MODES = {"LA", "RGB", "RGBA"}
_DEEP = ";16"
"""Part of Pillow's name of the encoding of pixels with 16 bits a channel."""
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError)
"""Errors of Pillow on damaged files."""


def image_files(root: Path) -> FolderFiles:
    """Finds the images below `root`; pictures of a format that cannot be read are left out with a warning.

    Raises:
        InputError: a folder cannot be read.
    """
    found = files_below(root, is_image)
    unread = UNREADABLE_SUFFIXES | HEIF_SUFFIXES | DICOM_SUFFIXES
    pictures = {s: n for s, n in found.left_out.items() if s in unread}
    if pictures:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(pictures.items()))
        advice = "pip install pillow-heif, or " if HEIF_SUFFIXES & pictures.keys() else ""
        advice += "pip install pydicom, or " if DICOM_SUFFIXES & pictures.keys() else ""
        warnings.warn(
            f"{str(root)!r}: pictures of unknown formats are left out ({counts}); {advice}convert them to PNG.",
            stacklevel=2,
        )
    return found


def is_image(path: Path) -> bool:
    """Returns whether a regular file is an image: by its name, or by its content where it is DICOM."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and heif_available()):
        return True
    return dicom_available() and is_dicom(path)


def heif_available() -> bool:
    """Returns whether the package pillow-heif, which decodes photographs of recent telephones, is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def open_image(path: Path, subject: str, decode: bool = False) -> Image.Image:
    """Opens an image, and decodes more than its header if `decode`.

    Args:
        subject: start of error messages, e.g. ``"dataset='scans'"``.

    Raises:
        InputError: the file is no image of a known format, damaged, or exceeds Pillow's limit of pixels.
    """
    from PIL import Image

    if path.suffix.lower() not in SUFFIXES and dicom_available() and is_dicom(path):
        return Image.fromarray(read_dicom(path, subject))
    formats = FORMATS
    if path.suffix.lower() in HEIF_SUFFIXES and heif_available():
        importlib.import_module("pillow_heif").register_heif_opener()
        formats = [*FORMATS, "HEIF"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                deep = image.mode in _DEEP_COLOUR_MODES and _DEEP in str(image.tile)
                if decode:
                    image.load()
                image.info[_DEEP] = deep  # decoding forgets it
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *DAMAGE) as error:
        raise InputError(
            f"{subject}: {str(path)!r} is not a readable image ({brief(error)}); replace or delete it."
        ) from error
    return image


def is_grey(image: Image.Image) -> bool:
    """Returns whether an image has one channel besides transparency, by its header."""
    return image.mode in _GREY_MODES | _DEEP_MODES


def read_picture(path: Path, subject: str, size: int, grey: bool = False) -> np.ndarray:
    """Reads an image as (size, size, 3) uint8, or (size, size) where `grey`, as `upright_image` shows it.

    Raises:
        InputError: as `open_image`.
    """
    from PIL import Image

    image = upright_image(path, subject, grey)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def upright_image(path: Path, subject: str, grey: bool = False) -> Image.Image:
    """Reads an image in mode RGB, or L where `grey`.

    The camera's orientation (EXIF) is applied. Transparent pixels become white. Images of 16 or 32 bits a channel are
    scaled from their own minimum and maximum to 0 and 255; of colours with 16 bits Pillow keeps the upper 8. Of
    several frames or pages the first is used. Medical images are read by `read_dicom`.

    Raises:
        InputError: as `open_image`.
    """
    from PIL import Image, ImageOps

    image = open_image(path, subject, decode=True)
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode in _DEEP_MODES:
            image = Image.fromarray(stretched(np.asarray(image, dtype=np.float64)))
        elif image.info.get(_DEEP):  # 12 bits in 16 would be nearly black
            image = _stretched_colours(image)
        if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
            opaque = Image.new("RGBA", image.size, "white")
            opaque.alpha_composite(image.convert("RGBA"))
            image = opaque
        return image.convert("L" if grey else "RGB")
    except DAMAGE as error:
        raise InputError(
            f"{subject}: {str(path)!r} is not a readable image ({brief(error)}); replace or delete it."
        ) from error


def _stretched_colours(image: Image.Image) -> Image.Image:
    """The image with its colours, all channels alike, from their own range; what is transparent does not count."""
    from PIL import Image

    values = np.array(image)
    n_colours = len(image.getbands()) - ("A" in image.getbands())
    colours = values[..., :n_colours].astype(np.float64)
    if n_colours < values.shape[-1]:
        colours[values[..., -1] == 0] = np.nan
    values[..., :n_colours] = stretched(colours)
    return Image.fromarray(values, image.mode)


def read_pictures(
    paths: Iterable[Path],
    subject: str,
    size: int,
    grey: bool = False,
    label: str | None = "reading images",
    mend: str = "",
) -> Iterator[np.ndarray]:
    """Yields each picture as `read_picture` returns it; errors, `label` and `mend` as of `read_each`."""
    return read_each(paths, lambda path: read_picture(path, subject, size, grey), "image", label, mend)


def unreadable_images(paths: Iterable[Path], subject: str) -> dict[Path, str]:
    """Decodes every image and returns those that cannot be read, with the reason."""
    return unreadable_files(paths, lambda path: open_image(path, subject, decode=True), "image")
