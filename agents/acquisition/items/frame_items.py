"""Data frames and sparse matrices in memory to items: pandas, polars, pyarrow, Hugging Face's data sets, SciPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy import sparse

from agents.acquisition.items.arrow_items import arrow_columns
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.sparse_items import sparse_items
from agents.acquisition.items.value_items import value_items
from metaal_env.errors import InputError, InputTypeError

SOURCE = "frame"
"""What messages call a table in memory; its answers are kept in ``frame.labels.csv``."""


def frame_items(data: Any, options: ReadOptions) -> Items:
    """Returns the items of a table in memory, which means what the same table in a CSV file would mean.

    Args:
        data: A data frame of pandas or polars, a pyarrow table, a data set of Hugging Face's library, a SciPy sparse
            matrix, or name → column of values.

    Raises:
        InputTypeError: something else.
        InputError: as `value_items`.
    """
    if sparse.issparse(data):
        return sparse_items(data, SOURCE)
    return value_items(SOURCE, _columns(data), options)


def _columns(data: Any) -> Mapping[Any, Sequence[Any]]:
    if isinstance(data, Mapping):
        return {name: list(values) for name, values in data.items()}
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _pandas(data)
    if hasattr(data, "get_columns"):  # polars
        short = {s.name for s in data.get_columns() if str(s.dtype) == "Float32"}  # to_list makes them longer
        return {s.name: list(s.to_numpy()) if s.name in short else s.to_list() for s in data.get_columns()}
    if hasattr(data, "column_names") and hasattr(data, "schema"):
        return arrow_columns(data)
    if hasattr(data, "features") and hasattr(data, "with_format"):
        return arrow_columns(data.with_format("arrow")[:])
    raise InputTypeError(
        f"data is {type(data).__name__}; give a path, a data frame, a pyarrow table or a sparse matrix."
    )


def _pandas(frame: Any) -> dict[Any, list[Any]]:
    """Columns of a data frame, and its index where that is more than the numbers of the rows."""
    found: dict[Any, list[Any]] = {}
    index = frame.index
    if index.nlevels > 1:
        found |= {name or f"level {i}": list(index.get_level_values(i)) for i, name in enumerate(index.names)}
    elif (
        index.name is not None
        or list(index[:2]) != [0, 1]
        or not index.equals(type(index)(range(len(frame))))
    ):
        found[index.name or ""] = list(index)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"data has two columns called {twice!r}; rename one.")
    # Not list(frame[name]): a Series hands out numbers of 32 bits as longer ones.
    return found | {name: list(frame[name].array) for name in frame.columns}
