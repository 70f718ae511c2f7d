"""Pictures as a browser shows them: decoded here, so that a hostile or strange file never reaches it."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agents.acquisition.items.items import Items
from agents.acquisition.tool.web.item_view import is_pictures
from metaal_env.datasets.readers.image_files import upright_image
from metaal_env.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SIZE, LARGE = 1400, 4000
"""Longest side in pixels of a picture as shown, and of one to zoom into."""
LOSSLESS = 512
"""Up to this longest side pictures are sent without loss: small ones are often drawings or symbols."""
QUALITY = 88
KEPT = 48
"""Pictures that are kept ready."""


class Pictures:
    """Renders pictures of a pool, from files or from an array.

    Only files that were images of the pool when it was read are opened; one that has become a link to another place
    since then is refused.
    """

    def __init__(self, items: Items):
        self.items = items
        self._places = [os.path.realpath(path) for path in items.images or []]
        self._kept: OrderedDict[tuple[int, int], tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def rendered(self, position: int, most: int = SIZE) -> tuple[bytes, str]:
        """Returns a picture of at most `most` pixels a side, and its media type.

        Raises:
            InputError: the item has no picture, or its file cannot be read.
        """
        key = (position, most)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = _encoded(self._image(position), most)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _image(self, position: int) -> Image.Image:
        from PIL import Image

        if self.items.images is not None:
            path: Path = self.items.images[position]
            if os.path.realpath(path) != self._places[position]:
                raise InputError(f"item {position} lies elsewhere than when the pool was read; start again.")
            return upright_image(path, f"data={self.items.source!r}")
        if not is_pictures(self.items.vectors):
            raise InputError(f"item {position} is not a picture.")
        assert self.items.vectors is not None
        return Image.fromarray(_pixels(np.asarray(self.items.vectors[position])))


def _pixels(x: np.ndarray) -> np.ndarray:
    """Numbers to (H, W) or (H, W, 3) bytes: bytes as they are, others from their own minimum to their maximum."""
    x = x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x[..., :3] if x.ndim == 3 else x
    if x.dtype == np.uint8:
        return x
    values = np.nan_to_num(x.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return np.round(255 * (values - low) / (high - low if high > low else 1.0)).astype(np.uint8)


def _encoded(image: Image.Image, most: int) -> tuple[bytes, str]:
    from PIL import Image

    if max(image.size) > most:
        image.thumbnail((most, most), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    if max(image.size) <= LOSSLESS:
        image.save(buffer, "PNG")
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), "image/jpeg"
