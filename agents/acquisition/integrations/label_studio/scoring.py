"""Ranks of a project's tasks by their utility."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from agents.acquisition.integrations.label_studio.label_config import read_label_config
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from agents.acquisition.integrations.label_studio.task_items import EncodedTasks, encode_tasks
from agents.acquisition.items.encoders import EncoderName
from agents.acquisition.items.label_studio_answers import Answer
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import query
from metaal_env.pool.clusters import k_means

CLUSTERS = 20
DONE = 1.0
"""Score of a task that is answered, skipped or unreadable: served last."""


class Snapshot(NamedTuple):
    """Holds what is known of a project under one model version.

    Attributes:
        project: Its number.
        version: Name of this state.
        label_config: Its labelling interface, as XML.
        tasks: Task → data.
        answers: Task → answer.
    """

    project: int
    version: str
    label_config: str
    tasks: dict[int, Any]
    answers: dict[int, Answer]


class Score(NamedTuple):
    """The score of a task, its cluster, and why it could not be read."""

    score: float
    cluster: int = 0
    problem: str | None = None


def encode_snapshot(
    snapshot: Snapshot, key: str | None, encoder: EncoderName, files: TaskFiles
) -> EncodedTasks:
    """Encodes all tasks of a project.

    Raises:
        InputError: no entry of the tasks can be the item, or items of different kinds.
    """
    config = read_label_config(snapshot.label_config)
    entry = config.key(key)
    tag, is_address = config.objects.get(entry), entry in config.addresses
    return encode_tasks(snapshot.tasks, entry, tag, files, encoder, is_address)


def score_tasks(snapshot: Snapshot, encoded: EncodedTasks, policy: PolicySpec) -> dict[int, Score]:
    """Scores all tasks of a project. Returns task → score.

    The n open tasks get the scores 0, 1/(n + 1), …, (n − 1)/(n + 1) in the order of their utilities.
    """
    scores = {task: Score(DONE, 0, problem) for task, problem in encoded.problems.items()}
    if not encoded.ids:
        return scores
    choices = read_label_config(snapshot.label_config).choices
    answers = [snapshot.answers[task] for task in encoded.ids]
    labels = [answer.label for answer in answers]
    open_tasks = np.flatnonzero([not answer.done for answer in answers])
    ranks = np.full(len(labels), DONE)
    if len(open_tasks):
        seen = dict.fromkeys([*choices, *(label for label in labels if label is not None)])
        _, utilities = query(
            encoded.vectors,
            np.array(labels, dtype=object),
            candidates=open_tasks,
            policy=policy,
            missing_label=None,
            classes=list(seen) if choices and len(seen) > 1 else None,
            return_utilities=True,
        )
        order = open_tasks[np.argsort(-utilities[0, open_tasks], kind="stable")]
        ranks[order] = np.arange(len(order)) / (len(order) + 1)
    clusters = _clusters(encoded.vectors)
    return scores | {
        task: Score(float(rank), cluster)
        for task, rank, cluster in zip(encoded.ids, ranks, clusters, strict=True)
    }


def _clusters(vectors: np.ndarray) -> list[int]:
    rows = torch.from_numpy(np.asarray(vectors, dtype=np.float32)).unsqueeze(0)
    wanted = torch.tensor([min(CLUSTERS, len(vectors))])
    assignment: list[int] = k_means(rows, torch.ones(1, len(vectors)), wanted).assignment[0].tolist()
    return assignment
