"""What happens to runs left alone: kills, signals, divergence, full disks and jumping clocks cost no weights."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tqdm.std
from helpers.clusters import cluster_dataset
from helpers.faults import Action, AtUpdate, at_write, killed
from helpers.paths import ROOT
from helpers.tiny_training import CONFIG, EXAMPLES, JOINED, TASK, WARM, assert_equal, saved, train
from helpers.train_command import TINY, command

from agents.training.config import TrainConfig
from agents.training.ppo.checkpoint import RECOVERIES
from agents.training.ppo.train import make_ppo
from agents.training.run import begin_run
from agents.training.task_mixture import TaskMixture
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.make import make_core
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.train import meta_train
from metaal_env.rewards import REWARDS
from metaal_env.runtime.command_line import run_cli
from metaal_env.runtime.files import clear_temporaries, write_atomic
from metaal_env.runtime.interrupts import deferred_interrupts


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Shells start what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("whole"), warm=WARM)


# Between two of these a training holds what no file holds.
MOMENTS = [
    pytest.param(EXAMPLES[1], 1, id="examples"),
    pytest.param(EXAMPLES[2], 1, id="examples of the second round"),
    pytest.param(JOINED[1], 1, id="a roll-out whose parts are joined"),
    pytest.param("imitation.pt", 1, id="imitation's first round"),
    pytest.param("imitation.pt", 2, id="imitation's last round"),
    pytest.param("ppo.pt", 1, id="the warm start is over, PPO has not begun"),
    pytest.param("ppo.pt", 2, id="a checkpoint"),
    pytest.param("policy.json", 1, id="the policy, with weights and without description"),
]


@pytest.mark.parametrize(("file", "number"), MOMENTS)
def test_a_warm_started_training_continues_to_the_same_weights(
    file: str, number: int, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        at_write(patched, file, number, killed)
        train(tmp_path, warm=WARM)
    assert_equal(train(tmp_path, warm=WARM), whole)


def test_killed_between_two_checkpoints_it_repeats_what_it_lost(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, warm=WARM, actions={3: killed})
    assert saved(tmp_path)["iteration"] == 2
    assert_equal(train(tmp_path, warm=WARM), whole)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("imitation", {"imitation.pt", *JOINED[:2], EXAMPLES[2]}),
        ("ppo", {"imitation.pt", "ppo.pt"}),
    ],
)
def test_signals_end_an_iteration_with_a_checkpoint(
    stage: str, left: set[str], number: signal.Signals, code: int, word: str, whole: dict[str, Any],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def send() -> None:
        signal.raise_signal(number)

    with monkeypatch.context() as patched:
        if stage == "imitation":
            at_write(patched, EXAMPLES[2], 1, send)
        assert run_cli(lambda: train(tmp_path, warm=WARM, actions={3: send})) == code
    said = capsys.readouterr().err
    assert said.endswith(f"{word}; run the same command again to continue.\n") and "Traceback" not in said
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == left
    if stage == "ppo":
        assert saved(tmp_path)["iteration"] == 3, (
            "the iteration is not lost, though it is none that validates"
        )
    assert_equal(train(tmp_path, warm=WARM), whole)


def test_signals_end_meta_training_with_a_checkpoint(tmp_path: Path) -> None:
    data = cluster_dataset()
    config = MetaTrainConfig(iterations=6, validate_every=4, validation_tasks=4, classes_per_batch=6,
                             items_per_class=8, tasks_per_batch=4, max_labels=4, way=2)  # fmt: skip

    def weights(folder: Path, writer: AtUpdate | None = None) -> dict[str, Any]:
        torch.manual_seed(0)
        learner = build_learner("maml", data.input_shape)
        meta_train(learner, data, data, config, folder / "learner.pt", writer)
        return learner.state_dict()

    terminating = AtUpdate(3, lambda: signal.raise_signal(signal.SIGTERM))
    assert run_cli(lambda: weights(tmp_path / "stopped", terminating)) == 143
    assert torch.load(tmp_path / "stopped" / "learner.pt", weights_only=True)["step"] == 3
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


def test_a_second_signal_acts_at_once_and_ignored_ones_stay_ignored() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second signal was put off too")
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with deferred_interrupts() as noted:
            signal.raise_signal(signal.SIGTERM)
        assert not noted
        # A handler that returns must not make an unfinished training look like a finished one.
        signal.signal(signal.SIGTERM, lambda *_: None)
        with pytest.raises(KeyboardInterrupt), deferred_interrupts():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    with ThreadPoolExecutor(1) as pool:

        def work() -> tuple[Any, list[int]]:
            with deferred_interrupts() as noted:
                return signal.getsignal(signal.SIGTERM), noted

        assert pool.submit(work).result() == (signal.getsignal(signal.SIGTERM), [])


def broken(factors: list[float]) -> Callable[..., torch.Tensor]:
    """A reward that is multiplied by the next of `factors` while there are any."""

    def reward(*step: Any) -> torch.Tensor:
        paid = REWARDS["aulc"](*step)
        return paid * factors.pop() if factors else paid

    return reward


def once(action: Action) -> Action:
    """Does it when called first, since an iteration is reported again after a recovery."""
    calls = iter([action])
    return lambda: next(calls, lambda: None)()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_bad_reward_costs_an_interval_and_half_the_learning_rate(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    factors: list[float] = []
    monkeypatch.setitem(REWARDS, "broken", broken(factors))
    end = train(tmp_path, reward="broken", actions={3: once(lambda: factors.append(value))})
    assert end["iteration"] == CONFIG.iterations and end["recoveries"] == 1
    # Of the last update, with the rate's fall: 1 − 4/5 of the training is left.
    assert end["optimizer"]["param_groups"][0]["lr"] == pytest.approx(CONFIG.learning_rate * 0.28 * 0.5)
    assert all(weight.isfinite().all() for weight in end["policy"].values())
    said = capsys.readouterr().out
    assert "PPO diverged at iteration 4 (rewards are NaN or infinite): back to iteration 2" in said


def test_a_training_that_keeps_diverging_stops_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(CONFIG, learning_rate=1e30)
    assert run_cli(lambda: train(tmp_path, config)) == 2
    said = capsys.readouterr()
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith("error: learning_rate=1e+30: PPO diverged at iteration 1 (")
    assert f"{RECOVERIES} lowered rates included; choose a lower one" in sentence
    assert said.out.count("back to iteration 0") == RECOVERIES
    assert all(weight.isfinite().all() for weight in saved(tmp_path)["policy"].values())


def test_a_run_killed_after_a_recovery_goes_on_with_the_lowered_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []
    monkeypatch.setitem(REWARDS, "broken", broken(factors))
    whole = train(tmp_path / "whole", reward="broken", actions={2: once(lambda: factors.append(np.nan))})
    assert whole["recoveries"] == 1
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        at_write(patched, "ppo.pt", 4, killed)  # the start, iteration 2, the recovery, iteration 2 again
        train(tmp_path / "killed", reward="broken", actions={2: once(lambda: factors.append(np.nan))})
    assert saved(tmp_path / "killed")["recoveries"] == 1
    assert_equal(train(tmp_path / "killed", reward="broken"), whole)


def test_imitation_that_diverges_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"learning_rate=1e\+30: imitation diverged"):
        train(tmp_path, warm=replace(WARM, learning_rate=1e30))


def test_a_full_disk_leaves_the_last_checkpoint_to_continue_from(
    whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_space(descriptor: int) -> None:
        raise full

    with monkeypatch.context() as patched:
        at_write(patched, "ppo.pt", 2, lambda: patched.setattr(os, "fsync", no_space))
        assert run_cli(lambda: train(tmp_path, warm=WARM)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: file=") and "No space left on device" in error
    assert saved(tmp_path)["iteration"] == 2, "the checkpoint before is intact"
    assert not [file for file in tmp_path.rglob(".*") if file.is_file()], "nothing half-written"
    assert_equal(train(tmp_path, warm=WARM), whole)


def test_equal_seeds_give_equal_weights_whatever_the_clock_says(
    whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    year, ticks, clock = 3.2e7, itertools.count(), time.time

    def jumping() -> float:
        return clock() + (-1) ** next(ticks) * year

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(tqdm.std, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    assert_equal(train(tmp_path, warm=WARM, formats=["tensorboard"]), whole)


def test_another_seed_gives_other_weights(whole: dict[str, Any]) -> None:
    core = make_core(cluster_dataset(items=12), **TASK)
    other = make_ppo(TaskMixture([[core]], n_envs=4, paired=2), replace(CONFIG, seed=1)).policy.state_dict()
    assert any(not torch.equal(value, other[name]) for name, value in whole["policy"].items())


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "policy.json", b"{}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".ppo.pt.a1b2c3.tmp").write_bytes(b"half")
    for name in (".lock", "notes.tmp"):
        (tmp_path / name).write_bytes(b"")
    clear_temporaries(tmp_path)
    kept = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert kept == {"policy.json", ".lock", "notes.tmp"}


def test_a_run_folder_belongs_to_one_process_which_clears_what_others_left(tmp_path: Path) -> None:
    config = TrainConfig(out=tmp_path)
    config.folder.mkdir()
    left = config.folder / ".policy.json.a1b2c3.tmp"
    left.write_bytes(b"half")
    lock = begin_run(config)
    assert not left.exists()
    left.write_bytes(b"being written")
    with pytest.raises(InputError, match="another process is at work there"):
        begin_run(config)
    assert left.exists(), "the other process writes it"
    lock.release()
    begin_run(config).release()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["learner.pt", "ppo.pt"])
def test_a_scheduler_ends_the_command_with_143(stage: str, tmp_path: Path) -> None:
    data = cluster_dataset(classes=12, items=24)
    np.savez(tmp_path / "clusters.npz", X=data.inputs.numpy(), y=data.labels.numpy())
    long = ["--meta.iterations", "2000", "--meta.patience", "2000"] if stage == "learner.pt" else []
    arguments = ["--dataset", "clusters.npz", *TINY, "--ppo.iterations", "2000", *long, "--name", "run"]
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "runs" / "run" / "checkpoints" / stage
    while not checkpoint.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 143, said
    assert said.endswith("terminated; run the same command again to continue.\n") and "Traceback" not in said
    assert torch.load(checkpoint, weights_only=True)["config"]


@pytest.mark.slow
def test_killed_at_random_moments_of_all_stages() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.robustness.kills",
        "--kills",
        "3",
        "--per-stage",
        "1",
        "--length",
        "5",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["kills"] >= 3 and summary["equal"] == summary["runs"] == 1
