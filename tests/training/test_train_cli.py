"""train_policy.py on a tiny task: runs, continues after kill, refuses bad input with exit code 2."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.clusters import cluster_dataset
from helpers.train_command import TINY, command, run, run_here


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "clusters.npz"
    dataset = cluster_dataset(classes=12, items=24)
    np.savez(path, X=dataset.inputs.numpy(), y=dataset.labels.numpy())
    return path


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which a run has finished, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    code, said, errors = run_here("--dataset", data, *TINY, cwd=folder)
    assert code == 0, errors
    return folder, said


def test_from_nothing_to_the_verdict_and_again(data: Path, first: tuple[Path, str]) -> None:
    here, said = first
    for name in ("policy", "random", "margin", "max_herding", "uherding", "greedy_lookahead"):
        assert name in said
    folder = here / "runs" / "clusters-maml-0"
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.json", "learner.safetensors", "learner.json", "policy.safetensors", "policy.json",
    } <= names  # fmt: skip
    assert json.loads((folder / "config.json").read_text())["task"]["budget"] == 4
    assert any((folder / "tensorboard").iterdir())

    code, out, err = run_here("--dataset", data, *TINY, cwd=here)
    assert code == 0 and "meta-training" not in err

    def table(text: str) -> list[str]:
        return [line for line in text.splitlines() if "│" in line]

    assert table(out) == table(said), "a finished run gives the same verdict again"
    code, _, err = run_here("--dataset", data, *TINY, "--ppo.learning-rate", "0.5", cwd=here)
    assert code == 2 and "other settings" in err


@pytest.mark.slow  # in one process, `test_kills.py` kills at every write in every run
@pytest.mark.parametrize("stage", ["learner.pt", "ppo.pt"])
def test_killed_runs_continue_to_the_same_policy(
    data: Path, tmp_path: Path, stage: str, first: tuple[Path, str]
) -> None:
    arguments = ["--dataset", data, *TINY, "--name", "killed"]
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
    code, _, err = run_here(*arguments, cwd=tmp_path)
    assert code == 0, err
    whole = first[0] / "runs" / "clusters-maml-0"
    for name in ("learner.safetensors", "policy.safetensors"):
        assert (tmp_path / "runs" / "killed" / name).read_bytes() == (whole / name).read_bytes()


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
def test_bad_input_ends_at_once_with_one_sentence(arguments: list[str], says: str, tmp_path: Path) -> None:
    code, _, message = run_here(*arguments, cwd=tmp_path)
    assert code == 2 and says in message and "Traceback" not in message
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_the_command_line_exits_with_2_and_one_sentence(tmp_path: Path) -> None:
    result = run("--dataset", "glyfs", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: dataset='glyfs' is unknown; did you mean 'glyphs'?")
    assert result.stderr.count("\n") == 1
