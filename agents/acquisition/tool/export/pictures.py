"""Exports of folders: a folder of each class, and COCO's JSON for whole images."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from agents.acquisition.items.items import Items
from agents.acquisition.tool.export.records import Record
from metaal_env.errors import InputError, brief

TABLE = "labels.csv"
"""What is told of each label, in the folder of folders."""


def class_folder(name: str) -> str:
    """Returns a class as the name of a folder: what no file system takes is percent-encoded."""
    safe = quote(name, safe=" !#$&'()+,;=@[]{}~^`" + "".join(filter(_is_letter, name)))
    return f"%{ord(safe[0]):02X}{safe[1:]}" if safe[0] in ". " else safe


def write_folders(found: Sequence[Record], items: Items, folder: Path, *, link: bool) -> dict[str, str]:
    """Puts every labelled file into the folder of its class; item → its new place below `folder`.

    Args:
        link: Whether to make symbolic links, which take no space but break when the data move.

    Raises:
        InputError: a file that cannot be read, or no room.
    """
    files = items.images or items.sounds or []
    taken: Counter[str] = Counter()
    places: dict[str, str] = {}
    for record in found:
        if record.label is None:
            continue
        # Readers take the folder right above a file for its class, so folders of the data become part of the name.
        parts = PurePosixPath(str(record.data["file"]))
        flat = PurePosixPath(parts.name if parts.is_absolute() else "_".join(parts.parts))
        place = f"{class_folder(record.label)}/{flat}"
        taken[place.casefold()] += 1
        while (count := taken[place.casefold()]) > 1:
            place = f"{class_folder(record.label)}/{flat.stem}-{count}{flat.suffix}"
            taken[place.casefold()] += 1
        source, target = files[record.position], folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if link:
                target.symlink_to(os.path.realpath(source))
            else:
                shutil.copyfile(source, target)
        except OSError as error:
            raise InputError(f"file={str(source)!r} cannot be exported ({brief(error)}).") from error
        places[record.item] = place
    return places


def coco(found: Sequence[Record], items: Items, classes: Sequence[str]) -> dict[str, Any]:
    """Returns COCO's JSON with a class for each whole image, without boxes, as camera traps have it.

    Raises:
        InputError: an image that cannot be read.
    """
    from PIL import Image

    numbers = {name: k for k, name in enumerate(classes, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for k, record in enumerate(found, 1):
        path = (items.images or [])[record.position]
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"image={str(path)!r} cannot be read ({brief(error)}).") from error
        images.append(
            {"id": k, "file_name": record.data["file"], "width": width, "height": height, **record.meta}
        )
        if record.label is not None:
            told = {
                name: value for name, value in record.flat().items() if name not in {"file", *record.meta}
            }
            annotations.append(
                {"id": len(annotations) + 1, "image_id": k, "category_id": numbers[record.label],
                 "attributes": {name: value for name, value in told.items() if value is not None}}
            )  # fmt: skip
    return {
        "info": {"description": f"labels of {Path(items.source).name}, given with metaal"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": name, "supercategory": ""} for name, k in numbers.items()],
    }


def _is_letter(character: str) -> bool:
    return not character.isascii() and character.isprintable()
