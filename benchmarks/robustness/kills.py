"""Kills trainings with SIGKILL at random moments and compares what they end with with an uninterrupted one.

``python -m benchmarks.robustness.kills`` trains on small clusters: meta-training of the learner, imitation,
PPO, verdict. A run is killed twice in each of the three stages, at random moments, and then ends
undisturbed; runs follow each other until there were enough kills. Every run must end with the files of the
uninterrupted one, byte for byte, and with no others. Processes are forked from this one, which has all imports
done, so that kills fall into the training rather than into its start.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agents.training.config import TrainConfig
from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from agents.training.run import run as train
from metaal_env.errors import InputError
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.runtime.command_line import run_cli, run_command
from metaal_env.runtime.files import TEMPORARY
from metaal_env.tasks import TaskConfig

STAGES = {
    "meta-training": "learner.json",
    "imitation": "checkpoints/ppo.pt",
    "PPO": "training_finished",
}
"""Stages with the file that ends each. The checks and the rules on validation tasks belong to what follows."""

UNLIKE = ("config.json", "progress.json")
"""Files with times and places, which differ between equal runs."""

BEGINS = ("config.json", *STAGES.values())
"""Files with which a stage begins and the last one ends."""


@dataclass(frozen=True)
class Config:
    kills: int = 24
    """Kills in all, rounded up to whole runs."""
    per_stage: int = 2
    """Kills of a run in each stage."""
    seed: int = 0
    """Seed of the moments."""
    length: int = 20
    """Checkpoints of each stage."""


def training(config: Config, out: Path, data: Path) -> TrainConfig:
    """A run of seconds whose stages take about equally long."""
    return TrainConfig(
        dataset=str(data),
        out=out,
        task=TaskConfig(way=2, pool_size=16, budget=4, reward_per_class=4, test_per_class=4),
        meta=MetaTrainConfig(
            iterations=5 * config.length,
            validate_every=5,
            patience=1000,
            validation_tasks=20,
            classes_per_batch=6,
            items_per_class=8,
            max_labels=4,
            way=2,
        ),
        imitation=ImitationConfig(iterations=2 * config.length, n_envs=32, shapes_per_rollout=2),
        ppo=PPOConfig(
            iterations=2 * config.length,
            validate_every=2,
            n_envs=8,
            paired=2,
            batch_size=16,
            width=8,
            validation_tasks=4,
        ),
        verdict_tasks=2,
    )


def clusters(file: Path) -> Path:
    """Twelve overlapping Gaussian classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 24)
    np.savez(file, X=(rng.normal(size=(12, 8))[labels] + rng.normal(size=(len(labels), 8))), y=labels)
    return file


def child(config: TrainConfig, log: Path) -> None:
    """What ``metaal train`` does, with its output in a file."""
    with log.open("ab", 0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(run_cli(lambda: train(config)))


def start(config: TrainConfig) -> multiprocessing.process.BaseProcess:
    config.out.mkdir(exist_ok=True)
    process = multiprocessing.get_context("fork").Process(target=child, args=(config, config.out / "log.txt"))
    process.start()
    return process


def finish(process: multiprocessing.process.BaseProcess, config: TrainConfig) -> None:
    process.join()
    if process.exitcode:
        said = (config.out / "log.txt").read_text().splitlines()[-1:]
        raise InputError(f"out={str(config.out)!r}: a run ended with code {process.exitcode} ({said}).")


def durations(process: multiprocessing.process.BaseProcess, config: TrainConfig) -> list[float]:
    """Seconds that an uninterrupted run spends in each stage."""
    seconds = []
    for file in BEGINS:
        begin = time.perf_counter()
        while process.is_alive() and not (config.folder / file).is_file():
            time.sleep(0.01)
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def kill(
    config: TrainConfig, rng: np.random.Generator, seconds: list[float], per_stage: int
) -> tuple[Counter[str], int]:
    """Kills a run `per_stage` times in each stage and lets it end; kills by the stage they fell in, and temporary
    files they left.

    Args:
        seconds: what each stage takes; kills come within the first half of that, for continued stages are shorter.
    """
    kills: Counter[str] = Counter()
    left = 0
    for begins, length in zip(BEGINS, seconds, strict=False):
        for _ in range(per_stage):
            process = start(config)
            while process.is_alive() and not (config.folder / begins).is_file():
                time.sleep(0.01)
            process.join(rng.uniform(0, length / 2))  # as busy as the machine is, stages take more or less
            if process.is_alive():
                process.kill()
                process.join()
                ended = (stage for stage, file in STAGES.items() if not (config.folder / file).is_file())
                kills[next(ended, "verdict")] += 1
                left += len(list(config.folder.rglob(f".*{TEMPORARY}")))
    finish(start(config), config)
    return kills, left


def contents(config: TrainConfig) -> dict[str, bytes]:
    """Every file of a run but logs, pictures, the lock, the settings (they name the folder) and the checkpoints, whose
    bytes torch does not promise; of these and of pictures only the names."""
    files = {str(f.relative_to(config.folder)): f for f in config.folder.rglob("*") if f.is_file()}
    return {
        name: file.read_bytes() if file.suffix in (".json", ".safetensors") and name not in UNLIKE else b""
        for name, file in files.items()
        if not name.startswith("tensorboard")
    }


def differing(whole: dict[str, bytes], killed: dict[str, bytes]) -> list[str]:
    return sorted(name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name))


def main(config: Config) -> None:
    rng = np.random.default_rng(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        whole = training(config, root / "whole", clusters(root / "clusters.npz"))
        process = start(whole)
        seconds = durations(process, whole)
        finish(process, whole)
        reference = contents(whole)
        weights = [name for name in reference if name.endswith(".safetensors")]
        stages = ", ".join(f"{stage} {s:.1f} s" for stage, s in zip(STAGES, seconds, strict=True))
        print(f"uninterrupted: {stages}; {', '.join(sorted(weights))}", flush=True)
        kills: Counter[str] = Counter()
        runs, bad, left = 0, 0, 0
        while kills.total() < config.kills:
            killed = replace(whole, out=root / f"killed{runs}")
            here, remains = kill(killed, rng, seconds, config.per_stage)
            wrong = differing(reference, contents(killed))
            print(
                f"run {runs}: {dict(here)}, {'differs in ' + ', '.join(wrong) if wrong else 'equal'}",
                flush=True,
            )
            kills, left, runs, bad = kills + here, left + remains, runs + 1, bad + bool(wrong)
        summary = {
            "kills": kills.total(),
            "by_stage": dict(kills),
            "temporary_files_left_by_kills_and_cleared": left,
            "runs": runs,
            "equal": runs - bad,
        }
        print(json.dumps(summary))
        if bad:
            raise InputError(
                f"seed={config.seed}: {bad} of {runs} killed runs differ from the uninterrupted one."
            )


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
