"""The tasks and annotations that Label Studio has told of, kept in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metaal_env.errors import FileError, InputError, brief

APPLICATION = 0x6D65_7461
"""Marks the file as ours (SQLite's application_id)."""
_TABLES = """
CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, project INTEGER, data TEXT);
CREATE TABLE IF NOT EXISTS annotations (id INTEGER, task INTEGER, body TEXT, PRIMARY KEY (task, id));
CREATE INDEX IF NOT EXISTS annotation_ids ON annotations (id);
CREATE TABLE IF NOT EXISTS projects (id INTEGER PRIMARY KEY, label_config TEXT);
"""


class TaskStore:
    """Remembers tasks and annotations of one Label Studio, where the ids of both are unique.

    Every change is on disk before the method returns. Several processes may share a file.

    Args:
        path: The file; None keeps everything in memory.

    Raises:
        InputError: a file that is no store of ours.
        FileError: a file that cannot be written.
    """

    def __init__(self, path: Path | None = None):
        what = f"state={str(path)!r}"
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=10, check_same_thread=False)
            with self._db:
                mark, empty = self._number("PRAGMA application_id"), not self._number("PRAGMA page_count")
                if mark != APPLICATION and not empty:
                    raise InputError(f"{what} is a database of something else; give another file.")
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            self._db.executescript(_TABLES)
        except sqlite3.OperationalError as error:
            raise FileError(f"{what} cannot be written ({brief(error)}); give another place.") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(
                f"{what} is not a file of metaal serve ({brief(error)}); give another."
            ) from error

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @property
    def changes(self) -> tuple[int, int]:
        """Returns a pair that differs after every change, whether by this process or by another."""
        return self._db.total_changes, self._number("PRAGMA data_version")

    def set_tasks(self, project: int, tasks: Iterable[Mapping[str, Any]]) -> None:
        """Remembers tasks; what lacks an id or data is passed over.

        The annotations of tasks that have an entry of them replace the ones known.
        """
        with self._db:
            for task in filter(is_task, tasks):
                row = (int(task["id"]), project, json.dumps(task["data"], sort_keys=True))
                known = self._db.execute(
                    "SELECT id, project, data FROM tasks WHERE id = ?", row[:1]
                ).fetchone()
                if known != row:
                    self._db.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?)", row)
                if isinstance(task.get("annotations"), list):
                    self._replace(row[0], task["annotations"])

    def set_annotations(self, task: int, annotations: Iterable[Mapping[str, Any]]) -> None:
        """Replaces all annotations of a task."""
        with self._db:
            self._replace(task, annotations)

    def set_annotation(self, task: int, annotation: Mapping[str, Any]) -> None:
        """Adds an annotation, or replaces the one of the same id."""
        with self._db:
            known = dict(self._db.execute("SELECT id, body FROM annotations WHERE task = ?", (task,)))
            ident, body = _row(0, annotation)
            self._insert(task, {} if known.get(ident) == body else {ident: body})

    def _replace(self, task: int, annotations: Iterable[Mapping[str, Any]]) -> None:
        wanted = dict(_row(i, a) for i, a in enumerate(annotations) if isinstance(a, Mapping))
        known = dict(self._db.execute("SELECT id, body FROM annotations WHERE task = ?", (task,)))
        for ident in known.keys() - wanted.keys():
            self._db.execute("DELETE FROM annotations WHERE task = ? AND id = ?", (task, ident))
        self._insert(task, {i: body for i, body in wanted.items() if known.get(i) != body})

    def _insert(self, task: int, bodies: Mapping[int, str]) -> None:
        rows = [(ident, task, body) for ident, body in bodies.items()]
        self._db.executemany("INSERT OR REPLACE INTO annotations VALUES (?, ?, ?)", rows)

    def delete_annotations(self, idents: Iterable[int]) -> None:
        """Forgets annotations by their ids, whichever tasks they belong to."""
        with self._db:
            self._db.executemany("DELETE FROM annotations WHERE id = ?", [(ident,) for ident in idents])

    def delete_tasks(self, idents: Iterable[int]) -> None:
        """Forgets tasks and their annotations."""
        with self._db:
            for ident in idents:
                self._db.execute("DELETE FROM tasks WHERE id = ?", (ident,))
                self._db.execute("DELETE FROM annotations WHERE task = ?", (ident,))

    def set_label_config(self, project: int, label_config: str) -> None:
        """Remembers a project's labelling interface."""
        if self.label_config(project) != label_config:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO projects VALUES (?, ?)", (project, label_config))

    def label_config(self, project: int) -> str:
        """Returns a project's labelling interface; empty where it is unknown."""
        query = "SELECT label_config FROM projects WHERE id = ?"
        found = self._db.execute(query, (project,)).fetchone()
        return found[0] if found else ""

    def project_of(self, task: int) -> int | None:
        """Returns the project of a task that is known."""
        found = self._db.execute("SELECT project FROM tasks WHERE id = ?", (task,)).fetchone()
        return found[0] if found else None

    def projects(self) -> list[int]:
        """Returns the projects of which tasks are known."""
        return [p for (p,) in self._db.execute("SELECT DISTINCT project FROM tasks ORDER BY project")]

    def tasks(self, project: int) -> dict[int, Any]:
        """Returns id → data of a project's tasks, by id."""
        query = "SELECT id, data FROM tasks WHERE project = ? ORDER BY id"
        return {ident: json.loads(data) for ident, data in self._db.execute(query, (project,))}

    def annotations(self, project: int) -> dict[int, list[dict[str, Any]]]:
        """Returns task → annotations of a project, for tasks that have any."""
        found: dict[int, list[dict[str, Any]]] = {}
        query = "SELECT a.task, a.body FROM annotations a JOIN tasks t ON a.task = t.id WHERE t.project = ?"
        for task, body in self._db.execute(f"{query} ORDER BY a.task, a.id", (project,)):
            found.setdefault(task, []).append(json.loads(body))
        return found

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])


def is_task(value: Any) -> bool:
    """Returns whether a value is a task with its id and its data."""
    return isinstance(value, Mapping) and "id" in value and isinstance(value.get("data"), Mapping)


def _row(position: int, annotation: Mapping[str, Any]) -> tuple[int, str]:
    """Returns id and what counts of an annotation. One without id takes its place in the list, below all real ids."""
    ident = annotation.get("id")
    kept = {key: annotation.get(key) for key in ("result", "was_cancelled", "ground_truth")}
    number = -1 - position if ident is None else int(ident)
    return number, json.dumps({"id": number, **kept}, sort_keys=True)
