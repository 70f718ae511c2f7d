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
from metaal_env.learners.few_shot import FewShotTasks, draw_items, draw_tasks
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
        balanced: train, and validate, on balanced supports with `shots` labels of every class instead: what
            few-shot papers do, and what acquisition never gives. For comparison.
        shots: labels per class of balanced supports.
        queries_per_class: items on which the meta-loss is taken.
        all_way: weight of the many-way loss (`all_way_loss`); 0 for learners of a fixed way.
        learning_rate: of Adam, annealed to zero by a cosine.
        validate_every, patience: updates between validations, and validations without improvement
            before stopping.
        validation_tasks: fixed tasks of validation classes.
        seed: of weights' order of use, tasks and validation tasks.
    """

    iterations: int = 1000
    classes_per_batch: int = 48
    items_per_class: int = 12
    tasks_per_batch: int = 32
    way: Range = (5, 20)
    max_labels: int = 20
    balanced: bool = False
    shots: Range = (1, 5)
    queries_per_class: int = 2
    all_way: float = 1.0
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
        if self.balanced and not 1 <= bounds(self.shots)[1] <= self.items_per_class - self.queries_per_class:
            raise InputError(
                f"shots={self.shots} must lie between 1 and items_per_class − queries_per_class = "
                f"{self.items_per_class - self.queries_per_class}."
            )


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


def path_loss(learner: InnerLearner, features: Tensor, tasks: FewShotTasks) -> tuple[Tensor, Tensor]:
    """The meta-loss, summed over the states of adaptation that count now, and the last state's query logits."""
    path = learner.adapt_path(
        features[tasks.support], tasks.support_labels, tasks.support_mask, tasks.class_mask
    )
    total, logits, query = features.new_zeros(()), features.new_zeros(()), features[tasks.query]
    for weight, adapted in zip(learner.path_weights(len(path)), path, strict=True):
        if weight:
            logits = learner.predict(adapted, query)
            total = total + weight * task_loss(logits, tasks.query_labels)
    return total, logits


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
    gap = torch.zeros(bins, device=index.device).index_add_(0, index, hit.float() - confidence)
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
    """Accuracy, log-loss and calibration by label count, on fixed acquisition-like tasks of `dataset`.

    With ``config.balanced`` the tasks are balanced, and counts are labels per class.
    """
    rng = np.random.default_rng(seed)
    items = draw_items(dataset, rng, dataset.n_classes, config.items_per_class)
    features = learner.prepare_all(dataset.inputs[items.ravel()])
    most = bounds(config.shots)[1] if config.balanced else config.max_labels
    counts = sorted({1, 2, 5, 10, most} & set(range(1, most + 1)))
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
            shots=n if config.balanced else None,
        ).to(features.device)
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
    device = next((p.device for p in learner.parameters()), torch.device("cpu"))
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
            shots=config.shots if config.balanced else None,
        ).to(device)
        learner.start_update(step)
        features = learner.prepare(train.inputs[items.ravel()].to(device))
        loss, logits = path_loss(learner, features, tasks)
        if config.all_way:
            loss = loss + config.all_way * all_way_loss(learner, features, items.shape, rng)
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
