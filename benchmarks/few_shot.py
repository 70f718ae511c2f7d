"""Meta-trains and measures every inner learner on Omniglot: few-shot accuracy and acquisition-like supports.

``python benchmarks/few_shot.py --dataset omniglot_28.npz`` trains on the background alphabets (each class also
turned by 90°, 180° and 270°), measures on the evaluation alphabets, and writes one JSON per learner and the
table of docs/learners.md. Finished learners are skipped and an interrupted training continues, so it can be
stopped at any time; ``--learners protonet maml_head --iterations 2000`` limits the work.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from tqdm import tqdm

from metaal_env.artifacts import write_atomic
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import InnerLearner, build_learner, load_learner, save_learner
from metaal_env.learners.few_shot import FewShotTasks, draw_tasks, rotated_classes
from metaal_env.learners.meta_train import MetaTrainConfig, calibration_error, meta_train, task_logits


@dataclass(frozen=True)
class Experiment:
    """One row of the table."""

    learner: str
    options: dict[str, Any]
    training: dict[str, Any] | None
    """Fields of `MetaTrainConfig` that differ from this benchmark's; None = no meta-training."""
    published: str = "–"
    """Accuracy in the paper: 5-way 1-/5-shot, 20-way 1-/5-shot, in per cent."""


DEEP = {"tasks_per_batch": 16, "classes_per_batch": 32, "all_way": 0.0}
"""Per-episode convolutions cost a multiple of shared ones, and all-way tasks with them more than they teach."""
FINN = DEEP | {"way": 5, "balanced": True}
EXPERIMENTS = {
    "protonet": Experiment("protonet", {}, {}, "98.8 / 99.7, 96.0 / 98.9"),
    "maml_head": Experiment("maml", {}, {}, "ANIL: – / –, 96.2 / 98.0"),
    "maml_head_balanced": Experiment("maml", {}, {"balanced": True}),
    "maml_last_block": Experiment("maml", {"depth": "last_block"}, {"tasks_per_batch": 16}),
    "maml_all": Experiment("maml", {"depth": "all"}, DEEP, "MAML: 98.7 / 99.9, 95.8 / 98.9"),
    "maml_all_plus": Experiment(
        "maml", {"depth": "all", "steps": 3, "multi_step_until": 300, "first_order_until": 300}, DEEP,
        "MAML++: 99.5 / 99.9, 97.7 / 99.3",
    ),
    "meta_sgd": Experiment("meta_sgd", {}, DEEP),
    "finn_maml": Experiment("finn_maml", {}, FINN, "98.7 / 99.9, 95.8 / 98.9"),
    "meta_lstm": Experiment("meta_lstm", {}, {}),
    "matching": Experiment("matching", {}, {}, "98.1 / 98.9, 93.8 / 98.5"),
    "siamese": Experiment("siamese", {}, {}),
    "r2d2": Experiment("r2d2", {}, {}),
    "metaoptnet": Experiment("metaoptnet", {}, {}),
    "metaoptnet_logistic": Experiment("metaoptnet_logistic", {}, {}),
    "prototype_pixels": Experiment("prototype", {}, None),
    "ridge_pixels": Experiment("ridge", {}, None),
    "logistic_pixels": Experiment("logistic", {}, None),
    "svm_pixels": Experiment("svm", {}, None),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    dataset: str
    """Omniglot as npz, with the split of its classes."""
    learners: tuple[str, ...] = tuple(EXPERIMENTS)
    """Rows to make, in this order."""
    out: Path = Path("results/few_shot")
    """Where learners, checkpoints and figures go."""
    docs: Path | None = Path("docs/learners.md")
    """File whose table is rewritten."""
    iterations: int = 4000
    """Meta-updates of each learner; with a warm start, of its fine-tuning."""
    warm_start: str | None = None
    """Row whose trained body other rows start from."""
    width: int = 32
    """Conv4's filters: width/2, width, 2·width, 2·width."""
    learning_rate: float = 3e-3
    tasks: int = 1000
    """Tasks behind each figure."""
    ways: tuple[int, ...] = (5, 20)
    """Ways to measure. Per-episode convolutions make 20-way slow on a CPU."""
    redo: bool = False
    """Measure again what was measured before."""
    seed: int = 0
    device: str = "cpu"


def main(config: Config) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    data = load_dataset(config.dataset)
    for name in config.learners:
        result = config.out / f"{name}.json"
        if result.is_file() and not config.redo:
            continue
        learner, training = obtain(config, name, data)
        figures = measure(learner.to(config.device), data.split("test"), config.tasks, config.ways)
        record = {"experiment": asdict(EXPERIMENTS[name]), "training": training, **figures}
        write_atomic(result, json.dumps(record, indent=1).encode())
        print(f"{name}: {describe(record)}", flush=True)
    text = table(config.out)
    print(text)
    if config.docs is not None:
        write_table(config.docs, text)


def obtain(config: Config, name: str, data: ClassDataset) -> tuple[InnerLearner, dict[str, Any]]:
    """The row's learner, trained now or before, and how it was trained."""
    row, stem, shape = EXPERIMENTS[name], config.out / "learners" / name, data.input_shape
    if row.training is None:
        return build_learner(row.learner, shape), {}
    if stem.with_suffix(".json").is_file():
        return load_learner(stem, shape), json.loads(stem.with_suffix(".json").read_text())["summary"]
    torch.manual_seed(config.seed)
    options = {"width": config.width} | row.options
    learner = build_learner(row.learner, shape, **options).to(config.device)
    if config.warm_start and config.warm_start != name:
        start = load_learner(config.out / "learners" / config.warm_start, shape).state_dict()
        own = learner.state_dict()
        # The head's scalars are the start's too where they mean the same.
        same = own.keys() if row.learner in ("maml", "protonet", "meta_sgd", "meta_lstm") else ()
        learner.load_state_dict(
            {
                k: start[k] if k in start and (k in same or k.startswith("body.")) else v
                for k, v in own.items()
            }
        )
    base = MetaTrainConfig(
        iterations=config.iterations, classes_per_batch=60, items_per_class=10, patience=10**6,
        validate_every=250, learning_rate=config.learning_rate, seed=config.seed,
    )  # fmt: skip
    meta = replace(base, **row.training)
    begin = time.perf_counter()
    report = meta_train(
        learner, rotated_classes(data.split("train")), data.split("validation"), meta,
        config.out / "checkpoints" / f"{name}.pt",
    )  # fmt: skip
    training = {"config": asdict(meta), "warm_start": config.warm_start, "width": config.width,
                "seconds": round(time.perf_counter() - begin), "validation": report._asdict()}  # fmt: skip
    save_learner(learner, stem, row.learner, shape, options, training)
    return learner, training


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
    return Score(np.concatenate(accuracy), calibration_error(torch.cat(confidences), torch.cat(hits)))


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


def describe(record: dict[str, Any]) -> str:
    """Accuracies in per cent, calibration errors as they are."""
    f = record["figures"]

    def percent(name: str) -> str:
        if name not in f:
            return "–"
        return f"{100 * f[name]['accuracy']:.1f} ± {100 * f[name]['half_width']:.1f}"

    def worst(kind: str) -> str:
        return f"{max(f[f'{kind} {n}']['calibration_error'] for n in range(1, 11) if f'{kind} {n}' in f):.3f}"

    balanced = [percent(f"{way}-way {shots}-shot") for way in (5, 20) for shots in (1, 5)]
    return " | ".join(
        [*balanced, percent("random 10"), worst("random"), percent("unbalanced 10"), worst("unbalanced")]
    )


def table(out: Path) -> str:
    """The rows measured so far as Markdown, and the effect of acquisition-like meta-training."""
    records = {
        n: json.loads((out / f"{n}.json").read_text()) for n in EXPERIMENTS if (out / f"{n}.json").is_file()
    }
    lines = [
        "| learner | 5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot | 10 random labels | worst ECE, "
        "1…10 | 10 unbalanced labels | worst ECE, 1…10 | published 5-way 1 / 5, 20-way 1 / 5 | meta-training |",
        "|---|" + "---|" * 10,
    ]
    for name, record in records.items():
        training = "none"
        if record["training"]:
            t = record["training"]
            training = f"{t['config']['iterations']} updates, {t['seconds'] / 60:.0f} min"
            training += f", body from {t['warm_start']}" if t["warm_start"] not in (None, name) else ""
        cells = describe(record)
        lines.append(f"| {name} | {cells} | {EXPERIMENTS[name].published} | {training} |")
    pair = [records.get(n) for n in ("maml_head", "maml_head_balanced")]
    if pair[0] and pair[1]:
        lines += [
            "",
            "Meta-trained on acquisition-like supports minus on balanced ones (`maml_head`, same tasks):",
        ]
        for key in ("random 10", "unbalanced 10"):
            gain = np.subtract(*(r["figures"][key]["per_task"] for r in pair if r))
            half = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
            lines.append(f"{key} labels {100 * gain.mean():+.2f} ± {100 * half:.2f} points;")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- few_shot.py begins -->", "<!-- few_shot.py ends -->"


def write_table(path: Path, text: str) -> None:
    """Replaces what stands between the marks of `path`, or appends it."""
    page = path.read_text() if path.is_file() else f"# Inner learners\n\n{BEGIN}\n{END}\n"
    if BEGIN not in page:
        page += f"\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    write_atomic(path, f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}".encode())


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
