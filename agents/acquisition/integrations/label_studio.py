"""A Label Studio ML backend: tasks are scored so that its uncertainty sampling serves the most useful first.

Label Studio asks ``/predict`` for scores, serves the task with the *lowest* score of the current model version,
and reports every annotation to ``/webhook``. `label_studio_http` speaks that protocol on the standard library;
`AcquisitionBackend` can be put behind any other server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch

from agents.acquisition.items.encoders import EncoderName, encode
from agents.acquisition.items.read_items import Items
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import query
from metaal_env.errors import InputError
from metaal_env.pool.clusters import k_means

CLUSTERS = 20
MIN_POOL = 2
ANSWERED = 1.0
"""Score of a task that has a label: served last."""


class AcquisitionBackend:
    """Remembers tasks and labels, and scores tasks with a policy.

    The pool is every task that was ever sent; labels come with the tasks' own annotations and from the
    webhook. Each change of the labels starts a new model version, as Label Studio needs to order tasks anew.

    Args:
        key: entry of a task's ``data`` that is the item: a text, or a list of numbers.
        policy: see `agents.acquisition.load_policy`.
        encoder: for texts; see `encoders.encode`.
    """

    def __init__(self, key: str = "text", policy: PolicySpec = None, encoder: EncoderName = "auto"):
        self.key, self.policy, self.encoder = key, policy, encoder
        self._data: dict[int, Any] = {}
        self._labels: dict[int, str] = {}
        self._round = 0
        self._vectors: np.ndarray | None = None
        self._scores: dict[int, tuple[float, int]] | None = None
        self._lock = Lock()

    @property
    def model_version(self) -> str:
        """New after every change of the labels."""
        return f"metaal-{self._round}"

    def predict(self, tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One prediction per task: score in [0, 1], lower = label first; a cluster; no result.

        Raises:
            InputError: a task without id or without the item under `key`.
        """
        with self._lock:
            for task in tasks:
                self._remember(task)
            if self._scores is None:
                self._scores = self._score()
            version = self.model_version
            found = [self._scores[int(task["id"])] for task in tasks]
        return [
            {"score": score, "cluster": cluster, "model_version": version, "result": []}
            for score, cluster in found
        ]

    def fit(self, event: str, data: Mapping[str, Any]) -> str:
        """Takes a webhook's event about an annotation; other events change nothing. Returns the version."""
        with self._lock:
            if event.startswith("ANNOTATION"):
                task = data.get("task") or {}
                if "data" in task:
                    self._remember({**task, "annotations": []})
                annotation = data.get("annotation") or {}
                ident = task.get("id", annotation.get("task"))
                if ident is None:
                    raise InputError("the event names no task.")
                deleted = event.startswith("ANNOTATIONS_DELETED") or event.startswith("ANNOTATION_DELETED")
                self._set_label(int(ident), None if deleted else choice_of(annotation))
            return self.model_version

    def _remember(self, task: Mapping[str, Any]) -> None:
        if not isinstance(task, Mapping) or "id" not in task or self.key not in (task.get("data") or {}):
            raise InputError(f"every task needs an id and {self.key!r} in its data.")
        ident, item = int(task["id"]), task["data"][self.key]
        if self._data.get(ident) != item:
            self._data[ident] = item
            self._vectors = self._scores = None
        for annotation in task.get("annotations") or []:
            label = choice_of(annotation)
            if label is not None and not annotation.get("was_cancelled"):
                self._set_label(ident, label)

    def _set_label(self, ident: int, label: str | None) -> None:
        if self._labels.get(ident) == label:
            return
        if label is None:
            del self._labels[ident]
        else:
            self._labels[ident] = label
        self._round += 1
        self._scores = None

    def _score(self) -> dict[int, tuple[float, int]]:
        """Task → (score, cluster)."""
        idents = list(self._data)
        x = self._encoded()
        y = np.array([self._labels.get(ident) for ident in idents], dtype=object)
        scores = np.full(len(idents), ANSWERED)
        open_ = np.array([label is None for label in y])
        if open_.any():
            _, utilities = query(x, y, policy=self.policy, missing_label=None, return_utilities=True)
            order = np.argsort(-utilities[0, open_], kind="stable")
            rank = np.empty(len(order))
            rank[order] = np.arange(len(order))
            scores[open_] = rank / (len(order) + 1)
        rows = torch.from_numpy(np.asarray(x, dtype=np.float32)).unsqueeze(0)
        wanted = torch.tensor([min(CLUSTERS, len(idents))])
        clusters = k_means(rows, torch.ones(1, len(idents)), wanted).assignment[0].tolist()
        return dict(zip(idents, zip(scores.tolist(), clusters, strict=True), strict=True))

    def _encoded(self) -> np.ndarray:
        if self._vectors is None:
            values = list(self._data.values())
            if all(isinstance(value, str) for value in values):
                ids = [str(ident) for ident in self._data]
                items = Items("tasks", ids, [None] * len(ids), values, texts=values)
                enough = len(values) >= MIN_POOL
                self._vectors = encode(items, self.encoder) if enough else np.ones((len(values), 1))
            else:
                try:
                    self._vectors = np.array(values, dtype=np.float64)
                except (ValueError, TypeError) as error:
                    raise InputError(
                        f"{self.key!r} must be a text or equally many numbers ({error})."
                    ) from error
        return self._vectors


def choice_of(annotation: Mapping[str, Any]) -> str | None:
    """The first choice of an annotation's result; None where nothing was chosen."""
    for region in annotation.get("result") or []:
        choices = (region.get("value") or {}).get("choices")
        if choices:
            return str(choices[0])
    return None
