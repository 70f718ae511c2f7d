"""The inner learner of a run: meta-trained, or taken over."""

from __future__ import annotations

import torch
from torch.utils.tensorboard import SummaryWriter

from agents.training.config import TrainConfig
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import InnerLearner, build_learner, load_learner, save_learner
from metaal_env.learners.base import LEARNERS
from metaal_env.make import check_device
from metaal_env.meta_training.train import meta_train
from metaal_env.runtime.artifacts import artifact_stem
from metaal_env.runtime.files import write_atomic


def check_learner(config: TrainConfig, input_shape: tuple[int, ...]) -> None:
    """Refuses a learner that cannot be built, or does not fit the data. Raises: `InputError`."""
    if config.learner in LEARNERS:
        build_learner(config.learner, input_shape, **config.read_learner_options())
    else:
        load_learner(config.learner, input_shape)


def learner_options(config: TrainConfig, device: torch.device) -> dict[str, object]:
    """Returns the options of a learner that is meta-trained on `device`.

    MAML adapts all layers on a GPU, where that costs little, and its head alone on a CPU, unless an option says so.
    """
    options = config.read_learner_options()
    if config.learner == "maml" and device.type != "cpu" and options.get("body") != "identity":
        options.setdefault("depth", "all")
    return options


def make_learner(config: TrainConfig, train: ClassDataset, validation: ClassDataset) -> InnerLearner:
    """Returns the run's inner learner: finished before, given by `config.learner`, or meta-trained now."""
    stem = config.folder / "learner"
    if stem.with_suffix(".json").is_file():
        return load_learner(stem, train.input_shape)
    if config.learner not in LEARNERS:
        learner = load_learner(config.learner, train.input_shape)
        source = artifact_stem(config.learner, "learner")
        for suffix in (".json", ".safetensors"):
            write_atomic(stem.with_suffix(suffix), source.with_name(source.name + suffix).read_bytes())
        return learner
    torch.manual_seed(config.meta.seed)
    device = check_device(config.device)
    options = learner_options(config, device)
    learner = build_learner(config.learner, train.input_shape, **options).to(device)
    with SummaryWriter(str(config.folder / "tensorboard" / "learner")) as writer:
        summary = meta_train(
            learner, train, validation, config.meta, config.folder / "checkpoints" / "learner.pt", writer
        )
    save_learner(learner, stem, config.learner, train.input_shape, options, summary._asdict())
    return learner
