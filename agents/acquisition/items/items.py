"""A user's pool before encoding, and what names its items."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Literal

import numpy as np
from scipy import sparse

Kind = Literal["table", "texts", "images", "sounds", "vectors"]
SHOWN_CLASSES = 8
SHOWN_COLUMNS = 12


@dataclass(frozen=True)
class Items:
    """Holds a pool as read: one of `vectors`, `matrix`, `texts`, `images` and `sounds`, or `vectors` beside another.

    Attributes:
        source: Path of the file or folder, or what messages call the pool.
        ids: What names each item: an id column, a file name, else a hash of its content. Unique.
        labels: Class name of each item, None where unknown.
        shown: What a person who labels sees.
        columns: Column of a table → cell of each item, as a person reads them; without labels and texts.
        scale: Whether the columns of `vectors` are still to be standardised.
        matrix: Sparse rows; an encoder makes vectors of them.
        used: Columns of a table that are inputs.
        left_out: Column of a table that is no input → why.
        meta: Columns that are no inputs, but shown beside the item and exported.
        costs: Price of each item's label; None where all cost the same.
        groups: What each item belongs to, empty where it stands alone; None where nothing is said of groups.
        id_source: Where `ids` come from, e.g. ``"column 'id'"``.
        label_source: Where `labels` come from, e.g. ``"column 'label'"``; empty where nothing holds labels.
        notes: What else was recognised: encoding, delimiter, header, imputed values.
    """

    source: str
    ids: Sequence[str]
    labels: Sequence[str | None]
    shown: Sequence[str]
    vectors: np.ndarray | None = None  # (N, D) or (N, H, W, C)
    texts: list[str] | None = None
    images: list[Path] | None = None
    sounds: list[Path] | None = None
    matrix: sparse.csr_array | None = None  # (N, D)
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scale: bool = False
    used: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    meta: tuple[str, ...] = ()
    costs: Sequence[float] | None = None
    groups: Sequence[str] | None = None
    id_source: str = ""
    label_source: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> Kind:
        if self.images is not None:
            return "images"
        if self.sounds is not None:
            return "sounds"
        if self.vectors is None and self.matrix is None:
            return "texts"
        return "table" if self.used else "vectors"

    def beside(self, position: int) -> str:
        """Returns an item's cells of the columns that are shown beside it, on one line; empty where there are none."""
        return ", ".join(f"{name}={self.columns[name][position]}" for name in self.meta)

    @property
    def counts(self) -> dict[str, int]:
        """Returns the number of labelled items of each class, in the order of first appearance."""
        return dict(Counter(label for label in self.labels if label is not None))

    @property
    def understood(self) -> str:
        """Returns one line: kind, number of items, inputs, what is left out, names, labels, recognised format."""
        what = "a table" if self.kind == "table" else self.kind
        parts = [f"{self.source}: {what}, {len(self)} items"]
        if self.vectors is not None and not self.used:
            beside = " with vectors" if self.kind != "vectors" else ""
            parts[0] += f"{beside} of shape {'×'.join(map(str, self.vectors.shape[1:]))}"
        if self.matrix is not None:
            parts[0] += f" of shape {self.matrix.shape[1]}, sparse"
        if self.used:
            parts.append(f"inputs: {_some(self.used, SHOWN_COLUMNS)}")
        if self.left_out:
            reasons = [f"{name} ({why})" for name, why in self.left_out.items()]
            parts.append(f"left out: {_some(reasons, SHOWN_COLUMNS)}")
        if self.meta:
            parts.append(f"shown and exported beside it: {_some(self.meta, SHOWN_COLUMNS)}")
        if self.costs is not None:
            parts.append(f"labels cost {min(self.costs):g} to {max(self.costs):g}")
        if self.groups is not None:
            parts.append(f"{len(set(filter(None, self.groups)))} groups")
        if self.id_source:
            parts.append(f"ids: {self.id_source}")
        counts = self.counts
        if self.label_source:
            named = [f"{name}: {count}" for name, count in counts.items()]
            classes = f", {len(counts)} classes ({_some(named, SHOWN_CLASSES)})" if counts else ""
            parts.append(f"labels: {self.label_source}, {sum(counts.values())} of {len(self)}{classes}")
        else:
            parts.append("labels: none in the data")
        return "; ".join([*parts, *self.notes]) + "."


def _some(names: Sequence[str], most: int) -> str:
    shown = [shorten(name, 80, placeholder="…") for name in names[:most]]
    return ", ".join([*shown, f"{len(names) - most} more"] if len(names) > most else shown)


def content_ids(contents: Iterable[bytes]) -> tuple[str, ...]:
    """Returns a name for each item that depends on its content alone; equal items are numbered ``-2``, ``-3``, …

    A name begins with a letter, so that no spreadsheet takes it for a number.
    """
    seen: Counter[str] = Counter()
    names = []
    for content in contents:
        name = f"h{hashlib.blake2b(content, digest_size=8).hexdigest()}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(names)


def text_ids(texts: Iterable[str]) -> tuple[str, ...]:
    """Returns names that depend on the texts alone, without the space around them."""
    return content_ids(text.strip().encode("utf-8", "surrogatepass") for text in texts)


def is_content_id(name: str) -> bool:
    """Returns whether a text may be a name that `content_ids` gave."""
    return re.fullmatch(r"h[0-9a-f]{16}(-\d+)?", name) is not None


def row_contents(x: np.ndarray) -> Iterable[bytes]:
    """Yields the bytes of each row of numbers, the same whatever the type in which they were saved."""
    for start in range(0, len(x), 4096):
        rows = np.asarray(x[start : start + 4096]).astype(np.float32) + 0.0  # −0.0 becomes 0.0
        yield from (row.tobytes() for row in rows)
