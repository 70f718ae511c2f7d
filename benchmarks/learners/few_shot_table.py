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

LOG_HEAD = "learner,update,validation_loss,validation_accuracy,seconds"


def table(folder: Path, rows: dict[str, str], present: str = "") -> str:
    """Returns the rows measured so far, and the effect of acquisition-like meta-training where both its sides are.

    Args:
        folder: of `few_shot.py`'s records.
        rows: their names, with the published figures.
        present: a table written before, whose rows and effect stay where `folder` has no record.
    """
    records = {n: json.loads(f.read_text()) for n in rows if (f := folder / f"{n}.json").is_file()}
    lines = {line.split(" | ")[0][2:]: line for line in present.splitlines() if line.startswith("| ")}
    for name, record in records.items():
        lines[name] = f"| {name} | {describe(record)} | {rows[name]} | {training(record['training'])} |"
    text = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *(lines[n] for n in rows if n in lines)]
    pair = [records[n] for n in ("maml_head_scratch", "maml_head_balanced") if n in records]
    effect = effect_of_supports(*pair) if len(pair) == 2 else kept_effect(present)
    return "\n".join([*text, "", effect] if effect else text)


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


EFFECT = "Meta-trained on acquisition-like supports minus on balanced ones, same tasks: "


def effect_of_supports(acquisition: dict[str, Any], balanced: dict[str, Any]) -> str:
    """Returns the paired difference of two learners on the same tasks, with its 95 % interval."""
    parts = []
    for key in ("random 10", "unbalanced 10"):
        a, b = (np.asarray(record["figures"][key]["per_task"]) for record in (acquisition, balanced))
        half = 1.96 * (a - b).std(ddof=1) / len(a) ** 0.5
        parts.append(f"{100 * (a - b).mean():+.1f} ± {100 * half:.1f} points at {key} labels")
    return f"{EFFECT}{', '.join(parts)}."


def kept_effect(present: str) -> str:
    """Returns the sentence of `effect_of_supports` in a text, or nothing."""
    return next((line for line in present.splitlines() if line.startswith(EFFECT)), "")


def joined_logs(folder: Path, rows: dict[str, str], present: str = "") -> str:
    """Returns the validation curves of all trainings as one CSV; `present` is one written before, as in `table`."""
    head, *lines = present.splitlines() or [LOG_HEAD]
    curves: dict[str, list[str]] = {}
    for line in lines:
        curves.setdefault(line.partition(",")[0], []).append(line)
    for name in rows:
        if (file := folder / "logs" / f"{name}.csv").is_file():
            curves[name] = file.read_text().splitlines()[1:]
    return "\n".join([head, *(line for name in rows for line in curves.get(name, []))]) + "\n"
