"""Renders characters of font files as centred, equally large shapes, and finds those that look alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

CANVAS = 56
"""Side in pixels of a rendered shape."""
INK = 40
"""The longer side of every shape's ink; proportions are kept, but size carries no information."""
_EM = 72
_TEX = "cm"  # TeX's fonts put other glyphs at ASCII punctuation; their letters and digits are right.


def coverage(files: Sequence[Path], min_fonts: int) -> dict[str, list[int]]:
    """Returns each visible character that at least `min_fonts` files have → the indices of those files.

    ASCII comes first, then letters, then the rest; of characters that look alike, the first names the class.
    """
    from matplotlib.ft2font import FT2Font

    fonts_of: dict[int, list[int]] = {}
    for index, file in enumerate(files):
        for code in FT2Font(str(file)).get_charmap():
            if not file.name.startswith(_TEX) or (code < 128 and chr(code).isalnum()):
                fonts_of.setdefault(code, []).append(index)
    return {
        chr(code): fonts
        for code, fonts in sorted(fonts_of.items(), key=_precedence)
        if len(fonts) >= min_fonts and unicodedata.category(chr(code))[0] in "LNPS"
    }


def render(files: Sequence[Path], characters: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Renders each character with every font: (n_fonts, CANVAS, CANVAS) uint8, ink 255, with a progress bar.

    Characters that any of their fonts leaves blank are dropped.
    """
    from PIL import Image, ImageDraw, ImageFont

    basic = ImageFont.Layout.BASIC  # The other engine is there on some machines only.
    fonts = [ImageFont.truetype(str(file), _EM, layout_engine=basic) for file in files]
    shapes: dict[str, np.ndarray] = {}
    for character, indices in tqdm(characters.items(), "rendering characters", unit="char", disable=None):
        canvases = np.zeros((len(indices), CANVAS, CANVAS), np.uint8)
        for canvas, index in zip(canvases, indices, strict=True):
            image = Image.new("L", (4 * _EM, 4 * _EM))
            ImageDraw.Draw(image).text((_EM, _EM), character, fill=255, font=fonts[index])
            box = image.getbbox()
            if box is None:
                continue
            factor = INK / max(box[2] - box[0], box[3] - box[1])
            size = [max(1, round(factor * (box[i + 2] - box[i]))) for i in (0, 1)]  # (width, height)
            ink = np.asarray(image.crop(box).resize((size[0], size[1]), Image.Resampling.BILINEAR))
            top, left = (CANVAS - size[1]) // 2, (CANVAS - size[0]) // 2
            canvas[top : top + size[1], left : left + size[0]] = ink
        if canvases.any(axis=(1, 2)).all():
            shapes[character] = canvases
    return shapes


def distinct(
    shapes: dict[str, np.ndarray], fonts: dict[str, list[int]], closest: float = 4.0, same_letter: float = 8.0
) -> list[str]:
    """Returns the characters that do not look like an earlier one (A, Α, А; O, o, 0).

    Two characters look alike when the distance of their mean shapes is less than `closest` standard deviations of the
    variation between fonts. This is the Mahalanobis distance with the pooled within-character covariance, so weight
    and slant count little. The limit is `same_letter` when one is the other's capital, sub- or superscript. The result
    is deterministic; the first character is kept (see `coverage`).
    """
    everywhere = _common_fonts(fonts)
    means, residuals = [], []
    for character, canvases in shapes.items():
        blurred = canvases.reshape(-1, CANVAS // 4, 4, CANVAS // 4, 4).mean(axis=(2, 4), dtype=np.float64)
        flat = blurred.reshape(len(canvases), -1)  # (n_fonts, 196)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        flat = flat[[font in everywhere for font in fonts[character]]]
        means.append(flat.mean(axis=0))
        residuals.append(flat - means[-1])
    deviation = np.concatenate(residuals)
    within = deviation.T @ deviation / len(deviation)
    within += 0.1 * np.trace(within) / len(within) * np.eye(len(within))
    white = np.linalg.solve(np.linalg.cholesky(within), np.stack(means).T).T  # (n_characters, 196)
    characters, letters = list(shapes), [_letter(character) for character in shapes]
    kept: list[int] = []
    for i in range(len(characters)):
        distance = np.linalg.norm(white[kept] - white[i], axis=1)
        limit = np.where([letters[j] == letters[i] for j in kept], same_letter, closest)
        if not bool((distance < limit).any()):
            kept.append(i)
    return [characters[i] for i in kept]


def _precedence(entry: tuple[int, list[int]]) -> tuple[bool, bool, int]:
    code = entry[0]
    return code >= 128, not chr(code).isalpha(), code


def _common_fonts(fonts: dict[str, list[int]]) -> set[int]:
    """Returns the fonts that have nine characters in ten, so that means over the same fonts can be compared."""
    counts = np.bincount(np.concatenate([np.array(indices) for indices in fonts.values()]))
    return set(np.flatnonzero(counts >= 0.9 * len(fonts)).tolist())


def _letter(character: str) -> str:
    """Returns the letter that capitals, sub- and superscripts share; the digit 0 counts as the letter o."""
    folded = unicodedata.normalize("NFKC", character).casefold()
    return "o" if folded == "0" else folded
