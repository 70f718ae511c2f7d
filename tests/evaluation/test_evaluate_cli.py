"""`evaluate.py` as people run it: tables, resuming, identical rows, redrawing, bad input."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from helpers.evaluation_stubs import evaluated_clusters
from helpers.paths import ROOT

from agents.evaluation.protocol.loading import newest_run
from agents.evaluation.run import main
from metaal_env.errors import InputError

TINY = ["--split", "all", "--way", "3", "--pool-size", "20", "--budget", "4", "--workers", "1", "--no-report"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = evaluated_clusters()
    path = tmp_path_factory.mktemp("data") / "clusters.npz"
    np.savez(path, X=dataset.inputs.numpy(), y=dataset.labels.numpy())
    return path


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, str(ROOT / "evaluate.py"), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def evaluate(arguments: list[str], folder: Path, code: int = 0) -> tuple[str, str]:
    """Runs the command in `folder`, without the seconds of starting a process; returns stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("COLUMNS", "100")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main(arguments, "evaluate.py") == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def rows(folder: Path) -> dict[str, bytes]:
    """Every row file's bytes."""
    return {path.name: path.read_bytes() for path in sorted((folder / "rows").iterdir())}


@pytest.mark.slow
def test_resumed_after_a_kill_rows_are_identical(data: Path, tmp_path: Path) -> None:
    command = [
        "--dataset",
        str(data),
        *TINY,
        "--n-tasks",
        "130",
        "--strategies",
        "random",
        "margin",
    ]
    out, _ = evaluate([*command, "--out", "whole"], tmp_path)
    assert "margin" in out and "All pairs" in out
    done = rows(tmp_path / "whole")
    assert len(done) == 6
    for name in ("rows.csv.gz", "protocol.json", "figures/learning_curves.png", "figures/coverage.svg"):
        assert (tmp_path / "whole" / name).is_file()

    killed = start([*command, "--out", "killed", "--workers", "2"], tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("rows/*.csv.gz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 0 < len(list((tmp_path / "killed").glob("rows/*.csv.gz"))) <= 6
    # The same command again, now also with the report, continues and ends with the same bytes.
    out, _ = evaluate([*command, "--out", "killed", "--report"], tmp_path)
    assert rows(tmp_path / "killed") == done
    csv = [(tmp_path / name / "rows.csv.gz").read_bytes() for name in ("whole", "killed")]
    assert csv[0] == csv[1]
    assert (tmp_path / "killed" / "report.html").is_file()


@pytest.fixture(scope="module")
def small(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small evaluation in ``results/``."""
    folder = tmp_path_factory.mktemp("small")
    command = ["--dataset", str(data), *TINY, "--n-tasks", "10", "--strategies", "random", "margin"]
    evaluate([*command, "--out", "results/a"], folder)
    return folder


@pytest.mark.parametrize("option", ["--out", "--redraw"])
def test_two_processes_do_not_share_a_folder(option: str, small: Path, data: Path) -> None:
    command = ["--dataset", str(data), *TINY, "--n-tasks", "10", "--strategies", "random", "margin"]
    before = rows(small / "results" / "a")
    with FileLock(small / "results" / "a" / ".lock"):
        _, err = evaluate([*command, option, "results/a"], small, code=2)
    assert f"{option[2:]}='results/a': another process is at work there" in err and "Traceback" not in err
    assert rows(small / "results" / "a") == before


def test_redraw_of_a_missing_folder_creates_nothing(tmp_path: Path) -> None:
    _, err = evaluate(["--redraw", "results/none"], tmp_path, code=2)
    assert "Traceback" not in err and not (tmp_path / "results").exists()


def test_redraw_needs_rows_alone(small: Path) -> None:
    before = rows(small / "results" / "a")
    drawn = small / "results" / "a" / "figures" / "learning_curves.svg"
    drawn.unlink()
    out, _ = evaluate(
        ["--redraw", "results/a", "--measure", "final_accuracy", "--target-accuracy", "0.5"], small
    )
    assert drawn.is_file() and "accuracy 0.5" in out
    assert "evaluate.py --dataset" in (small / "results" / "a" / "report.html").read_text()
    assert rows(small / "results" / "a") == before


def test_more_strategies_join_the_same_tasks(small: Path, data: Path) -> None:
    command = ["--dataset", str(data), *TINY, "--n-tasks", "10", "--out", "results/a"]
    before = rows(small / "results" / "a")
    (small / "own.py").write_text(
        "from agents.strategies import Strategy\n"
        "class Confused(Strategy):\n"
        "    def score(self, view):\n"
        "        return -view.logits.amax(-1)\n"
    )
    external = ["own.py:Confused"]
    if importlib.util.find_spec("skactiveml"):
        (small / "foreign.py").write_text(
            "from skactiveml.pool import UncertaintySampling\nqs = UncertaintySampling(method='entropy')\n"
        )
        external.append("foreign.py:qs")
    out, _ = evaluate(
        [*command, "--strategies", "random", "random@1", "--extra-strategies", *external], small
    )
    after = rows(small / "results" / "a")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1 + len(external)
    for name in ("margin", "random@1", *(spec.partition(":")[2] for spec in external)):
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--strategies", "margn", "--dataset", "DATA"], "did you mean 'margin'"),
        (["--strategies", "random", "--dataset", "digit"], "did you mean 'digits'"),
        (["--strategies", "random", "--dataset", "gone.npz"], "gone.npz"),
        (["--strategies", "random", "--dataset", "DATA", "--measure", "aucl"], "did you mean 'aulc'"),
        (["--strategies", "random", "--dataset", "DATA", "--budget", "21", "--pool-size", "20"], "pool_size"),
        (["--strategies", "random", "--dataset", "DATA", "--way", "1"], "way=1"),
        (["--strategies", "random", "--dataset", "DATA", "--learner", "mmal"], "learner"),
        (["--policy", "runs/none", "--dataset", "DATA"], "runs/none"),
        (["--policy", "FOREIGN", "--dataset", "DATA"], "policy"),
        (["--strategies", "random", "--extra-strategies", "gone.py:X", "--dataset", "DATA"], "gone.py"),
        (["--strategies", "random", "random", "--n-tasks", "0", "--dataset", "DATA"], "n_tasks=0"),
        (["--strategies", "random", "--device", "abacus", "--dataset", "DATA"], "abacus"),
        (["--protocol", "OLD"], "version 0"),
        (["--redraw", "nowhere"], "nowhere"),
        (["--redraw", "OLD"], "version 0"),
        (["--strategies", "random", "--dataset", "DATA", *TINY, "--out", "OTHER"], "another protocol"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], says: str, data: Path, tmp_path: Path, small: Path
) -> None:
    foreign, old = tmp_path / "foreign", tmp_path / "old"
    for folder in (foreign, old):
        folder.mkdir()
    (foreign / "policy.json").write_text('{"kind": "cake"}')
    (foreign / "policy.safetensors").write_bytes(b"no weights")
    (old / "protocol.json").write_text('{"schema": 0}')
    names = {"DATA": data, "FOREIGN": foreign, "OLD": old, "OTHER": small / "results" / "a"}
    before = sorted(tmp_path.rglob("*"))
    given = [str(names.get(a, a)) for a in arguments]
    out, err = evaluate(given, tmp_path, code=2)
    assert says in err and "Traceback" not in err and err.count("\n") == 1, err
    assert sorted(tmp_path.rglob("*")) == before, out


def test_nothing_to_evaluate_names_the_command_that_trains(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `metaal train` first"):
        newest_run(tmp_path, shipped={})


def test_a_failing_strategy_keeps_the_others_rows(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from agents.strategies import Strategy\n"
        "class Broken(Strategy):\n"
        "    def score(self, view):\n"
        "        raise RuntimeError('nothing works')\n"
    )
    command = ["--dataset", str(data), *TINY, "--n-tasks", "5", "--strategies", "random", "--out", "r"]
    _, err = evaluate([*command, "--extra-strategies", "own.py:Broken"], tmp_path, code=2)
    assert "nothing works" in err and "Traceback" not in err
    assert len(rows(tmp_path / "r")) == 1
    assert json.loads((tmp_path / "r" / "protocol.json").read_text())["contestants"][1]["name"] == "Broken"


def make_run(folder: Path, data: Path, input_shape: tuple[int, ...] = (8,)) -> None:
    """A run as `train_policy.py` leaves it, with an untrained policy."""
    from agents.policy.network import AcquisitionNetwork
    from agents.policy.sb3_policy import LearnedStrategy
    from metaal_env.learners import build_learner, save_learner

    LearnedStrategy(AcquisitionNetwork()).save(folder / "policy", {})
    save_learner(
        build_learner("prototype", input_shape), folder / "learner", "prototype", input_shape, {}, {}
    )
    task = {
        "way": [2, 3],
        "pool_size": 20,
        "budget": 4,
        "class_concentration": float("inf"),
        "label_noise": 0.1,
    }
    (folder / "config.json").write_text(json.dumps({"dataset": str(data), "task": task, "name": None}))


def test_without_arguments_the_newest_run_is_judged_on_its_own_terms(data: Path, tmp_path: Path) -> None:
    for name in ("older", "newer"):
        make_run(tmp_path / "runs" / name, data)
        os.utime(tmp_path / "runs" / name / "policy.json", (1, 1 + (name == "newer")))
    # Far fewer tasks than a verdict needs: only the plumbing is at stake.
    out, _ = evaluate(
        ["--n-tasks", "6", "--split", "all", "--workers", "1", "--test-per-class", "5"], tmp_path
    )
    assert "judged: policy newer, the newest of 2 runs under runs/" in out
    assert "policy newer" in out.split("Verdict on policy newer")[0] and "greedy_lookahead*" in out
    [results] = (tmp_path / "results").iterdir()
    protocol = json.loads((results / "protocol.json").read_text())
    assert protocol["contestants"][0] == {
        **protocol["contestants"][0],
        "name": "policy newer",
        "spec": "runs/newer",
    }
    [scenario] = protocol["scenarios"]
    assert scenario["learner"] == "runs/newer/learner" and scenario["dataset"] == str(data)
    task = scenario["task"]
    assert (task["way"], task["budget"], task["class_concentration"], task["label_noise"]) == (
        [2, 3],
        4,
        "inf",
        0.1,
    )
    assert task["test_per_class"] == 5
    assert "data:image/png" in (results / "report.html").read_text()


@pytest.mark.slow  # two of every figure
def test_other_data_take_a_learner_that_fits_and_span_a_matrix(data: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "a", data, input_shape=(5,))
    make_run(tmp_path / "b", data)
    command = [
        "--policy",
        "a",
        "b",
        "--dataset",
        "iris",
        str(data),
        *(word for word in TINY if word not in ("--way", "3")),
        "--way",
        "2",
        "--way",
        "3",
        "--n-tasks",
        "4",
    ]
    out, _ = evaluate([*command, "--strategies", "random", "margin", "--out", "r"], tmp_path)
    assert "the run's learner does not fit inputs (4,); using prototype" in " ".join(out.split())
    for text in (
        "Verdict on policy a",
        "policy b − rival, by scenario",
        "2 policies as one",
        "iris way 2",
        "clusters way 3",
    ):
        assert text in out
    assert (tmp_path / "r" / "figures" / "matrix_policy_a.png").is_file()
