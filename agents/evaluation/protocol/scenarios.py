"""Scenarios from data, learners and the tasks wanted of them."""

from __future__ import annotations

from collections.abc import Collection

from agents.evaluation.protocol.loading import learner_digest, load_parts
from agents.evaluation.protocol.protocol import Scenario
from metaal_env.sampler import TaskSampler
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig


def fitted_scenario(
    dataset: str, split: str, learner: str, task: TaskConfig, fixed: Collection[str] = ()
) -> Scenario:
    """Returns the scenario with `task` shrunk to what the data set has, but for the settings in `fixed`.

    Raises:
        InputError: data or learner cannot be loaded or do not fit each other, or the tasks cannot be had.
    """
    data, weights = load_parts(dataset, split, learner)
    fitted, _ = fit_task(task, data, set(fixed))
    TaskSampler(data, fitted)
    return Scenario(dataset, split, fitted, learner, data.fingerprint, learner_digest(learner, weights))
