"""Draws of a shape, each under a random affine map and an elastic distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Distortion:
    """Holds the amounts of distortion; each is drawn uniformly from ± its value.

    The defaults make typefaces about as hard as Omniglot's handwriting; docs/log/2026-11.md has the measurement.

    Attributes:
        rotation: radians.
        shear: horizontal shift per unit of height.
        scale: natural logarithm of the factor, for each axis alone.
        shift: as a fraction of half the canvas.
        elastic: standard deviation of the smooth displacement field, as a fraction of half the canvas.
        knots: points per side between which the displacement field is interpolated.
    """

    rotation: float = 0.35
    shear: float = 0.35
    scale: float = 0.25
    shift: float = 0.12
    elastic: float = 0.08
    knots: int = 5


def draw(shapes: Tensor, rng: np.random.Generator, how: Distortion, size: int) -> Tensor:
    """Distorts each shape once (inverse warp, bilinear; Simard 2003 for the elastic part).

    Args:
        shapes: (n, 2·size, 2·size) float32, ink in [0, 1].
        rng: source of randomness.
        how: amounts of distortion.
        size: side of the result. Sampling at twice that side and averaging keeps edges smooth.

    Returns:
        (n, size, size) uint8.
    """
    n = len(shapes)
    angle, shear = rng.uniform(-how.rotation, how.rotation, n), rng.uniform(-how.shear, how.shear, n)
    stretch = np.exp(rng.uniform(-how.scale, how.scale, (n, 2)))
    cos, sin = np.cos(angle), np.sin(angle)
    affine = np.zeros((n, 2, 3))
    affine[:, 0, 0], affine[:, 0, 1] = cos * stretch[:, 0], (cos * shear - sin) * stretch[:, 0]
    affine[:, 1, 0], affine[:, 1, 1] = sin * stretch[:, 1], (sin * shear + cos) * stretch[:, 1]
    affine[:, :, 2] = rng.uniform(-how.shift, how.shift, (n, 2))
    field = rng.normal(0, how.elastic, (n, 2, how.knots, how.knots))
    grid = F.affine_grid(torch.from_numpy(affine).float(), [n, 1, 2 * size, 2 * size], align_corners=False)
    smooth = F.interpolate(torch.from_numpy(field).float(), size=2 * size, mode="bicubic", align_corners=True)
    grid = grid + smooth.permute(0, 2, 3, 1)  # (n, 2·size, 2·size, 2)
    drawn = F.grid_sample(shapes.unsqueeze(1), grid, mode="bilinear", align_corners=False)
    return F.avg_pool2d(drawn, 2).squeeze(1).mul(255).round().clamp(0, 255).to(torch.uint8)
