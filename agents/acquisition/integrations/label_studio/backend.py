"""Scores the tasks of Label Studio's projects with an acquisition policy.

Label Studio asks ``/predict`` for scores, serves the task with the *lowest* score of the chosen model version,
and reports every change to ``/webhook``. `server` speaks that protocol on the standard library;
`AcquisitionBackend` can be put behind any other server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from agents.acquisition.integrations.label_studio.connection import Connection
from agents.acquisition.integrations.label_studio.events import apply_event, project_number
from agents.acquisition.integrations.label_studio.label_config import LabelConfig, read_label_config
from agents.acquisition.integrations.label_studio.scoring import DONE, Score
from agents.acquisition.integrations.label_studio.store import TaskStore, is_task
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from agents.acquisition.integrations.label_studio.versions import Versions
from agents.acquisition.items.encoders import EncoderName
from agents.acquisition.policies import PolicySpec
from metaal_env.errors import InputError

SETUP_WAIT = 2.0
"""Seconds that /setup waits for a project to be read; Label Studio waits three."""


class AcquisitionBackend:
    """Remembers tasks and labels, and scores tasks with a policy.

    The pool of a project is every task that Label Studio told of, in requests and events, and, where it lets itself be
    read, all of the project's tasks. The model version names the content of that pool, its labels and the policy: the
    scores of one version are ranks in one pool, whatever the requests, also after a restart.

    Args:
        key: Entry of a task's ``data`` that is the item: a text, an image's address, or a list of numbers. By default
            the only one that the project's label config shows, else ``"text"``.
        policy: See `agents.acquisition.policies.load_policy`.
        encoder: For texts and images; see `encoders.encode`.
        state: File that keeps tasks and labels; None forgets them at the end.
        local_files: Folder of Label Studio's local files.
        connection: To Label Studio; by default the address and the token that its requests bring.
        report: Is given one line about each task that cannot be scored, and each failure to read a project.
    """

    def __init__(
        self,
        key: str | None = None,
        policy: PolicySpec = None,
        encoder: EncoderName = "auto",
        *,
        state: Path | None = None,
        local_files: Path | None = None,
        connection: Connection | None = None,
        report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ):
        self.key, self.local_files, self.connection, self.report = key, local_files, connection, report
        self._store = TaskStore(state)
        self._store_lock, self._read_lock = Lock(), Lock()
        self._complete: set[int] = set()
        self._reported: set[str] = set()
        self.pools = Versions(
            self._store,
            self._store_lock,
            key,
            policy,
            encoder,
            lambda: TaskFiles(self.local_files, self.connection),
            self._say,
        )

    def close(self) -> None:
        """Closes the file of tasks and labels."""
        self._store.close()

    def setup(self, request: Mapping[str, Any]) -> str:
        """Takes Label Studio's description of a project. Returns the model version.

        Raises:
            InputError: a label config that shows nothing that can be scored.
        """
        project = project_number(request.get("project"))
        self._note_label_config(project, request.get("schema") or request.get("label_config"))
        host, token = request.get("hostname"), request.get("access_token")
        if self.connection is None and token and str(host).startswith(("http://", "https://")):
            self.connection = Connection(str(host), str(token))
        self._label_config(project).key(self.key)
        # What happened while this server was down has sent no event, and an old version would keep it from being asked.
        reader = Thread(target=self._read_project, args=(project,), daemon=True)
        reader.start()
        reader.join(SETUP_WAIT)
        return self.model_version(project)

    def validate(self, label_config: str) -> None:
        """Refuses a label config that shows nothing that can be scored. Raises: `InputError`."""
        read_label_config(label_config).key(self.key)

    def model_version(self, project: int = 0) -> str:
        """Returns the version of a project; it differs after every change of tasks or labels."""
        with self._store_lock:
            return self.pools.snapshot(project).version

    def versions(self) -> list[str]:
        """Returns the current version of every project."""
        with self._store_lock:
            return [self.pools.snapshot(project).version for project in self._store.projects()]

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], project: Any = None, label_config: str | None = None
    ) -> list[dict[str, Any]]:
        """Scores tasks. Returns one prediction per task: score in [0, 1], lower = label first; a cluster; no result.

        Tasks that are answered, skipped or cannot be read score 1. What their ``annotations`` say replaces what is
        known of them.

        Raises:
            InputError: a task without id, or no task that can be read.
        """
        for task in tasks:
            if not is_task(task) or isinstance(task["id"], bool) or not isinstance(task["id"], (int, str)):
                raise InputError("every task needs an id and its data.")
        number = project_number(tasks[0].get("project") if project is None and tasks else project)
        self._note_label_config(number, label_config)
        self._read_project(number)
        with self._store_lock:
            self._store.set_tasks(number, tasks)
        snapshot, scores = self.pools.scored(number)
        found = [scores.get(int(task["id"]), Score(DONE)) for task in tasks]  # deleted meanwhile: served last
        if found and all(score.problem for score in found):
            raise InputError(str(found[0].problem))
        return [
            {"score": s.score, "cluster": s.cluster, "model_version": snapshot.version, "result": []}
            for s in found
        ]

    def fit(self, event: str, data: Mapping[str, Any]) -> str:
        """Takes one of Label Studio's events; unknown ones change nothing. Returns the version of its project.

        Raises:
            InputError: an event without what its kind always has.
        """
        with self._store_lock:
            project = apply_event(self._store, event, data)
        if event == "START_TRAINING":  # somebody pressed the button
            self._complete.discard(project)
            self._read_project(project)
        return self.model_version(project)

    def learn(self, tasks: Sequence[Mapping[str, Any]], project: Any = None) -> str:
        """Takes tasks with all their annotations, without scoring them. Returns the version of their project."""
        number = project_number(project)
        with self._store_lock:
            number = number or project_number(next((t.get("project") for t in filter(is_task, tasks)), None))
            self._store.set_tasks(number, tasks)
            return self.pools.snapshot(number).version

    def _note_label_config(self, project: int, label_config: Any) -> None:
        if isinstance(label_config, str) and label_config.strip():
            with self._store_lock:
                self._store.set_label_config(project, label_config)

    def _label_config(self, project: int) -> LabelConfig:
        with self._store_lock:
            return read_label_config(self._store.label_config(project))

    def _read_project(self, project: int) -> None:
        """Reads a project's tasks once, so that the first scores are already ranks in the whole project."""
        with self._read_lock:
            if self.connection is None or not project or project in self._complete:
                return
            self._complete.add(project)
            try:
                tasks = self.connection.tasks(project)
            except InputError as error:
                self._say(f"{error} The pool grows with requests and events instead.")
                return
            with self._store_lock:
                self._store.set_tasks(project, tasks)
                gone = self._store.tasks(project).keys() - {int(task["id"]) for task in tasks}
                self._store.delete_tasks(gone)

    def _say(self, line: str) -> None:
        if line not in self._reported:
            self._reported.add(line)
            self.report(line)
