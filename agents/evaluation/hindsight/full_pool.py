"""Measures a learner once everything is labelled: what label counts are compared with."""

from __future__ import annotations

import numpy as np
import torch

from metaal_env.core import Core
from metaal_env.metrics import score_logits


@torch.no_grad()
def full_pool_accuracy(core: Core, n_tasks: int) -> float:
    """Returns the mean test accuracy of `n_tasks` tasks once every item of their pools is labelled."""
    task = core.sampler.sample([np.random.default_rng(seed) for seed in range(n_tasks)]).to(core.device)
    known = task.pool_mask & (task.pool_labels >= 0)
    adapted = core.learner.adapt(core.prepared[task.pool], task.pool_labels, known, task.class_mask)
    logits = core.learner.predict(adapted, core.prepared[task.test])
    return float(score_logits(logits, task.test_labels).accuracy.mean())
