"""A training's weights are the same to the bit for any number and kind of workers, also where one is killed."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.parts import broken_reward
from helpers.tiny_training import CONFIG, TASK, WARM, assert_equal, train

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.imitation.imitate import ImitationConfig
from agents.training.imitation.rounds import imitate
from agents.training.task_mixture import TaskMixture
from agents.training.validation import validate
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.rewards import REWARDS
from metaal_env.runtime.executor import WorkerOptions, open_executor

IMITATION = ImitationConfig(iterations=4, rounds=2, n_envs=8, shapes_per_rollout=2, epochs=2)
OPTIONS = {
    "1": WorkerOptions(),
    "2": WorkerOptions(workers=2),
    "4": WorkerOptions(workers=4),
    "jobs": WorkerOptions(workers=2, cluster="slurm-here"),
    "ray": WorkerOptions(workers=2, cluster="ray"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("whole"), warm=WARM)


@pytest.mark.parametrize("workers", ["2", pytest.param("4", marks=pytest.mark.slow)])
def test_weights_do_not_depend_on_the_number_of_workers(
    workers: str, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Imitation, validation and PPO; ``whole`` is trained in one process."""
    with open_executor(OPTIONS[workers]) as executor:
        assert_equal(train(tmp_path, warm=WARM, executor=executor), whole)


def sources() -> list[list[Core]]:
    return [[make_core(cluster_dataset(items=12), reward="aulc", **TASK)]]


def imitated(folder: Path, options: WorkerOptions, worker_killer: bool = False) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = AcquisitionNetwork(width=8)
    mixture = TaskMixture(sources(), n_envs=8, paired=1, shapes_per_rollout=2)
    with open_executor(options, folder) as executor:
        if worker_killer:
            _kill_one(executor.map(os.getpid, [()] * 4))
        imitate(network, mixture, IMITATION, folder, executor=executor)
    return network.state_dict()


def _kill_one(processes: list[int]) -> None:
    """Kills a worker a moment later, when it has work."""
    threading.Timer(0.5, lambda: os.kill(processes[0], signal.SIGKILL)).start()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jobs", "ray"])
def test_weights_do_not_depend_on_the_kind_of_workers(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit" if kind == "jobs" else "ray")
    here = imitated(tmp_path / "here", OPTIONS["1"])
    there = imitated(tmp_path / kind, OPTIONS[kind], worker_killer=kind == "ray")
    assert_equal(here, there)


@pytest.mark.parametrize("workers", ["2"])
def test_a_killed_worker_changes_no_weight(workers: str, tmp_path: Path) -> None:
    here = imitated(tmp_path / "here", OPTIONS["1"])
    there = imitated(tmp_path / "there", OPTIONS[workers], worker_killer=True)
    assert_equal(here, there)


def test_validation_does_not_depend_on_the_number_of_workers() -> None:
    torch.manual_seed(0)
    families, strategy = sources(), LearnedStrategy(AcquisitionNetwork(width=8))
    with open_executor(OPTIONS["2"]) as executor:
        assert validate(families, strategy, 70, executor) == validate(families, strategy, 70)


def test_ppo_recovers_from_what_is_not_finite_in_another_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REWARDS, "broken", broken_reward)
    with (
        open_executor(OPTIONS["2"]) as executor,
        pytest.raises(InputError, match="rewards are NaN or infinite"),
    ):
        train(tmp_path, replace(CONFIG, critic_rollouts=0), reward="broken", executor=executor)
    assert "recovery 1 of" in capsys.readouterr().out


def test_rewards_that_are_not_finite_from_the_start_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REWARDS, "broken", broken_reward)
    with pytest.raises(InputError, match=r"PPO cannot begin \(.*\); choose another reward"):
        train(tmp_path, replace(CONFIG, critic_rollouts=1), reward="broken")
