"""Meta-trains and measures every inner learner on Omniglot: few-shot accuracy and acquisition-like supports.

``python -m benchmarks.learners.few_shot --dataset omniglot_28.npz`` trains on the background alphabets (each class also
turned by 90°, 180° and 270°, every image a little distorted), measures on the evaluation alphabets, and writes one
JSON per learner, its row in a table of docs/learners.md and its curve in the log of the trainings. The prototypical
network is trained from scratch; the others start from its body. Finished learners are skipped and an interrupted
training continues, so it can be stopped at any time; ``--learners protonet maml_head --iterations 2000`` limits the
work. Long trainings from fresh weights have names and a table of their own: ``--learners finn_maml_scratch``.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learners.few_shot_measure import measure
from benchmarks.learners.few_shot_table import LOG_HEAD, describe, joined_logs, table
from benchmarks.sections import replace_section, section_of
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.unseen_classes import ROTATIONS, turned
from metaal_env.errors import InputError, unknown_name
from metaal_env.learners import InnerLearner, build_learner, load_learner, save_learner
from metaal_env.make import check_device
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.evaluate import Report
from metaal_env.meta_training.train import meta_train
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic


@dataclass(frozen=True)
class Experiment:
    """One row of the table."""

    learner: str
    options: dict[str, Any]
    training: dict[str, Any] | None
    """Fields of `MetaTrainConfig` that differ from this benchmark's; None = no meta-training."""
    published: str = "–"
    """Accuracy in the paper: 5-way 1-/5-shot, 20-way 1-/5-shot, in per cent."""
    start: str | None = "protonet"
    """Row whose trained body this one starts from; None = fresh weights."""


LONG = {"iterations": 12_000, "learning_rate": 3e-3, "validate_every": 500}
SHALLOW = {"iterations": 400, "learning_rate": 1e-3}
DEEP = {"iterations": 150, "learning_rate": 3e-4, "validate_every": 50, "validation_tasks": 250,
        "tasks_per_batch": 16, "classes_per_batch": 32, "all_way": 0.0}  # fmt: skip
"""Per-episode convolutions cost a multiple of shared ones, and all-way tasks with them more than they teach."""
LONGER = DEEP | {"iterations": 300, "validate_every": 100}
FINN = DEEP | {"way": 5, "balanced": True, "learning_rate": 1e-3}
PLUS = {"steps": 3, "multi_step_until": 50, "first_order_until": 50}
SCRATCH = {"iterations": 250, "learning_rate": 3e-3}
"""The same short training on acquisition-like and on balanced supports, for comparison."""
EXPERIMENTS = {
    "protonet": Experiment("protonet", {}, LONG, "98.8 / 99.7, 96.0 / 98.9", start=None),
    "maml_head": Experiment("maml", {}, SHALLOW, "ANIL: – / –, 96.2 / 98.0"),
    "maml_last_block": Experiment("maml", {"depth": "last_block"}, LONGER),
    "maml_all": Experiment("maml", {"depth": "all"}, LONGER, "MAML: 98.7 / 99.9, 95.8 / 98.9"),
    "maml_all_plus": Experiment(
        "maml", {"depth": "all"} | PLUS, DEEP, "MAML++: 99.5 / 99.9, 97.7 / 99.3"
    ),
    "meta_sgd": Experiment("meta_sgd", {}, DEEP),
    "finn_maml": Experiment("finn_maml", {}, FINN, "98.7 / 99.9, 95.8 / 98.9"),
    "meta_lstm": Experiment("meta_lstm", {}, SHALLOW),
    "matching": Experiment("matching", {}, SHALLOW, "98.1 / 98.9, 93.8 / 98.5"),
    "siamese": Experiment("siamese", {}, SHALLOW),
    "r2d2": Experiment("r2d2", {}, SHALLOW),
    "metaoptnet": Experiment("metaoptnet", {}, SHALLOW),
    "metaoptnet_logistic": Experiment("metaoptnet_logistic", {}, SHALLOW),
    "maml_head_scratch": Experiment("maml", {}, SCRATCH, start=None),
    "maml_head_balanced": Experiment("maml", {}, SCRATCH | {"balanced": True}, start=None),
    "prototype_pixels": Experiment("prototype", {}, None),
    "ridge_pixels": Experiment("ridge", {}, None),
    "logistic_pixels": Experiment("logistic", {}, None),
    "svm_pixels": Experiment("svm", {}, None),
}  # fmt: skip

FROM_SCRATCH = {"iterations": 10_000, "learning_rate": 3e-3, "validate_every": 500, "validation_tasks": 250,
                "tasks_per_batch": 16, "queries_per_class": 5, "all_way": 0.0}  # fmt: skip
"""Long trainings of fresh weights, over hours of one core; each can be interrupted and continued."""
ONE_STEP = {"steps": 1}
"""As in Finn et al. (2017) on 5-way Omniglot; every further step costs as much again."""
SHALLOW_ROWS = ("meta_lstm", "matching", "siamese", "r2d2", "metaoptnet")
LONG_EXPERIMENTS = {
    "finn_maml_scratch": Experiment(
        "finn_maml", ONE_STEP, FROM_SCRATCH | {"way": 5, "balanced": True}, "98.7 / 99.9, 95.8 / 98.9",
        start=None,
    ),
    "finn_maml_20_way_scratch": Experiment(
        "finn_maml", ONE_STEP, FROM_SCRATCH | {"way": 20, "balanced": True, "tasks_per_batch": 4},
        "98.7 / 99.9, 95.8 / 98.9", start=None,
    ),
    "maml_all_scratch": Experiment("maml", {"depth": "all"}, FROM_SCRATCH | {"tasks_per_batch": 6},
                                   "MAML: 98.7 / 99.9, 95.8 / 98.9", start=None),
    "anil_scratch": Experiment("maml", {}, LONG, "ANIL: – / –, 96.2 / 98.0", start=None),
    "meta_sgd_scratch": Experiment("meta_sgd", {}, FROM_SCRATCH, start=None),
    **{
        f"{name}_scratch": replace(EXPERIMENTS[name], training=LONG, start=None) for name in SHALLOW_ROWS
    },
}  # fmt: skip
"""Rows that are trained from fresh weights for as long as the papers' order of magnitude; name them to make them."""
ROWS = EXPERIMENTS | LONG_EXPERIMENTS


@dataclass(frozen=True)
class Config:
    dataset: str
    """Omniglot as npz, with the split of its classes."""
    learners: tuple[str, ...] = tuple(EXPERIMENTS)
    """Rows to make, in this order; those of LONG_EXPERIMENTS, which take hours each, only when they are named."""
    out: Path = Path("results/few_shot")
    """Where learners, checkpoints and figures go."""
    docs: Path | None = Path("docs/learners.md")
    """File whose tables take the rows; what they hold of other learners stays."""
    iterations: int | None = None
    """Meta-updates of each learner, instead of its row's."""
    width: int = 32
    """Conv4's filters: width/2, width, 2·width, 2·width."""
    tasks: int = 1000
    """Tasks behind each figure."""
    ways: tuple[int, ...] = (5, 20)
    """Ways to measure. Per-episode convolutions make 20-way slow on a CPU."""
    redo: bool = False
    """Measure again what was measured before."""
    seed: int = 0
    """Seed of weights and training tasks."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.learners if name not in ROWS]:
            raise unknown_name("learners", unknown[0], ROWS)


def main(config: Config) -> None:
    data = load_dataset(config.dataset)
    for name in config.learners:
        result = config.out / f"{name}.json"
        if result.is_file() and not config.redo:
            continue
        learner, training = obtain(config, name, data)
        figures = measure(
            learner.to(check_device(config.device)), data.split("test"), config.tasks, config.ways
        )
        record = {"experiment": asdict(ROWS[name]), "training": training, **figures}
        write_atomic(result, json.dumps(record, indent=1).encode())
        print(f"{name}: {describe(record)}", flush=True)
    for section, group in (("few-shot", EXPERIMENTS), ("few-shot-scratch", LONG_EXPERIMENTS)):
        if set(config.learners) & set(group):
            write_table(config, section, {name: row.published for name, row in group.items()})
    if config.docs is not None:
        log = config.docs.with_name("few_shot_log.csv")
        present = log.read_text() if log.is_file() else ""
        published = {name: row.published for name, row in ROWS.items()}
        write_atomic(log, joined_logs(config.out, published, present).encode())


def write_table(config: Config, section: str, rows: dict[str, str]) -> None:
    """Prints the rows of one table and puts those that were measured in their places on the page."""
    text = table(config.out, rows, section_of(config.docs, section) if config.docs is not None else "")
    print(text)
    if config.docs is not None:
        replace_section(config.docs, section, text)


def obtain(config: Config, name: str, data: ClassDataset) -> tuple[InnerLearner, dict[str, Any]]:
    """The row's learner, trained now or before, and how it was trained."""
    row, stem, shape = ROWS[name], config.out / "learners" / name, data.input_shape
    if row.training is None:
        return build_learner(row.learner, shape), {}
    if stem.with_suffix(".json").is_file():
        return load_learner(stem, shape), json.loads(stem.with_suffix(".json").read_text())["summary"]
    torch.manual_seed(config.seed)
    options = {"width": config.width} | row.options
    learner = build_learner(row.learner, shape, **options).to(check_device(config.device))
    if row.start is not None:
        body = config.out / "learners" / row.start
        if not body.with_suffix(".json").is_file():
            raise InputError(
                f"learners={name!r} starts from the body of {row.start!r}: name that one before it."
            )
        take_over(learner, load_learner(body, shape), heads=row.learner in HEADED)
    base = MetaTrainConfig(
        learning_rate=3e-3, classes_per_batch=60, items_per_class=10, patience=10**6, validate_every=250,
        distortion=0.1, validation_tasks=1000, seed=config.seed,
    )  # fmt: skip
    meta = replace(base, **row.training)
    if config.iterations is not None:
        meta = replace(meta, iterations=config.iterations)
    log = Log(config.out / "logs" / f"{name}.csv", name)
    report = meta_train(
        learner, turned(data.split("train"), ROTATIONS), data.split("validation"), meta,
        config.out / "checkpoints" / f"{name}.pt", on_validation=log.add,
    )  # fmt: skip
    training = {"config": asdict(meta), "start": row.start, "width": config.width, "seconds": log.seconds(),
                "validation": report._asdict()}  # fmt: skip
    save_learner(learner, stem, row.learner, shape, options, training)
    return learner, training


class Log:
    """The validations of a training as CSV, continued when the training is."""

    def __init__(self, file: Path, name: str):
        self.file, self.name, self.begin = file, name, time.perf_counter()
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            file.write_text(LOG_HEAD + "\n")
        last = file.read_text().splitlines()[-1].rpartition(",")[2]
        self.before = int(last) if last.isdigit() else 0

    def seconds(self) -> int:
        return self.before + round(time.perf_counter() - self.begin)

    def add(self, update: int, report: Report) -> None:
        loss, accuracy = np.mean(report.log_loss), np.mean(report.accuracy)
        with self.file.open("a") as file:
            file.write(f"{self.name},{update},{loss:.4f},{accuracy:.4f},{self.seconds()}\n")


HEADED = ("maml", "protonet", "meta_sgd", "meta_lstm")
"""Learners whose head's scalars mean what the prototypical network's do."""


def take_over(learner: InnerLearner, start: InnerLearner, heads: bool) -> None:
    """Gives `learner` the body of `start`, and the scalars of its head where `heads`."""
    theirs = start.state_dict()
    taken = {k: theirs[k] for k in learner.state_dict() if k in theirs and (heads or k.startswith("body."))}
    learner.load_state_dict(taken, strict=False)


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
