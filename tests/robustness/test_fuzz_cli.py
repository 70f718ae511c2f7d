"""The command lines on generated arguments: exit code 0 or 2, one sentence, never a traceback."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import socketserver
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from helpers.clusters import cluster_dataset
from helpers.hostile import COMMANDS, fuzz
from hypothesis import given
from hypothesis import strategies as st

from agents import command_line
from agents.evaluation import run as evaluation
from agents.training import run as train_policy
from agents.training.config import TrainConfig
from metaal_env.runtime.command_line import run_cli

ODD = (
    "", "-1", "0", "1", "2", "3", "0.5", "nan", "inf", "1e999", "9" * 40, "2-3", "3-2", "-", "a-b", "None", "True",
    "..", "../x", "/", "\0", "ä", "\udc80", "[/b]", "%s", "--", "-h", "{", "x.py:Y", "gone.npz", "uherding", "margin",
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(ODD), st.sampled_from(ODD), st.integers(-3, 30).map(str), st.text(max_size=6)
)


def lines(
    valid: dict[str, tuple[str, ...]], positional: st.SearchStrategy[list[str]], most: int = 4
) -> st.SearchStrategy[list[str]]:
    """Some options of `valid`, with their own values or odd ones, and now and then an argument out of place."""
    options = st.sampled_from(sorted(valid)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.one_of(
                *([st.sampled_from(valid[name])] * 2 if valid[name] else []), VALUES
            ),
        )
    )  # fmt: skip
    stray = st.one_of(st.just([]), st.just([]), st.just([]), st.lists(VALUES, max_size=2))
    return st.tuples(positional, st.lists(options, max_size=most), stray).map(
        lambda parts: [*parts[0], *(word for pair in parts[1] for word in pair), *parts[2]]
    )


def check_exit(call: Callable[[], int], arguments: list[str]) -> int:
    """Runs a command line; its exit code. Any other exception than an exit is a failure."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = call()
        except SystemExit as refused_by_tyro:
            code = refused_by_tyro.code  # type: ignore[assignment]
            assert code in (0, 2), arguments
            return code
    message = err.getvalue()
    assert code in (0, 2), arguments
    assert "Traceback" not in message
    if code == 2:
        errors = [line for line in message.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, message
        assert message.rstrip().endswith(errors[0]), message
    return code


@pytest.fixture()
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with data, a table and a run; the working folder."""
    clusters = cluster_dataset(classes=9, items=16, dim=3)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    np.savez("clusters.npz", X=clusters.inputs.numpy(), y=clusters.labels.numpy())
    with open("items.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "weight", "length", "label"])
        rng = np.random.default_rng(0)
        writer.writerows(
            [f"r{i}", *rng.normal(size=2).round(3), "ab"[i % 2] if i < 6 else ""] for i in range(12)
        )
    Path("texts.txt").write_text("one cat\ntwo dogs\nthree birds\n")
    Path("broken.csv").write_text('a,"b\n')
    return work


EVALUATE = {
    "--dataset": ("clusters.npz", "iris"), "--split": ("all", "test", "train"), "--policy": (),
    "--strategies": ("random",), "--extra-strategies": ("margin", "random@1"), "--learner": ("prototype",),
    "--way": ("2", "3"), "--pool-size": ("12",),
    "--budget": ("3", "2"), "--initial-labels": ("1",), "--class-concentration": ("1", "inf"),
    "--label-noise": ("0.1",), "--distractors": ("0.1",), "--test-per-class": ("3",), "--reward-per-class": ("3",),
    "--n-tasks": ("2",),
    "--seeds": ("0", "3"), "--out": ("results",), "--workers": ("1",),
    "--cluster": ("local",), "--cluster-options": ("timeout_min=5",), "--device": ("cpu",),
    "--measure": ("aulc", "neg_log_loss"), "--target": ("0.5",), "--target-accuracy": ("0.5",),
    "--protocol": ("results",), "--redraw": ("results",),
    "--no-report": (), "--matrix": (), "--plan.way": (), "--nothing": (),
}  # fmt: skip
START = [
    "--dataset",
    "clusters.npz",
    "--strategies",
    "random",
    "--split",
    "all",
    "--way",
    "2",
    "--pool-size",
    "12",
]
START += [
    "--budget",
    "3",
    "--test-per-class",
    "3",
    "--reward-per-class",
    "3",
    "--n-tasks",
    "2",
    "--out",
    "results",
]


@pytest.mark.parametrize("examples", COMMANDS)
def test_evaluate(examples: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the playing and the drawing, which other tests cover."""
    monkeypatch.setattr(evaluation, "play_missing", lambda *_, **__: None)
    monkeypatch.setattr(evaluation, "open_executor", lambda *_: nullcontext())
    monkeypatch.setattr(evaluation, "show", lambda *_: None)
    monkeypatch.setattr(evaluation, "example_pools", lambda *_: {})
    codes = []

    @fuzz(examples * 3 // 10)
    @given(lines(EVALUATE, st.sampled_from([START, START, []])))
    def check(arguments: list[str]) -> None:
        codes.append(check_exit(lambda: evaluation.main(arguments), arguments))

    check()
    assert {0, 2} == set(codes)


TRAIN = {
    "--dataset": ("clusters.npz", "iris"), "--learner": ("prototype", "maml"), "--name": ("mine",), "--way": ("2", "3"),
    "--pool-size": ("12",), "--budget": ("3",), "--initial-labels": ("1",), "--class-concentration": ("1", "inf"),
    "--label-noise": ("0.1",), "--distractors": ("0.1",), "--reward-per-class": ("2",), "--test-per-class": ("2",),
    "--reward": ("aulc", "likelihood_aulc"), "--verdict-tasks": ("4",), "--device": ("cpu",), "--out": ("runs",),
    "--learner-options": (), "--ppo.prior": ("margin",), "--ppo.n-envs": ("8",), "--ppo.paired": ("2",),
    "--ppo.iterations": ("3",), "--meta.iterations": ("3",), "--meta.shots": (), "--imitation.iterations": ("1",),
    "--meta.learning-rate": ("0.01",), "--ppo.learning-rate": ("0.01",), "--nothing": (),
}  # fmt: skip
TINY = [
    "--dataset",
    "clusters.npz",
    "--learner",
    "prototype",
    "--way",
    "2",
    "--pool-size",
    "12",
    "--budget",
    "3",
]
TINY += ["--reward-per-class", "2", "--test-per-class", "2"]


@pytest.mark.parametrize("examples", COMMANDS)
def test_train_policy(examples: int, data: Path) -> None:
    """The options and the check that comes before any work."""
    codes = []

    @fuzz(examples // 10)
    @given(lines(TRAIN, st.sampled_from([TINY, TINY, []])))
    def check(arguments: list[str]) -> None:
        def call() -> int:
            return run_cli(lambda: train_policy.check(tyro.cli(TrainConfig, args=arguments)))

        codes.append(check_exit(call, arguments))

    check()
    assert {0, 2} == set(codes)
    assert not (data / "runs").exists(), "the check writes nothing"


METAAL = {
    "--labels": ("mine.csv",), "--encoder": ("raw", "tfidf", "pixels"), "--label-column": ("label",),
    "--text-column": ("text",), "--k": ("2", "50"), "--policy": ("uherding", "random"), "--budget": ("5", "20"),
    "--out": ("out.csv",), "--count": ("1",), "--classes": ("a,b", "a,,b"), "--yardstick": ("3",),
    "--from": ("items.csv",), "--id-column": ("id",), "--ignore": ("weight",), "--figure": ("why.svg",),
    "--key": ("text",), "--host": ("127.0.0.1",), "--port": ("0",),
}  # fmt: skip


@pytest.mark.parametrize("examples", COMMANDS)
def test_metaal(examples: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketserver.BaseServer, "serve_forever", lambda *_: None)
    monkeypatch.setattr("builtins.input", lambda *_: (_ for _ in ()).throw(EOFError))
    start = st.tuples(
        st.sampled_from(["suggest", "suggest", "import", "label", "status", "report", "serve", "sugest", ""]),
        st.sampled_from(
            ["items.csv", "items.csv", "texts.txt", "clusters.npz", "broken.csv", "gone.csv", ".", "\0"]
        ),
    ).map(lambda pair: [pair[0]] if pair[0] == "serve" else list(pair))
    codes = []

    @fuzz(examples * 6 // 10)
    @given(lines(METAAL, start, most=2))
    def check(arguments: list[str]) -> None:
        codes.append(check_exit(lambda: command_line.main(arguments), arguments))
        for made in data.iterdir():  # what one command writes must not decide the next
            if made.name not in ("clusters.npz", "items.csv", "texts.txt", "broken.csv"):
                _remove(made)

    check()
    assert {0, 2} == set(codes)


def _remove(path: Path) -> None:
    import shutil

    shutil.rmtree(path) if path.is_dir() else os.unlink(path)


def test_what_passes_the_fuzz_is_used(data: Path) -> None:
    """The starting arguments alone are valid."""
    arguments: list[Any] = ["suggest", "items.csv", "--k", "2"]
    assert check_exit(lambda: command_line.main(arguments), arguments) == 0
