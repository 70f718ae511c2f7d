"""Row files: one gzipped CSV per cell, one row per task and label count; all else is redrawn from them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.episodes import CURVES, Episodes, concatenate
from agents.evaluation.protocol.protocol import Protocol
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_json, write_atomic

COLUMNS = ("scenario", "strategy", "privileged", "seed", "way", "pool", "budget", "labels", "pick", *CURVES)
SUFFIX = ".csv.gz"
MAX_BYTES = 2**28
"""Of one cell, decompressed: a thousand times what a block of long episodes takes."""


def to_csv(parts: list[Episodes]) -> str:
    """Returns episodes as CSV text. Seconds are left out: they differ from run to run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for e in parts:
        for i in range(len(e)):
            head = [e.strata[i], e.strategy, int(e.privileged), e.seeds[i], e.way[i], e.pool[i], e.budget[i]]
            for labels in range(e.budget[i] + 1):
                values = [e.curves[name][i, labels] for name in CURVES]
                pick = e.picks[i, labels - 1] if labels else -1
                writer.writerow(
                    [
                        *head,
                        labels,
                        pick if pick >= 0 else "",
                        *("" if np.isnan(v) else f"{v:.6g}" for v in values),
                    ]
                )
    return out.getvalue()


def write_rows(path: Path, header: dict[str, Any], episodes: Episodes) -> None:
    """Writes one cell: a ``#`` line with its identity, then the CSV. Bytes depend on the content alone."""
    text = f"# {json.dumps(header, sort_keys=True)}\n{to_csv([episodes])}"
    write_atomic(path, gzip.compress(text.encode(), mtime=0))


def read_rows(path: Path) -> tuple[dict[str, Any], Episodes]:
    """Reads one cell: its identity and its episodes.

    Raises:
        InputError: the file is damaged, foreign or without rows.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"over {MAX_BYTES:,} bytes")
        first, _, rest = content.decode().partition("\n")
        header = json.loads(first.removeprefix("# "))
        table = list(csv.reader(io.StringIO(rest)))
        if not isinstance(header, dict) or tuple(table[0]) != COLUMNS:
            raise ValueError("unexpected columns")
        episodes = _episodes(table[1:]) if len(table) > 1 else None
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        IndexError,
        OverflowError,
        RecursionError,
        csv.Error,
    ) as error:
        raise InputError(
            f"rows={str(path)!r} is damaged ({brief(error)}); delete it and run again."
        ) from error
    if episodes is None:
        raise InputError(f"rows={str(path)!r} is an empty cell; delete it and run again.")
    return header, episodes


def _episodes(table: list[list[str]]) -> Episodes:
    """Turns the CSV rows of one strategy into episodes, in order of appearance."""
    column = {name: i for i, name in enumerate(COLUMNS)}
    keys: dict[tuple[str, str], int] = {}
    index = [keys.setdefault((row[0], row[column["seed"]]), len(keys)) for row in table]
    labels = np.array([int(row[column["labels"]]) for row in table])
    first = np.unique(index, return_index=True)[1]
    e, t = len(keys), int(labels.max())
    budget = np.array([int(row[column["budget"]]) for row in table])
    if not np.array_equal(
        labels, np.concatenate([np.arange(n) for n in np.bincount(index)])
    ) or not np.array_equal(budget, np.bincount(index)[index] - 1):
        raise ValueError("rows are missing or out of order")
    curves = {name: np.full((e, t + 1), np.nan) for name in CURVES}
    for name in CURVES:
        curves[name][index, labels] = [float(row[column[name]] or "nan") for row in table]
        if name != "log_loss" and not bool(
            (np.isnan(curves[name]) | (np.abs(curves[name] - 0.5) < 0.500001)).all()
        ):
            raise ValueError(f"{name} outside [0, 1]")
    picks = np.full((e, t + 1), -1, dtype=np.int64)
    picks[index, labels] = [int(row[column["pick"]] or -1) for row in table]

    def numbers(name: str) -> np.ndarray:
        return np.array([int(table[i][column[name]]) for i in first], dtype=np.int64)

    if bool((picks >= numbers("pool")[:, None]).any()):
        raise ValueError("a pick outside its pool")
    return Episodes(
        strategy=table[0][column["strategy"]],
        privileged=table[0][column["privileged"]] == "1",
        strata=np.array([key[0] for key in keys], dtype=object),
        seeds=numbers("seed"),
        way=numbers("way"),
        pool=numbers("pool"),
        budget=numbers("budget"),
        curves=curves,
        picks=picks[:, 1:],
        seconds=np.full(e, np.nan),
    )


def read_results(folder: Path, protocol: Protocol) -> dict[str, Episodes]:
    """Reads all cells of a finished or half-finished evaluation: strategy name → episodes.

    Strategies come in the protocol's order; cells that were never run are simply absent.

    Raises:
        InputError: no rows at all, or rows of another protocol among them.
    """
    parts: dict[str, list[Episodes]] = {c.name: [] for c in protocol.contestants}
    for path in sorted((folder / "rows").glob(f"*{SUFFIX}")):
        header, episodes = read_rows(path)
        check_header(path, header, protocol)
        timing = folder / "timing" / path.name.replace(SUFFIX, ".json")
        if timing.is_file():
            seconds = read_json(timing, f"timing={str(timing)!r}").get("seconds_per_query")
            episodes.seconds = np.full(len(episodes), seconds if isinstance(seconds, float) else np.nan)
        if episodes.strategy in parts:
            parts[episodes.strategy].append(episodes)
    results = {name: concatenate(cells) for name, cells in parts.items() if cells}
    if not results:
        raise InputError(f"results={str(folder)!r} holds no rows; run the evaluation first.")
    return results


def check_header(path: Path, header: dict[str, Any], protocol: Protocol) -> None:
    """Refuses a row file that another protocol or another version of its strategy wrote."""
    if header.get("protocol") != protocol.digest:
        raise InputError(
            f"rows={str(path)!r} belong to protocol {header.get('protocol')!r}, not {protocol.digest!r}; "
            "give another --out, or delete that folder."
        )
    digests = {c.name: c.digest for c in protocol.contestants}
    name = header.get("strategy")
    if name in digests and header.get("strategy_digest") != digests[name]:
        raise InputError(
            f"rows={str(path)!r} were played by another version of strategy {name!r}; "
            "give another --out, or delete those rows."
        )
