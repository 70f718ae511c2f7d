"""Meta-training on the supports that acquisition produces: few labels, unbalanced, classes missing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from metaal_env.artifacts import read_checkpoint, write_checkpoint
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners.base import InnerLearner
from metaal_env.tasks import Range, bounds


@dataclass(frozen=True)
class MetaTrainConfig:
    """How an inner learner is meta-trained.

    Attributes:
        iterations: most meta-updates; training ends earlier when validation stops improving.
        classes_per_batch, items_per_class: images embedded per update, shared by all its tasks.
        tasks_per_batch: tasks formed from them.
        way: classes per task.
        max_labels: supports hold 1…max_labels labels, uniformly.
        queries_per_class: items on which the meta-loss is taken.
        learning_rate: of Adam, annealed to zero by a cosine.
        validate_every, patience: updates between validations, and validations without improvement
            before stopping.
        validation_tasks: fixed tasks of validation classes.
        seed: of weights' order of use, tasks and validation tasks.
    """

    iterations: int = 600
    classes_per_batch: int = 48
    items_per_class: int = 12
    tasks_per_batch: int = 32
    way: Range = (5, 20)
    max_labels: int = 20
    queries_per_class: int = 2
    learning_rate: float = 3e-3
    validate_every: int = 50
    patience: int = 8
    validation_tasks: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "tasks_per_batch", "max_labels", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1.")
        if not 0 < self.queries_per_class < self.items_per_class:
            raise InputError(
                f"queries_per_class={self.queries_per_class} must lie between 1 and "
                f"items_per_class={self.items_per_class} − 1."
            )


class FewShotTasks(NamedTuple):
    """B few-shot tasks as positions into one batch of embedded items."""

    support: Tensor  # (B, S) int64
    support_labels: Tensor  # (B, S) int64
    support_mask: Tensor  # (B, S) bool
    query: Tensor  # (B, Q) int64
    query_labels: Tensor  # (B, Q) int64; −1 at padding
    class_mask: Tensor  # (B, K) bool


def draw_items(dataset: ClassDataset, rng: np.random.Generator, classes: int, items: int) -> np.ndarray:
    """(classes, items) data-set indices: `items` of each of up to `classes` random classes.

    Classes smaller than `items` contribute with repetition, so that rare classes are learned from as well.
    """
    labels = dataset.labels.numpy()
    chosen = rng.permutation(dataset.n_classes)[:classes]
    rows = []
    for c in chosen:
        members = np.flatnonzero(labels == c)
        rows.append(rng.permutation(members)[:items] if len(members) >= items else rng.choice(members, items))
    return np.stack(rows)


def draw_tasks(
    rng: np.random.Generator,
    classes: int,
    items: int,
    *,
    tasks: int,
    way: Range,
    max_labels: int,
    queries: int,
    labels: int | None = None,
) -> FewShotTasks:
    """Acquisition-like tasks over a (classes, items) grid of embedded items.

    Class shares of a support are Dirichlet with concentration ½, 1 or ∞, so classes are unbalanced and often
    missing; the number of labels is uniform in 1…max_labels unless `labels` fixes it.
    """
    low, high = (min(limit, classes) for limit in bounds(way))
    out = {
        "support": np.zeros((tasks, max_labels), dtype=np.int64),
        "support_labels": np.zeros((tasks, max_labels), dtype=np.int64),
        "support_mask": np.zeros((tasks, max_labels), dtype=bool),
        "query": np.zeros((tasks, high * queries), dtype=np.int64),
        "query_labels": np.full((tasks, high * queries), -1, dtype=np.int64),
        "class_mask": np.zeros((tasks, high), dtype=bool),
    }
    for b in range(tasks):
        k = int(rng.integers(low, high, endpoint=True))
        grid = rng.permutation(classes)[:k, None] * items + rng.permuted(
            np.tile(np.arange(items), (k, 1)), axis=1
        )
        n = labels or int(rng.integers(1, max_labels, endpoint=True))
        concentration = rng.choice([0.5, 1.0, np.inf])
        shares = np.full(k, 1 / k) if np.isinf(concentration) else rng.dirichlet(np.full(k, concentration))
        drawn = rng.choice(k, size=n, p=shares)
        rank = np.array([np.count_nonzero(drawn[:i] == c) for i, c in enumerate(drawn)])
        fits = rank < items - queries
        drawn, rank = drawn[fits], rank[fits]
        m = len(drawn)
        out["support"][b, :m] = grid[drawn, queries + rank]
        out["support_labels"][b, :m] = drawn
        out["support_mask"][b, :m] = True
        out["query"][b, : k * queries] = grid[:, :queries].ravel()
        out["query_labels"][b, : k * queries] = np.repeat(np.arange(k), queries)
        out["class_mask"][b, :k] = True
    return FewShotTasks(**{name: torch.from_numpy(value) for name, value in out.items()})


def task_logits(learner: InnerLearner, features: Tensor, tasks: FewShotTasks) -> Tensor:
    """(B, Q, K) query logits after adapting to each task's support; `features` is (M, *F)."""
    adapted = learner.adapt(
        features[tasks.support], tasks.support_labels, tasks.support_mask, tasks.class_mask
    )
    return learner.predict(adapted, features[tasks.query])


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean query cross-entropy over tasks, each task weighing the same. Scalar, nats."""
    mask = labels >= 0
    losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
    return ((losses.view(labels.shape) * mask).sum(1) / mask.sum(1)).mean()


def all_way_loss(
    learner: InnerLearner, features: Tensor, grid: tuple[int, ...], rng: np.random.Generator
) -> Tensor:
    """Cross-entropy of one balanced task over all classes of the batch; scalar, nats.

    Small tasks with missing classes calibrate the head but teach the body little per image; the many-way
    task costs no further embedding (Snell et al. 2017 train with more classes than they test for as well).

    Args:
        features: (classes · items, *F) of the batch.
        grid: (classes, items).
    """
    classes, items = grid
    shots = int(rng.integers(1, min(3, items - 1), endpoint=True))
    grouped = features.unflatten(0, (classes, items))
    target = torch.arange(classes, device=features.device)
    support_labels = target.repeat_interleave(shots).unsqueeze(0)  # (1, C·shots)
    adapted = learner.adapt(
        grouped[:, :shots].flatten(0, 1).unsqueeze(0),
        support_labels,
        torch.ones_like(support_labels, dtype=torch.bool),
        torch.ones(1, classes, dtype=torch.bool, device=features.device),
    )
    logits = learner.predict(adapted, grouped[:, shots:].flatten(0, 1).unsqueeze(0))
    return F.cross_entropy(logits[0], target.repeat_interleave(items - shots))


def make_optimizer(learner: InnerLearner, learning_rate: float) -> torch.optim.Optimizer:
    """Adam, with ten times the step for the head's calibration scalars: they start far from their optimum."""
    fast = {id(p) for p in learner.calibration_parameters()}
    slow = [p for p in learner.parameters() if id(p) not in fast]
    groups: list[dict[str, Any]] = [
        {"params": slow},
        {"params": learner.calibration_parameters(), "lr": 10 * learning_rate},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=learning_rate)


def calibration_error(confidence: Tensor, hit: Tensor, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 5) of (n,) confidences and (n,) bool outcomes."""
    index = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins).index_add_(0, index, hit.float() - confidence)
    return float(gap.abs().sum() / len(confidence))


class Report(NamedTuple):
    """Quality of a learner by number of labels; each (L,)."""

    labels: list[int]
    accuracy: list[float]
    log_loss: list[float]
    calibration_error: list[float]


@torch.no_grad()
def evaluate_learner(
    learner: InnerLearner, dataset: ClassDataset, config: MetaTrainConfig, seed: int = 1
) -> Report:
    """Accuracy, log-loss and calibration by label count, on fixed acquisition-like tasks of `dataset`."""
    rng = np.random.default_rng(seed)
    items = draw_items(dataset, rng, dataset.n_classes, config.items_per_class)
    features = learner.prepare_all(dataset.inputs[items.ravel()])
    counts = sorted({1, 2, 5, 10, config.max_labels} & set(range(1, config.max_labels + 1)))
    columns: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "calibration_error": []}
    for n in counts:
        tasks = draw_tasks(
            rng,
            *items.shape,
            tasks=config.validation_tasks // len(counts) + 1,
            way=config.way,
            max_labels=config.max_labels,
            queries=config.queries_per_class,
            labels=n,
        )
        logits = task_logits(learner, features, tasks)
        mask = tasks.query_labels >= 0
        probs = torch.softmax(logits[mask], -1)
        confidence, guess = probs.max(-1)
        hit = guess == tasks.query_labels[mask]
        columns["accuracy"].append(float(hit.float().mean()))
        columns["log_loss"].append(float(task_loss(logits, tasks.query_labels)))
        columns["calibration_error"].append(calibration_error(confidence, hit))
    return Report(counts, **columns)


def meta_train(
    learner: InnerLearner,
    train: ClassDataset,
    validation: ClassDataset,
    config: MetaTrainConfig,
    checkpoint: Path,
    writer: SummaryWriter | None = None,
) -> Report:
    """Meta-trains `learner` in place and leaves it with its best validation weights.

    Continues from `checkpoint` when that file exists; it is rewritten at every validation and holds
    everything needed to end with the same weights as an uninterrupted run.

    Raises:
        InputError: the checkpoint belongs to another configuration.
        FloatingPointError: the meta-loss became NaN or infinite.
    """
    optimizer = make_optimizer(learner, config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.iterations)
    rng = np.random.default_rng(config.seed)
    step, best_loss, stale = 0, float("inf"), 0
    best = {name: value.clone() for name, value in learner.state_dict().items()}
    if (saved := read_checkpoint(checkpoint, config)) is not None:
        learner.load_state_dict(saved["learner"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        rng.bit_generator.state = json.loads(saved["rng"])
        step, best_loss, stale, best = (saved[k] for k in ("step", "best_loss", "stale", "best"))

    bar = tqdm(total=config.iterations, initial=step, desc="meta-training", unit="update", leave=True)
    while step < config.iterations and stale < config.patience:
        learner.train().requires_grad_(True)
        items = draw_items(train, rng, config.classes_per_batch, config.items_per_class)
        tasks = draw_tasks(
            rng,
            *items.shape,
            tasks=config.tasks_per_batch,
            way=config.way,
            max_labels=config.max_labels,
            queries=config.queries_per_class,
        )
        features = learner.prepare(train.inputs[items.ravel()])
        logits = task_logits(learner, features, tasks)
        loss = task_loss(logits, tasks.query_labels) + all_way_loss(learner, features, items.shape, rng)
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"meta-training diverged at update {step}: lower learning_rate.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        step += 1
        bar.update()
        if writer is not None:
            mask = tasks.query_labels >= 0
            writer.add_scalar("learner/loss", loss.item(), step)
            hits = logits.argmax(-1)[mask] == tasks.query_labels[mask]
            writer.add_scalar("learner/accuracy", hits.float().mean().item(), step)
        if step % config.validate_every and step < config.iterations:
            continue

        learner.eval()
        report = evaluate_learner(learner, validation, config)
        validation_loss = float(np.mean(report.log_loss))
        bar.set_postfix(accuracy=f"{np.mean(report.accuracy):.3f}", loss=f"{validation_loss:.3f}")
        if validation_loss < best_loss:
            best_loss, stale = validation_loss, 0
            best = {name: value.clone() for name, value in learner.state_dict().items()}
        else:
            stale += 1
        if writer is not None:
            for name in ("accuracy", "log_loss", "calibration_error"):
                for n, value in zip(report.labels, getattr(report, name), strict=True):
                    writer.add_scalar(f"learner_validation/{name}_at_{n}", value, step)
        write_checkpoint(
            checkpoint,
            config,
            {
                "learner": learner.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "rng": json.dumps(rng.bit_generator.state),
                "step": step,
                "best_loss": best_loss,
                "stale": stale,
                "best": best,
            },
        )
    bar.close()
    learner.load_state_dict(best)
    learner.eval().requires_grad_(False)
    return evaluate_learner(learner, validation, config)
