"""Meta-training, imitation, PPO and evaluation on a simulated GPU: one device each, and the CPU's results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.both_devices import on_both_devices
from helpers.faults import at_write, killed
from helpers.simulated_gpu import DEVICE, simulated_gpu
from helpers.simulated_tasks import ONLY_IMAGES, core_on, data
from helpers.tiny_training import assert_equal
from stable_baselines3.common.logger import configure
from torch import Tensor

from agents.evaluation.play import play
from agents.loading import load_strategy
from agents.policy.network import AcquisitionNetwork
from agents.training.config import TrainConfig
from agents.training.imitation.examples import collect_examples
from agents.training.imitation.imitate import ImitationConfig
from agents.training.imitation.rounds import imitate
from agents.training.learner import learner_options
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import train_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.learners import LEARNERS, build_learner
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.train import Training, evaluate_learner, meta_train

META = MetaTrainConfig(
    iterations=2, classes_per_batch=4, items_per_class=4, tasks_per_batch=2, way=2, max_labels=3,
    validate_every=2, validation_tasks=4, precision="float32",
)  # fmt: skip
SHORT = {"pool_size": 12, "budget": 2}
# Adam's first steps are as long as the rate, whatever the gradient: where it rounds to nothing, that much differs.
IMITATION = ImitationConfig(
    iterations=1, rounds=1, n_envs=64, shapes_per_rollout=1, epochs=1, learning_rate=1e-3
)
FEW: dict[str, dict[str, Any]] = {
    **{key: {"iterations": 8, "unrolled": 3} for key in ("svm", "metaoptnet")},
    **{key: {"iterations": 8} for key in ("logistic", "metaoptnet_logistic")},
    "finn_maml": {"steps": 2},
}
"""Iterations of the inner solvers: each is the same operations again."""
PPO = PPOConfig(
    iterations=2, n_envs=2, shapes_per_rollout=1, paired=2, batch_size=4, epochs=1, width=8, validate_every=1,
    validation_tasks=1,
)  # fmt: skip


@pytest.mark.parametrize("modality", ["vector", pytest.param("image", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, FEW.get(name, {})) for name in LEARNERS), ("maml", {"depth": "all", "steps": 2})],
)
def test_meta_updates(name: str, options: dict[str, Any], modality: str) -> None:
    if modality == "vector" and name in ONLY_IMAGES:
        options = options | {"body": "mlp"}
    dataset = data(modality)
    torch.manual_seed(0)
    if not list(build_learner(name, dataset.input_shape, **options).parameters()):
        pytest.skip("nothing to train")

    def train(device: str) -> Any:
        torch.manual_seed(0)
        learner = build_learner(name, dataset.input_shape, **options).to(device)
        figures = Training(learner, META).update(dataset)
        # Gradients, not weights: Adam takes a whole step along one that is rounding.
        gradients = {name: weight.grad for name, weight in learner.named_parameters()}
        return figures, gradients, evaluate_learner(learner.eval(), dataset, META)

    on_both_devices(train, tolerance=1e-3)


@pytest.mark.parametrize(
    ("device", "given", "depth"),
    [
        ("cuda", {}, "all"),
        ("cpu", {}, None),
        ("cuda", {"depth": "head"}, "head"),
        ("cuda", {"body": "identity"}, None),
    ],
)
def test_the_default_learner_adapts_all_layers_on_a_gpu(
    device: str, given: dict[str, str], depth: str | None
) -> None:
    options = learner_options(TrainConfig(learner_options=given), torch.device(device))
    assert options.get("depth") == depth


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_meta_training_of_images(precision: Any, tmp_path: Path) -> None:
    """Distortion and lower precision, which only images and bodies have."""
    config = MetaTrainConfig(**{**vars(META), "distortion": 0.1, "precision": precision})
    dataset = data("image")

    def train(device: str) -> Any:
        torch.manual_seed(0)
        learner = build_learner("maml", dataset.input_shape, width=4).to(device)
        return meta_train(learner, dataset, dataset, config, tmp_path / f"{device}.pt")

    on_both_devices(train, tolerance=1e-3 if precision == "float32" else 0.1)


def test_imitation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the features' own axes: eigenvectors of equal eigenvalues are arbitrary, and each device has others."""
    whiten = AcquisitionNetwork.fit_context

    def deviation(network: AcquisitionNetwork, episode: Tensor) -> Tensor:
        return episode[:, network.context_columns.to(episode.device)].double().std(0).clamp(min=1e-3)

    def scale(network: AcquisitionNetwork, episode: Tensor) -> None:
        whiten(network, episode)
        network.whitening.copy_((1 / deviation(network, episode)).diag())

    monkeypatch.setattr(AcquisitionNetwork, "fit_context", scale)

    def train(device: str) -> Any:
        mixture = TaskMixture([[core_on(device, **SHORT)]], n_envs=4, paired=1)
        torch.manual_seed(0)
        network = AcquisitionNetwork(width=8).to(device)
        found = collect_examples(network, mixture.draw(0)[0], np.random.default_rng(0))
        imitate(network, mixture, IMITATION, tmp_path / device)
        logits = network(
            found.items.float().to(device), found.episode.to(device), found.candidates.to(device)
        ).logits
        whiten(network, found.episode)
        unit = network.whitening * deviation(network, found.episode).to(network.whitening).unsqueeze(1)
        return found.items.shape, found.gain, logits.detach(), unit @ unit.T  # the same in any basis

    on_both_devices(train, tolerance=1e-4)


def trained(device: str, folder: Path, iterations: int = PPO.iterations) -> dict[str, Any]:
    """What a training's last checkpoint holds."""
    core = core_on(device, **SHORT)
    mixture = TaskMixture([[core]], n_envs=PPO.n_envs, paired=PPO.paired)
    train_ppo(mixture, [[core]], replace(PPO, iterations=iterations), {}, folder, configure(str(folder), []))
    return torch.load(folder / "checkpoints" / "ppo.pt", weights_only=True)


@pytest.mark.slow  # its parts, roll-outs and the network, are computed on both devices in every run
def test_ppo(tmp_path: Path) -> None:
    def train(device: str) -> Any:
        saved = trained(device, tmp_path / device, iterations=1)
        return saved["policy"], saved["iteration"], saved["best"]

    on_both_devices(train, tolerance=1e-2)


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_devices_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_gpu():
        whole = trained(DEVICE, tmp_path / "whole")
        with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
            at_write(patched, "ppo.pt", 3, killed)  # of iteration 2
            trained(DEVICE, tmp_path / "part")
        torch.randn(5, device=DEVICE)  # whatever ran in between
        assert_equal(trained(DEVICE, tmp_path / "part"), whole)


@pytest.mark.parametrize("name", ["margin", "greedy_lookahead"])
@pytest.mark.parametrize("measure_on", ["test", "reward"])
def test_evaluation(name: str, measure_on: Any) -> None:
    def evaluate(device: str) -> Any:
        found = play(core_on(device), load_strategy(name), range(4), measure_on=measure_on, batch_size=3)
        return found.picks, found.curves

    on_both_devices(evaluate)
