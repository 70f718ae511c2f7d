"""Scores the tasks of Label Studio's projects with an acquisition policy.

Label Studio asks ``/predict`` for scores, serves the task with the *lowest* score of the chosen model version,
and reports every change to ``/webhook``. `server` speaks that protocol on the standard library;
`AcquisitionBackend` can be put behind any other server.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from agents.acquisition.integrations.label_studio.answers import Answer, answer_of
from agents.acquisition.integrations.label_studio.connection import Connection
from agents.acquisition.integrations.label_studio.events import apply_event, project_number
from agents.acquisition.integrations.label_studio.label_config import LabelConfig, read_label_config
from agents.acquisition.integrations.label_studio.scoring import (
    DONE,
    Score,
    Snapshot,
    encode_snapshot,
    score_tasks,
)
from agents.acquisition.integrations.label_studio.store import TaskStore
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from agents.acquisition.integrations.label_studio.task_items import EncodedTasks
from agents.acquisition.items.encoders import EncoderName
from agents.acquisition.items.text_encoders import minilm_installed
from agents.acquisition.policies import PolicySpec
from metaal_env.errors import InputError

SETUP_WAIT = 2.0
"""Seconds that /setup waits for a project to be read; Label Studio waits three."""
KEPT_VERSIONS = 8
"""Scores of the latest model versions that are kept in memory."""


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
        self.key, self.policy, self.encoder = key, policy, encoder
        self.local_files, self.connection, self.report = local_files, connection, report
        self._store = TaskStore(state)
        self._store_lock, self._score_lock, self._read_lock = Lock(), Lock(), Lock()
        self._snapshots: dict[int, tuple[tuple[int, int], Snapshot]] = {}
        self._scores: dict[str, dict[int, Score]] = {}
        self._encoded: dict[int, tuple[object, EncodedTasks]] = {}
        self._unreadable: dict[int, list[int]] = {}
        self._complete: set[int] = set()
        self._reported: set[str] = set()

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
            return self._snapshot(project).version

    def versions(self) -> list[str]:
        """Returns the current version of every project."""
        with self._store_lock:
            return [self._snapshot(project).version for project in self._store.projects()]

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
            if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
                raise InputError("every task needs an id and its data.")
            if isinstance(task.get("id"), bool) or not isinstance(task.get("id"), (int, str)):
                raise InputError("every task needs an id and its data.")
        number = project_number(project)
        if project is None and tasks:
            number = project_number(tasks[0].get("project"))
        self._note_label_config(number, label_config)
        self._read_project(number)
        with self._store_lock:
            self._store.set_tasks(number, tasks)
        snapshot, scores = self._scored(number)
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
            whole = [
                t
                for t in tasks
                if isinstance(t, Mapping) and isinstance(t.get("data"), Mapping) and "id" in t
            ]
            number = number or project_number(next((t.get("project") for t in whole), None))
            self._store.set_tasks(number, whole)
            return self._snapshot(number).version

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
                self._store.set_tasks(project, [t for t in tasks if isinstance(t.get("data"), Mapping)])
                gone = self._store.tasks(project).keys() - {int(task["id"]) for task in tasks}
                self._store.delete_tasks(gone)

    def _snapshot(self, project: int) -> Snapshot:
        """What is known of a project now. Call with the store's lock."""
        changes = self._store.changes
        kept = self._snapshots.get(project)
        if kept is None or kept[0] != changes:
            tasks = self._store.tasks(project)
            annotations = self._store.annotations(project)
            answers = {
                task: answer_of(annotations[task]) if task in annotations else Answer() for task in tasks
            }
            label_config = self._store.label_config(project)
            unreadable = self._unreadable.get(project, [])
            content = [
                label_config,
                *self._settings(),
                unreadable,
                [(t, tasks[t], answers[t]) for t in tasks],
            ]
            digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6)
            snapshot = Snapshot(project, f"metaal-{digest.hexdigest()}", label_config, tasks, answers)
            kept = self._snapshots[project] = changes, snapshot
        return kept[1]

    def _settings(self) -> list[str]:
        """What scores depend on besides the pool."""
        try:
            release = version("metaal")
        except PackageNotFoundError:
            release = ""
        texts = "minilm" if minilm_installed() else "tfidf"
        return [release, str(self.key), self.encoder, texts, policy_fingerprint(self.policy)]

    def _scored(self, project: int) -> tuple[Snapshot, dict[int, Score]]:
        """The current state of a project and the scores of its tasks."""
        with self._score_lock:
            while True:
                with self._store_lock:
                    snapshot = self._snapshot(project)
                if snapshot.version in self._scores:
                    return snapshot, self._scores[snapshot.version]
                encoded = self._encode(snapshot)
                unreadable = sorted(encoded.problems)
                with self._store_lock:
                    if self._unreadable.get(project, []) == unreadable:
                        break
                    # Another pool, so another version: one version's scores stay comparable when a file turns up.
                    self._unreadable[project] = unreadable
                    self._snapshots.pop(project, None)
            for problem in sorted(set(encoded.problems.values())):
                self._say(problem)
            while len(self._scores) >= KEPT_VERSIONS:
                del self._scores[next(iter(self._scores))]
            scores = self._scores[snapshot.version] = score_tasks(snapshot, encoded, self.policy)
            return snapshot, scores

    def _encode(self, snapshot: Snapshot) -> EncodedTasks:
        """The vectors of a project's tasks, encoded anew when tasks have changed."""
        content = snapshot.tasks, snapshot.label_config
        kept = self._encoded.get(snapshot.project)
        if kept is None or kept[0] != content:
            files = TaskFiles(self.local_files, self.connection)
            kept = content, encode_snapshot(snapshot, self.key, self.encoder, files)
            self._encoded[snapshot.project] = kept
        return kept[1]

    def _say(self, line: str) -> None:
        if line not in self._reported:
            self._reported.add(line)
            self.report(line)


def policy_fingerprint(policy: PolicySpec) -> str:
    """Returns a text that differs for policies with other weights, also where their name or folder is the same."""
    if policy is None or not isinstance(policy, (str, Path)):
        return repr(policy) if policy is None else f"{type(policy).__name__} {getattr(policy, 'name', '')}"
    path = Path(policy)
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []:
        digest.update(file.read_bytes())
    return f"{policy} {digest.hexdigest()}"
