"""`glyphs`: characters of real typefaces, the default data set, which needs no download."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from metaal_env.datasets.base import DATASETS, ClassDataset
from metaal_env.datasets.cache import cached
from metaal_env.datasets.sources.distortion import Distortion, draw
from metaal_env.datasets.sources.typefaces import coverage, distinct, render
from metaal_env.errors import InputError

DRAWS = 60
"""Items of each character."""
SIZE = 28
MIN_FONTS = 16
MIN_FONTS_WIDE = 40
_RECIPE = 1  # Part of the cache file's name: raise it with any change to the result.
_SEED = 20240917
_EXCLUDED = ("LastResort", "cmex", "cmsy", "cmmi", "Display", "STIXSiz", "NonUni", "Awesome")
_SPLIT = {"Phonetic": "validation", "Greek": "test", "Cyrillic": "test"}
_SPLIT_WIDE = {"Greek": "validation", "Cyrillic": "test"}
"""Scripts kept out of training. Few typefaces have phonetic letters, so the wide set validates on Greek."""


@DATASETS.register("glyphs")
def glyphs() -> ClassDataset:
    """Loads characters in at least `MIN_FONTS` of matplotlib's font files: 28×28 images, one channel, ink 255.

    Groups are scripts, and splits follow them, so test tasks are in scripts that were never trained on. Training has
    the Latin alphabet with its accents, digits, punctuation, symbols and box drawing. Validation has the phonetic
    alphabet, and test has Greek and Cyrillic. Characters that look alike are one class. Every draw takes the next font
    and its own distortion. Images are rendered once and then read from the cache.
    """
    from matplotlib import get_data_path

    files = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("*.ttf"))
    key = f"glyphs-{_RECIPE}-matplotlib-{version('matplotlib')}"
    return cached(key, "glyphs", lambda: build("glyphs", files, MIN_FONTS, _SPLIT))


@DATASETS.register("glyphs_wide")
def glyphs_wide() -> ClassDataset:
    """Loads characters as `glyphs`, from the fonts of matplotlib and rendercv-fonts: at least `MIN_FONTS_WIDE` each.

    Validation has Greek, and test has Cyrillic.

    Raises:
        InputError: rendercv-fonts is not installed (``pip install rendercv-fonts``).
    """
    from matplotlib import get_data_path

    spec = find_spec("rendercv_fonts")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "dataset='glyphs_wide' needs the package rendercv-fonts; run: pip install rendercv-fonts."
        )
    extra = Path(spec.submodule_search_locations[0])
    files = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("*.ttf"))
    files += sorted(file for file in extra.rglob("*") if file.suffix.lower() in (".ttf", ".otf"))
    key = f"glyphs_wide-{_RECIPE}-matplotlib-{version('matplotlib')}-fonts-{version('rendercv-fonts')}"
    return cached(key, "glyphs_wide", lambda: build("glyphs_wide", files, MIN_FONTS_WIDE, _SPLIT_WIDE))


def build(
    name: str, files: Sequence[Path], min_fonts: int, held_out: Mapping[str, str], draws: int = DRAWS
) -> ClassDataset:
    """Renders and distorts the characters of `files`; see `glyphs`.

    Args:
        name: name of the data set.
        files: fonts; those without ordinary characters are left out.
        min_fonts: number of fonts that must have a character.
        held_out: script → its split; all others are for training.
        draws: items per character.

    A character's draws depend only on its code point and fonts.
    """
    files = [file for file in files if not any(word in file.name for word in _EXCLUDED)]
    fonts = coverage(files, min_fonts)
    shapes = render(files, fonts)
    characters = distinct(shapes, {character: fonts[character] for character in shapes})
    inputs = torch.empty(len(characters) * draws, 1, SIZE, SIZE, dtype=torch.uint8)
    for c, character in enumerate(tqdm(characters, "distorting characters", unit="char", disable=None)):
        rng = np.random.default_rng([_SEED, ord(character)])
        available = shapes[character]  # (n_fonts, CANVAS, CANVAS)
        chosen = torch.from_numpy(available[np.arange(draws) % len(available)]).float() / 255
        inputs[c * draws : (c + 1) * draws, 0] = draw(chosen, rng, Distortion(), SIZE)
    groups = tuple(script(character) for character in characters)
    return ClassDataset(
        name=name,
        inputs=inputs,
        labels=torch.arange(len(characters)).repeat_interleave(draws),
        class_names=tuple(characters),
        groups=groups,
        modality="image",
        class_split=tuple(held_out.get(group, "train") for group in groups),
    )


def script(character: str) -> str:
    """Returns the script of a letter, or the kind of another sign, from the Unicode name and category."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if name.startswith("GREEK"):
        return "Greek"
    if name.startswith("CYRILLIC"):
        return "Cyrillic"
    if "\u0250" <= character <= "\u02ff":  # IPA extensions, modifier letters
        return "Phonetic"
    if name.startswith("BOX DRAWINGS"):
        return "Box drawing"
    return {"L": "Latin", "N": "Digits", "P": "Punctuation"}.get(category[0], "Symbols")
