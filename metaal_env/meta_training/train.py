"""Meta-training on the supports that acquisition produces: few labels, unbalanced, classes missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners.base import InnerLearner
from metaal_env.learners.bodies import body_dtype
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.evaluate import Report, evaluate_learner
from metaal_env.meta_training.few_shot_tasks import FewShotTasks, distorted, draw_items, draw_tasks
from metaal_env.meta_training.group import Group
from metaal_env.meta_training.loss import all_way_loss, path_loss
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.runtime.interrupts import deferred_interrupts
from metaal_env.tasks import bounds

BACK_OFF = 0.5
"""Factor of the learning rate each time that training goes back to its last good checkpoint."""


def make_optimizer(learner: InnerLearner, learning_rate: float) -> torch.optim.Optimizer:
    """Builds Adam with ten times the step for calibration scalars, which start far from their optimum."""
    fast = {id(p) for p in learner.calibration_parameters()}
    slow = [p for p in learner.parameters() if id(p) not in fast]
    groups: list[dict[str, Any]] = [
        {"params": slow},
        {"params": learner.calibration_parameters(), "lr": 10 * learning_rate},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=learning_rate)


class Training:
    """Holds a learner in training, and all else that an interrupted run needs to end like an uninterrupted one."""

    def __init__(self, learner: InnerLearner, config: MetaTrainConfig, group: Group | None = None):
        self.learner, self.config, self.group = learner, config, group or Group()
        self.own_tasks = self.group.share(config.tasks_per_batch)
        self.optimizer = make_optimizer(learner, config.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, config.iterations)
        self.rng = np.random.default_rng(config.seed)
        self.step, self.stale, self.recoveries, self.best_loss = 0, 0, 0, float("inf")
        self.best = self._weights()

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.learner.state_dict().items()}

    def state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "step": self.step,
            "stale": self.stale,
            "recoveries": self.recoveries,
            "best_loss": self.best_loss,
            "best": self.best,
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.go_back(saved)
        self.rng.bit_generator.state = json.loads(saved["rng"])
        self.recoveries = saved["recoveries"]

    def go_back(self, saved: dict[str, Any]) -> None:
        """Restores the saved weights and step but not the tasks, because the same ones would diverge again."""
        self.learner.load_state_dict(saved["learner"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.step, self.stale, self.best_loss, self.best = (
            saved[k] for k in ("step", "stale", "best_loss", "best")
        )

    def recover(self, saved: dict[str, Any], error: FloatingPointError) -> str:
        """Goes back to the last good checkpoint with a lower learning rate and returns a message for the user.

        Raises:
            InputError: no recoveries are left.
        """
        at, allowed = self.step, self.config.recoveries
        if self.recoveries >= allowed:
            raise InputError(
                f"learning_rate={self.config.learning_rate}: meta-training diverged at update {at} ({error}), "
                f"{self.recoveries} lowered rates included; choose a lower one."
            ) from error
        self.recoveries += 1
        self.go_back(saved)
        # The checkpoint's rate may be a lowered one already.
        factor = BACK_OFF ** (self.recoveries - saved["recoveries"])
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
        return (
            f"meta-training diverged at update {at} ({error}): back to update {self.step} with {factor:g} times "
            f"its learning rate, recovery {self.recoveries} of {allowed}"
        )

    def update(self, train: ClassDataset) -> dict[str, float]:
        """Makes one meta-update and returns its loss and its accuracy on queries.

        Raises:
            FloatingPointError: the loss or the gradient is NaN or infinite; the weights are unchanged.
        """
        learner, config = self.learner.train().requires_grad_(True), self.config
        device = next((p.device for p in learner.parameters()), torch.device("cpu"))
        items = draw_items(train, self.rng, config.classes_per_batch, config.items_per_class)
        # One number of shots for all tasks of an update: a layer that each task adapts for itself pays for padding.
        shots = int(self.rng.integers(*bounds(config.shots), endpoint=True)) if config.balanced else None
        tasks = draw_tasks(
            self.rng,
            *items.shape,
            tasks=config.tasks_per_batch,
            way=config.way,
            max_labels=config.max_labels,
            queries=config.queries_per_class,
            shots=shots,
        )
        # Every process draws all tasks, which costs little, and adapts to its own.
        tasks = FewShotTasks(*(column[self.own_tasks] for column in tasks)).to(device)
        learner.start_update(self.step)
        inputs = train.inputs[items.ravel()].to(device)
        if config.distortion:
            inputs = distorted(inputs, config.distortion, self.rng)
        lower = config.precision == "bfloat16" or (config.precision == "auto" and device.type != "cpu")
        with body_dtype(learner, torch.bfloat16 if lower else None):
            prepared = learner.prepare(inputs)
            loss, logits = path_loss(learner, prepared, tasks)
            if config.all_way:
                loss = loss + config.all_way * all_way_loss(learner, prepared, items.shape, self.rng)
        self.optimizer.zero_grad()
        loss.backward()
        mask = tasks.query_labels >= 0
        hits = (logits.argmax(-1)[mask] == tasks.query_labels[mask]).float().mean()
        loss = loss.detach()
        gradients = [p.grad for p in learner.parameters() if p.grad is not None]
        self.group.average([*gradients, loss, hits])
        norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), 10.0)
        if not bool(loss.isfinite() & norm.isfinite()):
            raise FloatingPointError(f"loss {loss.item():g}, gradient norm {norm.item():g}")
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return {"loss": loss.item(), "accuracy": hits.item()}

    def validate(self, validation: ClassDataset) -> Report:
        """Measures the learner and keeps its weights if they are the best so far.

        Raises:
            FloatingPointError: the validation loss is NaN or infinite.
        """
        report = evaluate_learner(self.learner.eval(), validation, self.config)
        loss = self.group.agree(float(np.mean(report.log_loss)))
        if not np.isfinite(loss):
            raise FloatingPointError(f"validation loss {loss:g}")
        if loss < self.best_loss:
            self.best_loss, self.stale, self.best = loss, 0, self._weights()
        else:
            self.stale += 1
        return report


def meta_train(
    learner: InnerLearner,
    train: ClassDataset,
    validation: ClassDataset,
    config: MetaTrainConfig,
    checkpoint: Path,
    writer: SummaryWriter | None = None,
    on_validation: Callable[[int, Report], None] | None = None,
    group: Group | None = None,
) -> Report:
    """Meta-trains `learner` in place and leaves it with its best validation weights.

    Training continues from `checkpoint` when that file exists. The file is rewritten at every validation and holds all
    that is needed to end with the same weights as an uninterrupted run. When the inner loop or the meta-update
    diverges, training says so and goes back to the last checkpoint with half the learning rate. `on_validation` is
    called with the number of updates and the validation's figures.

    Processes that ``torchrun`` has started share the tasks of every update and average their gradients: what they learn
    is what one process learns, up to rounding. They need to see the same folder; the first one writes.

    Args:
        group: processes that train together; by default those that ``torchrun`` has started, or this one.

    Raises:
        InputError: the checkpoint belongs to another configuration; training still diverges after
            `config.recoveries` recoveries; distortion of inputs that are not images.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the update and its checkpoint.
    """
    if config.distortion and train.inputs.dim() != 4:
        raise InputError(f"distortion={config.distortion} needs images; use distortion=0 for {train.name!r}.")
    training = Training(learner, config, group)
    group = training.group

    def save() -> None:
        if group.leads:
            write_checkpoint(checkpoint, config, training.state())
        group.wait()

    if (saved := read_checkpoint(checkpoint, config)) is not None:
        with as_input_error(checkpoint):
            training.load(saved)
    else:
        group.wait()  # all have looked
        save()
    total, done = config.iterations, training.step
    with (
        tqdm(total=total, initial=done, desc="meta-training", unit="update", disable=not group.leads) as bar,
        deferred_interrupts() as stopping,
    ):
        # All processes end after the same update.
        while (
            training.step < config.iterations
            and training.stale < config.patience
            and not group.agree(len(stopping))
        ):
            try:
                figures = training.update(train)
                bar.update()
                if writer is not None:
                    for name, value in figures.items():
                        writer.add_scalar(f"learner_by_update/{name}", value, training.step)
                if training.step % config.validate_every and training.step < config.iterations:
                    continue
                report = training.validate(validation)
            except FloatingPointError as error:
                good = read_checkpoint(checkpoint, config)
                assert good is not None  # written above
                bar.write(training.recover(good, error))
                bar.update(training.step - bar.n)
                continue
            bar.set_postfix(
                accuracy=f"{np.mean(report.accuracy):.3f}", loss=f"{np.mean(report.log_loss):.3f}"
            )
            if on_validation is not None:
                on_validation(training.step, report)
            if writer is not None:
                for name in ("accuracy", "log_loss", "calibration_error"):
                    for n, value in zip(report.labels, getattr(report, name), strict=True):
                        writer.add_scalar(f"learner_validation_by_update/{name}_at_{n}", value, training.step)
            save()
        if group.agree(len(stopping)):
            save()
    learner.load_state_dict(training.best)
    learner.eval().requires_grad_(False)
    return evaluate_learner(learner, validation, config)


__all__ = ["MetaTrainConfig", "Report", "evaluate_learner", "meta_train"]
