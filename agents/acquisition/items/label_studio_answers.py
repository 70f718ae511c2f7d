"""Reads what people answered: one class per task, or that there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """Holds what is known of a task.

    Attributes:
        label: Its class; None where nobody has chosen one.
        done: Whether somebody has answered or skipped it.
    """

    label: str | None = None
    done: bool = False


def answer_of(annotations: Iterable[Mapping[str, Any]]) -> Answer:
    """Returns the answer to a task from all its annotations.

    Ground truths outvote others, and the most frequent class wins; of equally frequent ones the earliest. Annotations
    without a class (regions, texts, numbers, nothing chosen) and skips are no label, but the task is done.
    """
    given = sorted(annotations, key=_number)
    kept = [a for a in given if not a.get("was_cancelled")]
    kept = [a for a in kept if a.get("ground_truth")] or kept
    classes = [label for label in map(class_of, kept) if label is not None]
    return Answer(Counter(classes).most_common(1)[0][0] if classes else None, bool(given))


def _number(annotation: Mapping[str, Any]) -> int:
    """Annotations are numbered as they come; those of drafts have texts for ids."""
    number = annotation.get("id")
    return number if isinstance(number, int) else 0


def class_of(annotation: Mapping[str, Any]) -> str | None:
    """Returns the class that an annotation chooses; None where it chooses none.

    Several choices of one control are one class, e.g. ``"sports + politics"``; the answers of several controls are
    named and joined, e.g. ``"mood: glad; topic: sports"``.
    """
    chosen: dict[str, set[str]] = {}
    for region in annotation.get("result") or []:
        if isinstance(region, Mapping) and isinstance(region.get("value"), Mapping):
            names = choices_of(region["value"])
            if names:
                chosen.setdefault(str(region.get("from_name") or ""), set()).update(names)
    parts = {name: " + ".join(sorted(values)) for name, values in sorted(chosen.items())}
    if len(parts) == 1:
        return next(iter(parts.values()))
    return "; ".join(f"{name}: {value}" for name, value in parts.items()) or None


def choices_of(value: Mapping[str, Any]) -> list[str]:
    """Returns the classes that a value of Label Studio names."""
    if value.get("choices"):
        return [str(choice) for choice in _listed(value["choices"])]
    if value.get("taxonomy"):
        return [" / ".join(map(str, _listed(path))) for path in _listed(value["taxonomy"])]
    if value.get("rating") is not None:
        return [str(value["rating"])]
    if value.get("selected"):
        return [str(value["selected"])]
    return []


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
