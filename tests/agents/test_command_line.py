"""``metaal``: every command is listed, every option explained, and threads and devices are settled in one place."""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from helpers.paths import ROOT
from tyro.extras import get_parser

from agents import command_line
from agents.acquisition.tool.commands import Command
from agents.evaluation.run import Options
from agents.training.config import TrainConfig
from metaal_env.core import Core
from metaal_env.make import check_device, make_core
from metaal_env.runtime.command_line import THREADS, run_cli


def benchmark_options() -> Iterator[Any]:
    """The options of every script in benchmarks/."""
    for file in sorted((ROOT / "benchmarks").glob("*/*.py")):
        if "run_command(" in file.read_text():
            module = importlib.import_module(f"benchmarks.{file.parent.name}.{file.stem}")
            kinds = [getattr(module, name, None) for name in ("Options", "Config", "GeneralConfig")]
            yield pytest.param(next(k for k in kinds if k is not None), id=f"{file.parent.name}.{file.stem}")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(TrainConfig, id="train"),
        pytest.param(Options, id="evaluate"),
        *(pytest.param(kind, id=subcommand.name) for kind, subcommand in map(get_args, get_args(Command))),
        *benchmark_options(),
    ],
)
def test_every_option_has_help_text(kind: Any) -> None:
    silent, options = [], get_parser(kind)._actions
    assert len(options) >= 3  # --help and at least two of its own
    for action in options:
        text = str(action.help or "").partition("(default:")[0].partition("(required)")[0]
        if not text.replace("(repeatable)", "").strip():
            silent.append(action.option_strings or action.dest)
    assert not silent


def test_a_field_without_a_docstring_would_be_found() -> None:
    """The docstring of a grouped attribute is not its help text, which is how options fell silent."""
    from dataclasses import dataclass

    @dataclass
    class Grouped:
        """Two settings.

        Attributes:
            first, second: numbers.
        """

        first: int = 0
        second: int = 0

    texts = [str(action.help) for action in get_parser(Grouped)._actions if action.dest != "help"]
    assert len(texts) == 2 and all(text.startswith("(default:") for text in texts)


def test_help_lists_all_commands_with_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line for line in lines if line.startswith("  ")}
    labelling = {get_args(kind)[1].name for kind in get_args(Command)}
    assert listed.keys() == {"train", "evaluate"} | labelling
    assert all(len(line.split()) > 3 and len(line) <= 120 for line in listed.values())
    assert command_line.main([]) == 2, "a command is missing"


@pytest.mark.parametrize("command", ["train", "evaluate", "suggest"])
def test_commands_are_reached_by_their_first_word(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main([command, "--help"])
    assert ended.value.code == 0 and f"metaal {command}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["trian"]) == 2
    assert "command='trian' is unknown; did you mean 'train'?" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--version"]) == 0
    assert re.fullmatch(r"metaal \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_own_warnings_are_one_line_and_those_of_libraries_keep_their_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        warnings.warn_explicit("two images are left out", UserWarning, str(ROOT / "agents" / "a.py"), 1)
        warnings.warn_explicit("old option", FutureWarning, "/usr/lib/python3/sklearn/svm.py", 7)

    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = shown
        assert run_cli(main) == 0
    own, *foreign = capsys.readouterr().err.splitlines()
    assert own == "warning: two images are left out"
    assert foreign[0] == "/usr/lib/python3/sklearn/svm.py:7: FutureWarning: old option"
    assert warnings.showwarning is shown, "the handler outlives the command"


@pytest.mark.parametrize(("text", "threads"), [("2", 2), ("3,1", 3), (None, 1)])
def test_commands_compute_with_the_threads_asked_for(
    text: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv(THREADS, raising=False)
    if text is not None:
        monkeypatch.setenv(THREADS, text)
    found: list[int] = []
    try:
        assert run_cli(lambda: found.append(torch.get_num_threads())) == 0
        assert found == [threads] and os.environ[THREADS] == (text or "1")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("text", ["0", "two", "-1", ""])
def test_a_wrong_number_of_threads_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(THREADS, text)
    assert run_cli(lambda: pytest.fail("must not run")) == 2
    assert capsys.readouterr().err.startswith(f"error: {THREADS}={text!r} must be a whole number")


@pytest.mark.parametrize(
    ("there", "forked", "kind"), [(False, False, "cpu"), (True, False, "cuda"), (True, True, "cpu")]
)
def test_auto_is_the_gpu_where_this_process_can_use_one(
    there: bool, forked: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: forked)
    assert check_device("auto").type == kind


def test_auto_is_the_default_and_equals_the_device_that_it_stands_for(core: Core) -> None:
    default = make_core(core.dataset, split="all", way=3, pool_size=20, budget=4)
    named = make_core(
        core.dataset, split="all", way=3, pool_size=20, budget=4, device=str(check_device("auto"))
    )
    assert default.device == named.device
    assert torch.equal(default.prepared, named.prepared)
