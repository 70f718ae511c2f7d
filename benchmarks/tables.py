"""Tables that benchmarks write: for docs/results.md as JSON, for pages as Markdown, with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.paired import Paired
from agents.evaluation.report.formats import number
from agents.evaluation.statistics.comparisons import pooled_difference
from metaal_env.runtime.files import write_atomic

MEASURED = Path("docs") / "measured"
"""Folder of the tables that `benchmarks.results_page` reads."""


def write_table(file: Path, table: Mapping[str, Any]) -> None:
    """Writes a table of docs/measured: a mapping with title, command, text, columns and rows."""
    write_atomic(file, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_interval(found: Sequence[float]) -> str:
    """Returns an estimate and its interval, of which `found` holds estimate, low and high."""
    estimate, low, high = (number(value, 4, "+") for value in found)
    return f"{estimate} [{low}, {high}]"


def mean_difference(values: np.ndarray) -> str:
    """Returns the mean of (n, S) differences by task and seed, and its interval over both."""
    seeds = [f"seed {seed}" for seed in range(values.shape[1])]
    strata = np.array(["glyphs"] * len(values), dtype=object)
    paired = Paired((*seeds, "nothing"), np.c_[values, np.zeros(len(values))], strata, np.arange(len(values)))
    found = pooled_difference(paired, seeds, "nothing")
    return with_interval((found.estimate, found.low, found.high))
