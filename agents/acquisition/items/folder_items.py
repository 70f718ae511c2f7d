"""Reads a folder of images or of sounds as items."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from agents.acquisition.items.items import Items
from agents.acquisition.items.sound_encoders import unreadable_sounds
from metaal_env.datasets.readers.folder_files import files_below
from metaal_env.datasets.readers.image_files import image_files, unreadable_images
from metaal_env.datasets.readers.image_pages import of_several_pages
from metaal_env.errors import InputError, some_of

MEDIA = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".mp3": "audio/mpeg",
}
"""Suffix of a sound that is read → its media type."""


def folder_items(path: Path, skip_unreadable: bool = False) -> Items:
    """Returns the images, or the sounds, at any depth below a folder.

    A file's folder is no label: folders often mean something else.

    Args:
        skip_unreadable: Leaves out files that cannot be decoded, with a warning that lists them.

    Raises:
        InputError: sounds beside images, neither of them, no file that can be read, or the package that reads sounds
            is not installed.
    """
    what = f"data={str(path)!r}"
    sounds = files_below(path, lambda file: file.suffix.lower() in MEDIA)
    images = image_files(path)
    if sounds.paths and images.paths:
        raise InputError(
            f"{what} holds {len(sounds.paths)} sounds and {len(images.paths)} images; "
            "move elsewhere the files that are not items."
        )
    kind, files, left_out = ("sounds", *sounds) if sounds.paths else ("images", *images)
    if kind == "sounds" and importlib.util.find_spec("soundfile") is None:
        raise InputError(f"{what} holds sounds, which need the package soundfile: pip install soundfile.")
    counts = ", ".join(f"{count} {suffix}" for suffix, count in left_out.items())
    if not files:
        raise InputError(
            f"{what} holds no images or sounds{f', only {counts}' if counts else ''}; "
            "give a folder of image files (e.g. PNG, JPEG) or sound files (e.g. WAV)."
        )
    if skip_unreadable:
        broken = (unreadable_sounds if kind == "sounds" else unreadable_images)(files, what)
        _warn_of_left_out([*broken], path, kind)
        files = [file for file in files if file not in broken]
        if not files:
            raise InputError(f"{what} holds no {kind[:-1]} that can be read; give files of another format.")
    names = tuple(file.relative_to(path).as_posix() for file in files)
    notes = [f"other files left out: {counts}"] if counts else []
    if kind == "images" and (paged := of_several_pages(files)):
        name = paged[0].relative_to(path).as_posix()
        notes.append(f"{len(paged)} of several pages or frames, e.g. {name!r}: the first one is the item")
    return Items(
        str(path), names, [None] * len(names), [str(file) for file in files],
        images=files if kind == "images" else None, sounds=files if kind == "sounds" else None,
        id_source="file names", notes=tuple(notes),
    )  # fmt: skip


def _warn_of_left_out(broken: list[Path], root: Path, kind: str) -> None:
    if broken:
        named = [repr(file.relative_to(root).as_posix()) for file in broken]
        warnings.warn(f"{len(broken)} unreadable {kind} are left out: {some_of(named, 10)}.", stacklevel=3)
