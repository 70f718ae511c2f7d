"""Requests and events as Label Studio 1.23 sends them (recorded; fields that nothing reads are left out)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CHOICES = """<View><Text name="t" value="$text"/>
<Choices name="c" toName="t"><Choice value="bird"/><Choice value="fox"/></Choices></View>"""
STAMP = "2026-11-28T16:25:15.218567Z"


def region(kind: str, value: Any, control: str = "c") -> dict[str, Any]:
    return {"from_name": control, "to_name": "t", "type": kind, "value": {kind: value}, "id": "x1y2z3"}


def annotation(ident: int, task: int, *choices: str, **changes: Any) -> dict[str, Any]:
    result = [region("choices", list(choices))] if choices else []
    return {
        "id": ident,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": STAMP,
        "updated_at": STAMP,
        "lead_time": 3.2,
        "prediction": {},
        "result_count": len(result),
        "task": task,
        "project": 2,
        "completed_by": 1,
        "parent_prediction": None,
    } | changes


def task(ident: int, text: str, *annotations: dict[str, Any], project: int = 2) -> dict[str, Any]:
    """As /predict has it: with all annotations."""
    return {
        **event_task(ident, text, project),
        "annotations": list(annotations),
        "predictions": [],
    }


def event_task(ident: int, text: str, project: int = 2) -> dict[str, Any]:
    """As events have it: without annotations."""
    return {
        "id": ident,
        "data": {"text": text},
        "meta": {},
        "created_at": STAMP,
        "is_labeled": False,
        "overlap": 1,
        "inner_id": ident,
        "total_annotations": 0,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "project": project,
        "file_upload": None,
    }


def event(action: str, **content: Any) -> dict[str, Any]:
    project = {"id": 2, "task_number": 7, "title": "test", "label_config": CHOICES, "created_at": STAMP}
    return {"action": action, **content, "project": project}


def predict(tasks: Sequence[dict[str, Any]], label_config: str = CHOICES, project: int = 2) -> dict[str, Any]:
    return {
        "tasks": list(tasks),
        "project": f"{project}.1795883112",
        "label_config": label_config,
        "params": {"login": None, "password": None, "context": None},
    }


def setup(label_config: str = CHOICES, **changes: Any) -> dict[str, Any]:
    return {"project": "2.1795883112", "schema": label_config, "extra_params": None} | changes
