"""A user's arrays to items: npz and npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.acquisition.items.items import Items, content_ids, row_contents, text_ids
from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.class_labels import strings
from metaal_env.datasets.readers.label_values import Labels, array_cells, read_labels
from metaal_env.datasets.readers.npz import DAMAGE, named_arrays
from metaal_env.errors import InputError, brief


def npz_items(path: Path, options: ReadOptions) -> Items:
    """Returns the items of an npz file: vectors, images or texts, with labels and ids where it holds them.

    Raises:
        InputError: neither vectors nor texts, arrays of other lengths, labels that are no classes; or as
            `named_arrays`.
    """
    arrays, notes = named_arrays(path, f"data={str(path)!r}")
    return named_array_items(path, arrays, notes, options)


def named_array_items(
    path: Path, arrays: dict[str, np.ndarray], notes: tuple[str, ...], options: ReadOptions
) -> Items:
    """Returns the items of arrays by their documented names: X, y, text, ids, class_names.

    Args:
        path: File that held them.
        notes: What was recognised.

    Raises:
        InputError: as `npz_items`, but for damage.
    """
    what = f"data={str(path)!r}"
    x, text = arrays.get("X"), arrays.get("text")
    if x is not None and x.ndim == 1 and x.dtype.kind in "US" and text is None:
        x, text = None, x
    if x is None and text is None:
        raise InputError(
            f"{what} has neither an array X nor text ({'; '.join(notes) or 'it is empty'}); rename one of them."
        )
    main = text if x is None else x
    assert main is not None
    n = len(_rows(main, what, least=1 if x is None else 2))
    texts = None if text is None else list(strings(what, "text", text))
    if texts is not None and (text is None or text.shape != (n,)):
        raise InputError(f"{what}: text has {len(texts)} entries for {n} items; give one per item.")
    labels = Labels((None,) * n)
    y = None if options.no_label else arrays.get("y")
    if y is not None:
        cells = array_cells(y, n, what, arrays.get("class_names"))
        labels = read_labels(cells, f"{what}: y", options.missing_label)
    ids, id_source = _ids(arrays, texts if x is None else None, main, what)
    shown = texts if texts is not None else [f"item {i} of {path.name}" for i in range(1, n + 1)]
    return Items(
        str(path), ids, labels.values, shown, vectors=x, texts=texts, id_source=id_source,
        label_source="" if y is None else "y", notes=(*notes, *labels.notes),
    )  # fmt: skip


def npy_items(path: Path) -> Items:
    """Returns the items of an npy file: vectors (N, D), images (N, H, W, C) or texts (N,).

    Raises:
        InputError: no array of numbers or texts, or no items.
    """
    what = f"data={str(path)!r}"
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise InputError(f"{what} is not an array of numbers ({brief(error)}); use numpy.save.") from error
    if isinstance(x, np.ndarray) and x.ndim == 1 and x.dtype.kind in "US" and x.size:
        texts = list(strings(what, "the array", np.asarray(x)))
        return Items(str(path), text_ids(texts), (None,) * len(x), texts, texts=texts, id_source="content")
    if not isinstance(x, np.ndarray) or x.ndim < 2 or not x.size or x.dtype.kind not in "biuf":
        shape = getattr(x, "shape", None)
        raise InputError(f"{what} has shape {shape}; save numbers: vectors (N, D) or images (N, H, W, C).")
    shown = [f"item {i} of {path.name}" for i in range(1, len(x) + 1)]
    ids = content_ids(row_contents(x))
    return Items(str(path), ids, (None,) * len(x), shown, vectors=x, id_source="content")


def _rows(x: np.ndarray, what: str, least: int) -> np.ndarray:
    kinds = "US" if least == 1 else "biuf"
    if x.ndim < least or not x.size or x.dtype.kind not in kinds:
        raise InputError(
            f"{what}: {'text' if least == 1 else 'X'} has shape {x.shape} and type {x.dtype}; give "
            f"{'texts (N,)' if least == 1 else 'vectors (N, D) or images (N, H, W, C)'}."
        )
    return x


def _ids(
    arrays: dict[str, np.ndarray], texts: list[str] | None, main: np.ndarray, what: str
) -> tuple[tuple[str, ...], str]:
    given = arrays.get("ids")
    if given is None:
        return (content_ids(row_contents(main)) if texts is None else text_ids(texts)), "content"
    ids = strings(what, "ids", given)
    if given.shape != (len(main),) or len(set(ids)) < len(ids):
        raise InputError(
            f"{what}: ids has shape {given.shape} for {len(main)} items; give one of its own to each."
        )
    return ids, "array ids"
