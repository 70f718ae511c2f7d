"""Medical images: the first frame of a DICOM file as an 8-bit picture."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from metaal_env.errors import InputError, brief

SUFFIXES = {".dcm", ".dicom", ".ima"}
_MAGIC_AT, _MAGIC = 128, b"DICM"
_INDEX = "dicomdir"


def dicom_available() -> bool:
    """Returns whether the package pydicom is installed."""
    return importlib.util.find_spec("pydicom") is not None


def is_dicom(path: Path) -> bool:
    """Returns whether a file is DICOM: by its suffix, or by its first bytes where scanners give names without one."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if (path.suffix and not path.suffix[1:].isdecimal()) or path.name.lower() == _INDEX or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def n_frames(path: Path) -> int:
    """Returns the number of frames of a DICOM file, 1 where it cannot be read."""
    from pydicom import dcmread

    try:
        return int(
            dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"]).get("NumberOfFrames", 1)
        )
    except Exception:  # pydicom raises whatever its parts raise on damaged files
        return 1


def read_dicom(path: Path, subject: str) -> np.ndarray:
    """Reads the first frame as (H, W) or (H, W, 3) uint8.

    Stored values become units by the modality's table and are seen through the file's own window (VOI LUT) where there
    is one; then they are stretched to their own range. In MONOCHROME1 the smallest value is white.

    Args:
        subject: start of error messages.

    Raises:
        InputError: no readable image, or a compression for which pydicom finds no decoder.
    """
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if os.path.getsize(path) == 0:
                raise ValueError("it is empty")
            data = dcmread(path)
            values = pixel_array(data, index=0)
            kind = str(data.PhotometricInterpretation)
            if kind == "PALETTE COLOR":
                return stretched(apply_color_lut(values, data))
            if values.ndim == 3:  # pydicom has brought YBR to RGB
                return values if values.dtype == np.uint8 else stretched(values)
            values = apply_voi_lut(apply_modality_lut(values, data), data)
            picture = stretched(values)
            return 255 - picture if kind == "MONOCHROME1" else picture
    except Exception as error:  # pydicom and its decoders raise whatever their parts raise
        raise InputError(
            f"{subject}: {str(path)!r} is not a readable DICOM image ({brief(error)}); replace or delete it, or "
            "install the decoder that pydicom names."
        ) from error


def stretched(values: Any) -> np.ndarray:
    """Returns values as uint8, from their own minimum to their maximum."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = (np.where(finite, values, low) - low) / (high - low if high > low else 1.0)
    return np.round(255 * scaled).astype(np.uint8)
