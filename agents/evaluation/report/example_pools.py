"""An example pool in two dimensions, kept beside the rows so that redrawing needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from agents.evaluation.protocol.cells import core_of
from agents.evaluation.protocol.protocol import Protocol, Scenario
from metaal_env import render
from metaal_env.errors import InputError
from metaal_env.runtime.files import read_json


@torch.no_grad()
def project(scenario: Scenario, seed: int, device: str = "cpu") -> dict[str, list[float]]:
    """The pool of one task on its two principal components.

    Returns:
        ``x``, ``y`` coordinates and ``label`` true classes (−1 for distractors), and ``seed`` (one number).
    """
    core = core_of(scenario, device)
    state = core.reset(core.sampler.sample([np.random.default_rng(seed)]))
    flat = render.project(core.view(state))
    return {
        "x": np.round(flat[:, 0], 5).tolist(),
        "y": np.round(flat[:, 1], 5).tolist(),
        "label": state.task.pool_labels[0][state.task.pool_mask[0]].tolist(),
        "seed": [seed],
    }


def read_examples(path: Path) -> dict[str, dict[str, list[float]]]:
    """What `example_pools` made and `metaal evaluate` keeps; nothing when the file is missing or unusable."""
    try:
        found = read_json(path, "examples")
        for example in found.values():
            points = np.array([example["x"], example["y"], example["label"]], dtype=float)
            if points.ndim != 2 or not np.isfinite(points).all() or type(example["seed"][0]) is not int:
                return {}
    except (InputError, KeyError, TypeError, ValueError, IndexError):
        return {}  # it only decorates
    return found


def example_pools(protocol: Protocol, device: str = "cpu") -> dict[str, dict[str, list[float]]]:
    """Scenario key → the pool of its first task, for the first scenario."""
    scenario = protocol.scenarios[0]
    _, _, task_seeds = next(iter(protocol.blocks()))
    return {scenario.key: project(scenario, task_seeds[0], device)}
