"""Exports of folders: a folder of each class, and COCO's JSON for whole images."""

from __future__ import annotations

import itertools
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
FORBIDDEN = '<>:"/\\|?*%'


def class_folder(name: str) -> str:
    """Returns a class as the name of a folder: what some file system does not take there is percent-encoded."""
    encoded = [quote(c, safe="") if c in FORBIDDEN or not c.isprintable() else c for c in name]
    for end in (0, -1):
        if encoded[end] in (".", " "):  # hidden files, and what Windows cuts off
            encoded[end] = f"%{ord(encoded[end]):02X}"
    return "".join(encoded)


def class_folders(classes: Sequence[str]) -> dict[str, str]:
    """Returns class → its folder; classes that differ in capitals alone are told apart by a number.

    File systems that ignore case would mix them else.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in classes:
        folder = base = class_folder(name)
        for number in itertools.count(2):
            if folder.casefold() not in taken:
                break
            folder = f"{base}-{number}"
        taken.add(folder.casefold())
        found[name] = folder
    return found


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
    folders = class_folders(list(dict.fromkeys(r.label for r in found if r.label is not None)))
    for record in found:
        if record.label is None:
            continue
        # Readers take the folder right above a file for its class, so folders of the data become part of the name.
        parts = PurePosixPath(str(record.data["file"]))
        flat = PurePosixPath(parts.name if parts.is_absolute() else "_".join(parts.parts))
        place = f"{folders[record.label]}/{flat}"
        taken[place.casefold()] += 1
        while (count := taken[place.casefold()]) > 1:
            place = f"{folders[record.label]}/{flat.stem}-{count}{flat.suffix}"
            taken[place.casefold()] += 1
        source, target = files[record.position], folder / place
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                target.symlink_to(os.path.realpath(source))
            else:
                shutil.copyfile(source, target)
        except OSError as error:
            raise InputError(
                f"file={str(source)!r} cannot be written as {place!r} ({brief(error)})."
            ) from error
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
