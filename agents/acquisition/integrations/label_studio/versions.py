"""Versions of a project's pool: what each names, and the scores of its tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from threading import Lock

from agents.acquisition.integrations.label_studio.scoring import Score, Snapshot, encode_snapshot, score_tasks
from agents.acquisition.integrations.label_studio.store import TaskStore
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from agents.acquisition.integrations.label_studio.task_items import EncodedTasks
from agents.acquisition.items.encoders import EncoderName
from agents.acquisition.items.label_studio_answers import Answer, answer_of
from agents.acquisition.items.text_encoders import minilm_installed
from agents.acquisition.policies import PolicySpec, policy_name
from agents.evaluation.protocol.loading import strategy_digest

KEPT_VERSIONS = 8
"""Scores of the latest model versions that are kept in memory."""


class Versions:
    """Names the states of every project and scores their tasks, each state once.

    Args:
        store: tasks and labels.
        lock: of the store.
        key, policy, encoder: see `AcquisitionBackend`.
        files: Returns what opens the tasks' images.
        report: Is given one line about each task that cannot be scored.
    """

    def __init__(
        self,
        store: TaskStore,
        lock: Lock,
        key: str | None,
        policy: PolicySpec,
        encoder: EncoderName,
        files: Callable[[], TaskFiles],
        report: Callable[[str], None],
    ):
        self.store, self.lock, self.files, self.report = store, lock, files, report
        self.key, self.policy, self.encoder = key, policy, encoder
        self._score_lock = Lock()
        self._snapshots: dict[int, tuple[tuple[int, int], Snapshot]] = {}
        self._scores: dict[str, dict[int, Score]] = {}
        self._encoded: dict[int, tuple[object, EncodedTasks]] = {}
        self._unreadable: dict[int, list[int]] = {}

    def snapshot(self, project: int) -> Snapshot:
        """Returns what is known of a project now. Call with the store's lock."""
        changes = self.store.changes
        kept = self._snapshots.get(project)
        if kept is None or kept[0] != changes:
            tasks = self.store.tasks(project)
            annotations = self.store.annotations(project)
            answers = {
                task: answer_of(annotations[task]) if task in annotations else Answer() for task in tasks
            }
            label_config = self.store.label_config(project)
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
        """Lists what scores depend on besides the pool."""
        try:
            release = version("metaal")
        except PackageNotFoundError:
            release = ""
        texts = "minilm" if minilm_installed() else "tfidf"
        return [release, str(self.key), self.encoder, texts, policy_fingerprint(self.policy)]

    def scored(self, project: int) -> tuple[Snapshot, dict[int, Score]]:
        """Returns the current state of a project and the scores of its tasks."""
        with self._score_lock:
            while True:
                with self.lock:
                    snapshot = self.snapshot(project)
                if snapshot.version in self._scores:
                    return snapshot, self._scores[snapshot.version]
                encoded = self._encode(snapshot)
                unreadable = sorted(encoded.problems)
                with self.lock:
                    if self._unreadable.get(project, []) == unreadable:
                        break
                    # Another pool, so another version: one version's scores stay comparable when a file turns up.
                    self._unreadable[project] = unreadable
                    self._snapshots.pop(project, None)
            for problem in sorted(set(encoded.problems.values())):
                self.report(problem)
            while len(self._scores) >= KEPT_VERSIONS:
                del self._scores[next(iter(self._scores))]
            scores = self._scores[snapshot.version] = score_tasks(snapshot, encoded, self.policy)
            return snapshot, scores

    def _encode(self, snapshot: Snapshot) -> EncodedTasks:
        """The vectors of a project's tasks, encoded anew when tasks have changed."""
        content = snapshot.tasks, snapshot.label_config
        kept = self._encoded.get(snapshot.project)
        if kept is None or kept[0] != content:
            kept = content, encode_snapshot(snapshot, self.key, self.encoder, self.files())
            self._encoded[snapshot.project] = kept
        return kept[1]


def policy_fingerprint(policy: PolicySpec) -> str:
    """Returns a text that differs for policies with other files, also where their name or folder is the same.

    A strategy that is an object is told apart by its class alone.
    """
    name = policy_name(policy)
    return f"{name} {strategy_digest(name)}"
