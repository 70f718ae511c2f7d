"""The figures of `few_shot.py` as a Markdown table, and its trainings as one small log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HEAD = (
    "learner", "5-way 1-shot", "5-way 5-shot", "20-way 1-shot", "20-way 5-shot", "10 random labels",
    "worst ECE, 1…10", "10 unbalanced labels", "worst ECE, 1…10", "published 5-way 1 / 5, 20-way 1 / 5",
    "meta-training",
)  # fmt: skip


def table(folder: Path, rows: dict[str, str]) -> str:
    """The rows measured so far, and the effect of acquisition-like meta-training where both its sides are.

    Args:
        folder: of `few_shot.py`'s records.
        rows: their names, with the published figures.
    """
    records = {n: json.loads(f.read_text()) for n in rows if (f := folder / f"{n}.json").is_file()}
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for name, record in records.items():
        lines.append(f"| {name} | {describe(record)} | {rows[name]} | {training(record['training'])} |")
    pair = [records[n] for n in ("maml_head_scratch", "maml_head_balanced") if n in records]
    if len(pair) == 2:
        lines += ["", effect_of_supports(*pair)]
    return "\n".join(lines)


def describe(record: dict[str, Any]) -> str:
    """Accuracies in per cent, calibration errors as they are."""
    f = record["figures"]

    def percent(name: str) -> str:
        if name not in f:
            return "–"
        return f"{100 * f[name]['accuracy']:.1f} ± {100 * f[name]['half_width']:.1f}"

    def worst(kind: str) -> str:
        return f"{max(f[f'{kind} {n}']['calibration_error'] for n in range(1, 11) if f'{kind} {n}' in f):.3f}"

    balanced = [percent(f"{way}-way {shots}-shot") for way in (5, 20) for shots in (1, 5)]
    return " | ".join(
        [*balanced, percent("random 10"), worst("random"), percent("unbalanced 10"), worst("unbalanced")]
    )


def training(record: dict[str, Any]) -> str:
    if not record:
        return "none"
    start = f", body from {record['start']}" if record["start"] else ""
    return f"{record['config']['iterations']} updates, {record['seconds'] / 60:.0f} min{start}"


def effect_of_supports(acquisition: dict[str, Any], balanced: dict[str, Any]) -> str:
    """Paired difference of two learners on the same tasks, with its 95 % interval."""
    parts = []
    for key in ("random 10", "unbalanced 10"):
        a, b = (np.asarray(record["figures"][key]["per_task"]) for record in (acquisition, balanced))
        half = 1.96 * (a - b).std(ddof=1) / len(a) ** 0.5
        parts.append(f"{100 * (a - b).mean():+.1f} ± {100 * half:.1f} points at {key} labels")
    return (
        "Meta-trained on acquisition-like supports minus on balanced ones, same tasks: "
        + ", ".join(parts)
        + "."
    )


def joined_logs(folder: Path, rows: dict[str, str]) -> str:
    """The validation curves of all trainings, as one CSV."""
    logs = [file.read_text().splitlines() for n in rows if (file := folder / "logs" / f"{n}.csv").is_file()]
    return "\n".join([logs[0][0], *(line for log in logs for line in log[1:])]) + "\n" if logs else ""
