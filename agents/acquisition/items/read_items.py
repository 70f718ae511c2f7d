"""Reads a user's file or folder of items, labelled in part or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from agents.acquisition.items.array_items import npy_items, npz_items
from agents.acquisition.items.arrow_items import SUFFIXES as ARROW
from agents.acquisition.items.arrow_items import arrow_items, is_saved_data_set, saved_data_set_items
from agents.acquisition.items.folder_items import folder_items
from agents.acquisition.items.frame_items import frame_items
from agents.acquisition.items.hdf5_items import SUFFIXES as HDF5
from agents.acquisition.items.hdf5_items import hdf5_items
from agents.acquisition.items.items import Items as Items
from agents.acquisition.items.items import text_ids
from agents.acquisition.items.json_items import SUFFIXES as JSON
from agents.acquisition.items.json_items import json_items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.sparse_items import is_sparse_file, sparse_file_items
from agents.acquisition.items.table_items import no_columns, table_items
from metaal_env.datasets.readers.decode import read_decoded
from metaal_env.datasets.readers.header_rows import holds_numbers
from metaal_env.datasets.readers.load_file import is_folder
from metaal_env.datasets.readers.table import MAX_BYTES, PACKED, is_table
from metaal_env.errors import InputError

READ = ".csv, .tsv, .txt, .json, .jsonl, .parquet, .feather, .arrow, .npz, .npy, .h5 or a folder"
"""What is read, for messages."""

SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
"""Suffixes of spreadsheets' own formats. They are not read, and their programs refuse tables that bear them."""


def read_items(data: Any, options: ReadOptions | None = None) -> Items:
    """Reads a file or folder of items, or a table in memory.

    Tables (``.csv``, ``.tsv``), JSON and texts (``.txt``, one a line) may be compressed (``.csv.gz``, also bz2 and xz).
    Arrays are read from ``.npz`` (also SciPy's sparse matrices), ``.npy`` and ``.h5``, columns from ``.parquet``,
    ``.feather`` and ``.arrow``. A folder holds images, sounds, Parquet files or a data set that Hugging Face's library
    saved. `Items.understood` says what was recognised.

    Args:
        data: Path; or what `frame_items` takes.
        options: What the user says about the file; the rest is recognised.

    Raises:
        InputError: nothing there, another kind of file, no items, sounds beside images, or contents that
            cannot be used.
    """
    options = options or ReadOptions()
    if not isinstance(data, (str, os.PathLike)):
        return frame_items(data, options)
    path = Path(data)
    what = f"data={str(path)!r}"
    folder = is_folder(path, what)
    suffix = path.suffix.lower()
    if suffix in PACKED:
        suffix = Path(path.stem).suffix.lower()
    if not folder and is_table(path):
        return table_items(path, read_decoded(path, what, MAX_BYTES, options.encoding), options)
    if not folder and suffix == ".txt":
        return _lines(path, options)
    if not folder and suffix in JSON:
        return json_items(path, read_decoded(path, what, MAX_BYTES, options.encoding), options)
    if not folder and suffix in ARROW:
        return arrow_items(path, options)
    if folder and is_saved_data_set(path):
        return saved_data_set_items(path, options)
    no_columns(path, options)
    if folder:
        return folder_items(path, options.skip_unreadable)
    if suffix == ".npz":
        return sparse_file_items(path) if is_sparse_file(path) else npz_items(path, options)
    if suffix in HDF5:
        return hdf5_items(path, options)
    if suffix == ".npy":
        return npy_items(path)
    if suffix in SPREADSHEETS:
        raise InputError(
            f"{what} is in a spreadsheet's own format; save the sheet as CSV and give that file."
        )
    raise InputError(f"{what} has the suffix {suffix!r}; give {READ}.")


def _lines(path: Path, options: ReadOptions) -> Items:
    """One text a line; a table where every line has as many tabs, as spreadsheets save text, or holds numbers."""
    decoded = read_decoded(path, f"data={str(path)!r}", MAX_BYTES, options.encoding)
    # Not splitlines: it also splits at the separators that Unicode allows inside a text.
    lines = [line for line in re.split(r"\r\n|\r|\n", decoded.text) if line.strip()]
    tabs = {line.count("\t") for line in lines}
    between_tabs = len(tabs) == 1 and len(lines) > 1 and min(tabs) > 0
    if options.delimiter is not None or between_tabs or holds_numbers(lines):
        return table_items(path, decoded, options)
    no_columns(path, options)
    if not lines:
        raise InputError(f"data={str(path)!r} holds no items; give one text a line.")
    lines = [line.rstrip() for line in lines]
    return Items(
        str(path), text_ids(lines), (None,) * len(lines), lines, texts=lines, id_source="content",
        notes=decoded.notes,
    )  # fmt: skip
