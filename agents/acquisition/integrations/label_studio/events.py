"""Label Studio's webhook events, applied to the store of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.acquisition.integrations.label_studio.store import TaskStore
from metaal_env.errors import InputError

SET_ANNOTATIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED", "ANNOTATIONS_UPDATED")
DELETED_ANNOTATIONS = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")
SET_TASKS = ("TASK_CREATED", "TASK_UPDATED", "TASKS_CREATED", "TASKS_UPDATED")
DELETED_TASKS = ("TASK_DELETED", "TASKS_DELETED")


def apply_event(store: TaskStore, event: str, data: Mapping[str, Any]) -> int:
    """Takes what an event says of tasks and annotations; unknown events say nothing. Returns the project.

    Events name one thing or a list of them. Those without content (a webhook with ``send_payload`` off) change nothing.
    Deleted annotations and tasks are named by their ids alone.

    Raises:
        InputError: an annotation without its task, or a deletion that names nothing.
    """
    project = data.get("project")
    number = project_number(project)
    if isinstance(project, Mapping) and isinstance(project.get("label_config"), str):
        store.set_label_config(number, project["label_config"])
    tasks = _listed(data, "task", "tasks")
    annotations = _listed(data, "annotation", "annotations")
    if not number:
        number = project_number(
            next((x["project"] for x in (*tasks, *annotations) if x.get("project")), None)
        )
    if event in SET_TASKS or event in SET_ANNOTATIONS:
        store.set_tasks(number, tasks)
    if event in SET_ANNOTATIONS:
        for position, annotation in enumerate(annotations):
            task_id = annotation.get("task")
            if task_id is None and len(tasks) == len(annotations):
                task_id = tasks[position].get("id")
            if task_id is None:
                raise InputError("the event names no task.")
            store.set_annotation(int(task_id), annotation)
            number = number or store.project_of(int(task_id)) or 0
    elif event in DELETED_ANNOTATIONS:
        idents = [int(a["id"]) for a in annotations if "id" in a]
        store.delete_annotations(idents)
        if not idents and tasks:
            for task in tasks:
                store.set_annotations(int(task["id"]), [])
    elif event in DELETED_TASKS:
        store.delete_tasks(int(task["id"]) for task in tasks if "id" in task)
    elif event == "PROJECT_DELETED" and number:
        store.delete_tasks(store.tasks(number))
    return number


def project_number(project: Any) -> int:
    """Returns a project's id from an id, from ``"id.timestamp"`` as requests have it, or from its description."""
    if isinstance(project, Mapping):
        project = project.get("id")
    head = str(project if project is not None else "").partition(".")[0]
    return int(head) if head.isascii() and head.isdigit() else 0


def _listed(data: Mapping[str, Any], *keys: str) -> list[Mapping[str, Any]]:
    """The things under any of the keys, whether one or many; bare numbers are ids."""
    found = []
    for key in keys:
        value = data.get(key)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Mapping):
                found.append(entry)
            elif isinstance(entry, int) and not isinstance(entry, bool):
                found.append({"id": entry})
    return found
