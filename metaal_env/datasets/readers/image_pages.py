"""Tells which images have further pages or frames, of which only the first is used."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from metaal_env.datasets.readers.dicom import dicom_available, is_dicom, n_frames
from metaal_env.datasets.readers.image_files import DAMAGE, FORMATS, SUFFIXES

PAGED_SUFFIXES = {".tif", ".tiff", ".gif", ".webp", ".apng"}
"""Images that may have several pages or frames."""
LOOKED_AT = 2000


def of_several_pages(paths: Iterable[Path]) -> list[Path]:
    """Returns the images that have further pages or frames; of many, the first `LOOKED_AT` that may are looked at."""
    may = [
        path for path in paths if path.suffix.lower() in PAGED_SUFFIXES or path.suffix.lower() not in SUFFIXES
    ]
    return [path for path in may[:LOOKED_AT] if _has_pages(path)]


def _has_pages(path: Path) -> bool:
    from PIL import Image

    if path.suffix.lower() not in SUFFIXES and dicom_available() and is_dicom(path):
        return n_frames(path) > 1
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            return bool(getattr(image, "is_animated", False))
    except (Image.DecompressionBombError, *DAMAGE):  # reported when it is read
        return False
