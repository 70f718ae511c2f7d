"""train_policy.py on a tiny task: runs, continues after kill, refuses bad input with exit code 2."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest
from helpers.clusters import cluster_dataset
from helpers.train_command import TINY, command, run

from agents.training.run import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "clusters.npz"
    dataset = cluster_dataset(classes=12, items=24)
    np.savez(path, X=dataset.inputs.numpy(), y=dataset.labels.numpy())
    return path


def test_from_nothing_to_the_verdict_and_again(data, tmp_path):
    first = run("--dataset", data, *TINY, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for name in ("policy", "random", "margin", "max_herding", "uherding", "greedy_lookahead"):
        assert name in first.stdout
    folder = tmp_path / "runs" / "clusters-maml-0"
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json",
        "learner.safetensors",
        "learner.json",
        "policy.safetensors",
        "policy.json",
    } <= names
    assert json.loads((folder / "config.json").read_text())["task"]["budget"] == 4
    assert any((folder / "tensorboard").iterdir())

    again = run("--dataset", data, *TINY, cwd=tmp_path)
    assert again.returncode == 0 and "meta-training" not in again.stderr

    def table(text):
        return [line for line in text.splitlines() if "│" in line]

    assert table(again.stdout) == table(first.stdout), "a finished run gives the same verdict again"
    other = run("--dataset", data, *TINY, "--ppo.learning-rate", "0.5", cwd=tmp_path)
    assert other.returncode == 2 and "other settings" in other.stderr


SLOW = [*TINY, "--meta.iterations", "60", "--ppo.iterations", "8"]


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    result = run("--dataset", data, *SLOW, "--name", "whole", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "runs" / "whole"


@pytest.mark.parametrize("stage", ["learner.pt", "ppo.pt"])
def test_killed_runs_continue_to_the_same_policy(data, tmp_path, stage, uninterrupted):
    arguments = ["--dataset", data, *SLOW, "--name", "killed"]
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint = tmp_path / "runs" / "killed" / "checkpoints" / stage
    until = time.time() + 120
    while not checkpoint.exists() and process.poll() is None and time.time() < until:
        time.sleep(0.02)
    assert checkpoint.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = run(*arguments, cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr
    for name in ("learner.safetensors", "policy.safetensors"):
        assert (tmp_path / "runs" / "killed" / name).read_bytes() == (uninterrupted / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "glyfs"], "did you mean 'glyphs'"),
        (["--dataset", "missing/file.npz"], "missing/file.npz"),
        (["--learner", "mmal"], "did you mean 'maml'"),
        (["--reward", "aluc"], "did you mean 'aulc'"),
        (["--dataset", "iris", "--way", "7"], "way"),
        (["--way", "1"], "way"),
        (["--budget", "30", "--pool-size", "20"], "budget"),
        (["--ppo.prior", "magrin", "--dataset", "iris", "--way", "2"], "margin"),
        (["--name", "../escape"], "name"),
        (["--device", "warp"], "device"),
        (["--verdict-tasks", "0"], "verdict_tasks"),
    ],
)
def test_bad_input_ends_at_once_with_one_sentence(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:  # what the command line does, without the seconds of starting a process
        code = main(arguments)
    except SystemExit as refused_by_tyro:
        code = refused_by_tyro.code
    message = capsys.readouterr().err
    assert code == 2 and says in message and "Traceback" not in message
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_the_command_line_exits_with_2_and_one_sentence(tmp_path):
    result = run("--dataset", "glyfs", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: dataset='glyfs' is unknown; did you mean 'glyphs'?")
    assert result.stderr.count("\n") == 1
