"""`make_core`: puts data set, learner, tasks and reward together, given by name."""

from __future__ import annotations

import numbers
import warnings
from dataclasses import fields, replace
from inspect import signature
from typing import Any

import torch

from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset, Split
from metaal_env.errors import InputError, OptionError
from metaal_env.learners import InnerLearner, load_learner
from metaal_env.rewards import REWARDS, Reward
from metaal_env.runtime.forks import use_one_thread_after_fork
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig


def make_core(
    dataset: str | ClassDataset = "glyphs",
    *,
    split: Split = "train",
    learner: str | InnerLearner = "prototype",
    task: TaskConfig | None = None,
    reward: str | Reward = "aulc",
    target_accuracy: float | None = None,
    device: str | torch.device = "auto",
    **task_options: Any,
) -> Core:
    """Builds a core from names.

    Args:
        dataset: registered name, path of a file or folder, or a `ClassDataset`.
        split: part of the data set from which tasks are drawn.
        learner: registered name, saved learner or run folder, or an `InnerLearner`.
        task: settings of the tasks; `task_options` (``way=5, budget=10, …``) override its fields. Without `task`,
            defaults that the data cannot supply are lowered with a warning that names them; options are not.
        reward: registered name or a callable.
        target_accuracy: accuracy in (0, 1] at which episodes end early.
        device: ``"cpu"``, a CUDA device, or ``"auto"``: the GPU if there is one, else the CPU.

    Raises:
        InputError: an argument is unknown, out of range or does not fit another.
    """
    use_one_thread_after_fork()
    known = {f.name for f in fields(TaskConfig)}
    if unknown := sorted(set(task_options) - known):
        options = known | set(signature(make_core).parameters) - {"task_options"}
        raise OptionError(
            f"{unknown[0]}={task_options[unknown[0]]!r} is an unexpected keyword argument {unknown[0]!r}; "
            f"beside the environment's own there are {', '.join(sorted(options))}."
        )
    config = replace(task or TaskConfig(), **task_options)
    if target_accuracy is not None and not (
        isinstance(target_accuracy, numbers.Real) and 0 < target_accuracy <= 1
    ):
        raise InputError(f"target_accuracy={target_accuracy!r} must lie in (0, 1], or be None.")
    chosen_reward = REWARDS[reward] if isinstance(reward, str) else reward
    if not callable(chosen_reward):
        raise InputError(f"reward={reward!r} must be a name or a function.")
    data = (dataset if isinstance(dataset, ClassDataset) else load_dataset(dataset)).split(split)
    if task is None:
        config, changes = fit_task(config, data, set(task_options))
        if changes:
            warnings.warn(f"dataset={data.name!r}: fitted to the data: {', '.join(changes)}.", stacklevel=2)
    inner = load_learner(learner, data.input_shape) if isinstance(learner, str) else learner
    if not isinstance(inner, InnerLearner):
        raise InputError(f"learner={learner!r} must be a name, a path or an InnerLearner.")
    return Core(data, inner, config, chosen_reward, target_accuracy, check_device(device))


def check_device(device: str | torch.device) -> torch.device:
    """Returns the device of that name; ``"auto"`` is the GPU if this process can use one, else the CPU.

    Raises:
        InputError: the name is malformed, or the GPU is not there.
    """
    if device == "auto":
        usable = torch.cuda.is_available() and not torch.cuda._is_in_bad_fork()
        return torch.device("cuda" if usable else "cpu")
    try:
        whole = isinstance(device, int) and not isinstance(device, bool)
        # torch takes a number for any accelerator.
        checked = torch.device(f"cuda:{device}" if whole else device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"device={device!r} is unknown; use 'auto', 'cpu' or 'cuda'.") from error
    if checked.type == "cuda" and torch.cuda._is_in_bad_fork():  # as torch itself asks before it refuses
        raise InputError(
            f"device={device!r} cannot be used in a process that was forked after the GPU's first use; start the "
            'workers with context="spawn".'
        )
    if checked.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device={device!r} was asked for, but this machine has no usable GPU; use device='cpu'."
        )
    return checked
