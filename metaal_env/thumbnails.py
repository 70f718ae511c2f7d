"""Draws the images of a pool in place of points: the labelled ones framed in their class's colour and numbered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 0.82
"""Side of an image, as a share of the side of the square that it would have if images tiled the axes."""

PICK = 1.3
"""How much larger a labelled image is drawn."""

FAINT = 0.5
"""Opacity of an unlabelled image."""


def draw_images(axes: Axes, points: np.ndarray, images: Tensor, colours: Mapping[int, str]) -> None:
    """Draws images near their points, moved apart where they would hide each other.

    Args:
        axes: where to draw.
        points: (n, 2) places of the images.
        images: (n, C, H, W) uint8.
        colours: labelled image → colour of its frame, in the order of the picks.
    """
    from matplotlib.patches import Rectangle

    side = SIDE / np.sqrt(max(len(points), 1))
    large = np.isin(np.arange(len(points)), list(colours))
    sides = np.where(large, PICK * side, side)
    places = moved_apart(points, sides)
    margin = 0.6 * PICK * side
    axes.set_xlim(-margin, 1 + margin)
    axes.set_ylim(-margin, 1 + margin)
    number = {item: place for place, item in enumerate(colours, start=1)}
    for item, (x, y) in enumerate(places):
        half = sides[item] / 2
        box = (x - half, x + half, y - half, y + half)
        pixels = ink(images[item].cpu())
        if item not in number:
            axes.imshow(pixels, extent=box, aspect="auto", alpha=FAINT, zorder=1)
            continue
        axes.imshow(pixels, extent=box, aspect="auto", zorder=3)
        square = Rectangle((box[0], box[2]), 2 * half, 2 * half, facecolor="white", edgecolor=colours[item])
        square.set(linewidth=1.6, zorder=2)
        axes.add_patch(square)
        axes.text(
            box[0], box[3], str(number[item]), ha="center", va="center", fontsize=6.5, color="white", zorder=5,
            bbox={"boxstyle": "circle,pad=0.18", "facecolor": colours[item], "linewidth": 0},
        )  # fmt: skip


def ink(image: Tensor) -> np.ndarray:
    """Returns a (C, H, W) uint8 image as (H, W, 4); a grey image becomes black ink without a ground."""
    pixels = image.permute(1, 2, 0).numpy()
    if pixels.shape[2] >= 3:
        return np.dstack([pixels[..., :3], np.full(pixels.shape[:2], 255, dtype=np.uint8)])
    grey = pixels[..., 0]
    if np.median(grey) >= 128:
        grey = 255 - grey
    return np.dstack([np.zeros((*grey.shape, 3), dtype=np.uint8), grey])


def moved_apart(points: np.ndarray, sides: np.ndarray, rounds: int = 200) -> np.ndarray:
    """Returns (n, 2) places in the unit square, near the points but so that squares of `sides` hardly overlap."""
    span = np.ptp(points, axis=0)
    places = (points - points.min(0)) / np.where(span > 0, span, 1)
    # Equal points have no direction to part in.
    places = (1 - 1e-4) * places + 1e-4 * np.random.default_rng(0).random(places.shape)
    least = (sides[:, None] + sides[None, :]) / 2
    for _ in range(rounds):
        apart = places[:, None] - places[None, :]  # (n, n, 2)
        overlap = (least[..., None] - np.abs(apart)).clip(0)
        # Two squares overlap if they do along both axes; they are moved along the one where less is needed.
        along = overlap.argmin(-1)[..., None] == np.arange(2)
        shift = np.where((overlap.min(-1, keepdims=True) > 0) & along, overlap * np.sign(apart), 0.0)
        if not shift.any():
            break
        places = (places + 0.3 * shift.sum(1)).clip(0, 1)
    return places
