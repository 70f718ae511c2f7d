"""Few-shot accuracy and calibration of a learner on unseen classes; `few_shot.py` calls it for every row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import InnerLearner
from metaal_env.meta_training.few_shot_tasks import FewShotTasks, draw_tasks
from metaal_env.meta_training.loss import task_logits
from metaal_env.metrics import calibration_error


class Score(NamedTuple):
    accuracy: np.ndarray  # (tasks,)
    calibration_error: float


@torch.no_grad()
def score(learner: InnerLearner, features: torch.Tensor, tasks: FewShotTasks, chunk: int) -> Score:
    """Accuracy of each task, and calibration over all of them."""
    accuracy, confidences, hits = [], [], []
    for begin in range(0, len(tasks.support), chunk):
        part = FewShotTasks(*(t[begin : begin + chunk] for t in tasks)).to(features.device)
        confidence, guess = torch.softmax(task_logits(learner, features, part), -1).max(-1)
        hit, real = guess == part.query_labels, part.query_labels >= 0
        accuracy.append(((hit & real).sum(1) / real.sum(1)).cpu().numpy())
        confidences.append(confidence[real])
        hits.append(hit[real])
    error = calibration_error(torch.cat(confidences)[None], torch.cat(hits)[None])
    return Score(np.concatenate(accuracy), float(error))


def measure(learner: InnerLearner, test: ClassDataset, n_tasks: int, ways: tuple[int, ...]) -> dict[str, Any]:
    """Every figure of a row; tasks and supports are the same for all learners.

    Learners that adapt their body are measured on fewer queries per task and fewer label counts: their time goes
    into convolutions of each episode's own.
    """
    items = np.stack([np.flatnonzero(test.labels.numpy() == c)[:20] for c in range(test.n_classes)])
    features = learner.prepare_all(test.inputs[items.ravel()])
    chunk = 100 if learner.static_embedding else 10
    figures: dict[str, Any] = {}

    def run(name: str, seed: int, **options: Any) -> None:
        rng = np.random.default_rng(seed)
        tasks = draw_tasks(rng, *items.shape, tasks=n_tasks, **options)
        result = score(learner, features, tasks, chunk)
        figures[name] = {
            "accuracy": round(float(result.accuracy.mean()), 5),
            "half_width": round(float(1.96 * result.accuracy.std(ddof=1) / n_tasks**0.5), 5),
            "calibration_error": round(result.calibration_error, 5),
            "per_task": np.round(result.accuracy, 3).tolist() if "shot" not in name else [],
        }

    cheap = learner.static_embedding
    counts = range(1, 11) if cheap else (1, 5, 10)
    bar = tqdm(total=2 * len(ways) + 2 * len(counts), desc="measuring", leave=False)
    for way in ways:
        for shots in (1, 5):
            queries = (10 if way == 5 else 5) if cheap else 3
            run(f"{way}-way {shots}-shot", 10, way=way, shots=shots, queries=queries, max_labels=1)
            bar.update()
    for n in counts:
        options: dict[str, Any] = {"way": 5, "labels": n, "max_labels": n, "queries": 10 if cheap else 3}
        run(f"random {n}", 100 + n, concentrations=(np.inf,), **options)
        run(f"unbalanced {n}", 200 + n, **options)
        bar.update(2)
    bar.close()
    return {"figures": figures}
