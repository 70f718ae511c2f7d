"""Meta-trains an inner learner alone, on one device or on several:

    python -m agents.training.meta_train --dataset my_images.npz
    torchrun --nproc-per-node 4 -m agents.training.meta_train --dataset my_images.npz
    metaal train --dataset my_images.npz --learner runs/my_images-learner

Processes share the tasks of every update. Run the command again to continue, also with another number of processes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from metaal_env.datasets import load_dataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.learners import build_learner, save_learner
from metaal_env.make import check_device
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.group import Group
from metaal_env.meta_training.train import meta_train
from metaal_env.runtime.command_line import as_value, run_command, say
from metaal_env.runtime.locks import lock_folder
from metaal_env.runtime.memory import keep_memory


@dataclass(frozen=True)
class MetaTrainOptions:
    """Says how a learner is meta-trained."""

    dataset: str = "glyphs"
    """Registered data set, or path of a npz or csv file or an image folder."""
    learner: str = "maml"
    """Registered name of the learner."""
    learner_options: dict[str, str] = field(default_factory=dict)
    """Options of the learner as pairs of name and value, e.g. depth last_block steps 3."""
    name: str | None = None
    """Folder under --out. By default it is named after the data set."""
    out: Path = Path("runs")
    """Folder of all runs."""
    meta: MetaTrainConfig = field(default_factory=MetaTrainConfig)
    """Meta-training."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""


def train_learner(options: MetaTrainOptions) -> None:
    """Meta-trains the learner and writes ``learner.json`` and ``learner.safetensors``. Raises: `InputError`."""
    keep_memory()
    folder = options.out / (options.name or f"{Path(options.dataset).stem}-learner")
    group = Group()
    try:
        data = load_dataset(options.dataset)
        train = learner_and_policy_parts(data.split("train"))[0]
        torch.manual_seed(options.meta.seed)
        given = {name: as_value(text) for name, text in options.learner_options.items()}
        learner = build_learner(options.learner, train.input_shape, **given).to(check_device(options.device))
        checkpoint = folder / "checkpoints" / "learner.pt"
        with lock_folder(folder, f"name={folder.name!r}") if group.leads else nullcontext():
            group.wait()
            report = meta_train(
                learner, train, data.split("validation"), options.meta, checkpoint, group=group
            )
            if group.leads:
                summary = report._asdict() | {"config": asdict(options.meta)}
                save_learner(learner, folder / "learner", options.learner, train.input_shape, given, summary)
                say(f"learner: {folder}")
            group.wait()
    finally:
        group.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, trains, and returns the exit code."""
    program = "python -m agents.training.meta_train"
    return run_command(MetaTrainOptions, train_learner, __doc__, arguments=arguments, program=program)


if __name__ == "__main__":
    sys.exit(main())
