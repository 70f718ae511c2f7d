"""Reads a folder of images as items."""

from __future__ import annotations

from pathlib import Path

from agents.acquisition.items.items import Items
from agents.acquisition.items.left_out import warn_of_left_out
from metaal_env.datasets.readers.image_files import image_files, unreadable_images
from metaal_env.datasets.readers.image_pages import of_several_pages
from metaal_env.errors import InputError


def read_image_items(path: Path, skip_unreadable: bool = False) -> Items:
    """Reads the images at any depth below a folder. A file's folder is no label: folders often mean something else.

    Args:
        skip_unreadable: Leaves out images that cannot be decoded, with a warning that lists them.

    Raises:
        InputError: no images.
    """
    files = image_files(path)
    broken = unreadable_images(files.paths, f"data={str(path)!r}") if skip_unreadable else {}
    warn_of_left_out(broken, path, "images")
    images = [file for file in files.paths if file not in broken]
    counts = ", ".join(f"{count} {suffix}" for suffix, count in files.left_out.items())
    if not images:
        raise InputError(
            f"data={str(path)!r} holds no images or sounds{f', only {counts}' if counts else ''}; "
            "give a folder of image files (e.g. PNG, JPEG) or sound files (e.g. WAV)."
        )
    names = tuple(file.relative_to(path).as_posix() for file in images)
    shown = [str(file) for file in images]
    notes = [f"other files left out: {counts}"] if counts else []
    paged = of_several_pages(images)
    if paged:
        name = paged[0].relative_to(path).as_posix()
        notes.append(f"{len(paged)} of several pages or frames, e.g. {name!r}: the first one is the item")
    return Items(
        str(path),
        names,
        [None] * len(names),
        shown,
        images=images,
        id_source="file names",
        notes=tuple(notes),
    )
