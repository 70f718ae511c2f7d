"""Results are known by what was evaluated, not by where its files lie; what changed is said or refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation_stubs import PROTOCOL, evaluated_clusters

from agents.evaluation.protocol.cells import cells_of, pending, run_cell
from agents.evaluation.protocol.planning import Plan, make_protocol
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.replay import replay
from agents.evaluation.protocol.rows import read_results
from agents.evaluation.protocol.scenario import SCHEMA
from agents.evaluation.protocol.task_grid import TaskGrid
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.datasets import data_fingerprint
from metaal_env.errors import InputError
from metaal_env.learners import build_learner, save_learner

PLAN = Plan(
    dataset=("data/clusters.npz",),
    policy=("runs/a",),
    split="all",
    task=TaskGrid(way=(3,), pool_size=(20,), budget=(4,)),
    n_tasks=3,
    strategies=("margin",),
)


def write_data(file: Path, change: float = 0) -> None:
    dataset = evaluated_clusters()
    inputs = dataset.inputs.numpy().copy()
    inputs[0, 0] += change
    file.parent.mkdir(exist_ok=True)
    np.savez(file, X=inputs, y=dataset.labels.numpy())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data and a run on it."""
    monkeypatch.chdir(tmp_path)
    write_data(Path("data/clusters.npz"))
    run = Path("runs/a")
    LearnedStrategy(AcquisitionNetwork(width=8)).save(run / "policy", {})
    save_learner(build_learner("prototype", (8,)), run / "learner", "prototype", (8,), {}, {})
    record = {
        "dataset": "data/clusters.npz",
        "task": {"way": 3, "pool_size": 20, "budget": 4},
        "fingerprints": {"dataset": data_fingerprint("data/clusters.npz")},
    }
    (run / "config.json").write_text(json.dumps(record))
    return tmp_path


def test_moved_files_and_absolute_paths_are_the_same_protocol(here: Path) -> None:
    first = make_protocol(PLAN).protocol
    folder = here / "results"
    first.save(folder / "protocol.json")
    for cell in cells_of(first, folder):
        run_cell(cell)
    shutil.move("data", "elsewhere")
    shutil.move("runs", "kept")
    plan = replace(
        PLAN, dataset=(str(here / "elsewhere" / "clusters.npz"),), policy=(str(here / "kept" / "a"),)
    )
    second = make_protocol(plan).protocol
    assert second.digest == first.digest and second.scenarios[0].key == first.scenarios[0].key
    shutil.move("results", "moved")
    joined = second.joined_to(here / "moved" / "protocol.json")
    assert not pending(cells_of(second, here / "moved"), second)
    assert set(read_results(here / "moved", joined)) == {"policy a", "margin"}


def test_changed_data_and_learners_are_another_protocol(here: Path) -> None:
    first = make_protocol(PLAN).protocol
    learner = build_learner("prototype", (8,), body="identity")
    save_learner(learner, Path("runs/a/learner"), "prototype", (8,), {"body": "identity"}, {})
    second = make_protocol(PLAN).protocol
    write_data(Path("data/clusters.npz"), 1)
    third = make_protocol(PLAN).protocol
    assert len({protocol.digest for protocol in (first, second, third)}) == 3
    first.save(here / "results" / "protocol.json")
    with pytest.raises(InputError, match="holds results of another protocol"):
        third.joined_to(here / "results" / "protocol.json")


def test_a_run_knows_its_data_by_their_content(here: Path) -> None:
    """Another way or pool size is fitted only to foreign data, and only these are said to be foreign."""
    plan = Plan(policy=("runs/a",), split="all", n_tasks=3, strategies=("margin",))
    assert not make_protocol(plan).notes
    shutil.copytree("data", "copy")
    assert not make_protocol(replace(plan, dataset=("copy/clusters.npz",))).notes
    write_data(Path("data/clusters.npz"), 1)
    [note, *_] = make_protocol(plan).notes
    assert note.startswith("data/clusters.npz: the content has changed since a was trained on it")
    shutil.rmtree("data")
    with pytest.raises(InputError) as refused:
        make_protocol(plan)
    assert str(refused.value).startswith("dataset='data/clusters.npz', which policy='runs/a' was trained on")
    assert "with --dataset" in str(refused.value)


def test_results_of_version_1_are_drawn_and_replayed_but_not_added_to(here: Path) -> None:
    file = here / "old" / "protocol.json"
    PROTOCOL.save(file)
    raw = json.loads(file.read_text())
    raw["schema"] = 1
    for scenario in raw["scenarios"]:
        del scenario["schema"]
    file.write_text(json.dumps(raw))
    old = Protocol.load(file)
    # As version 1 computed them, so that its rows are found.
    assert old.digest == "00492d185c540f69"
    assert [scenario.key[-7:] for scenario in old.scenarios] == ["#e5c6b6", "#ee3462"]
    with pytest.raises(InputError, match=r"holds results of version 1, .*--redraw"):
        PROTOCOL.joined_to(file)
    raw |= {"scenarios": raw["scenarios"][:1], "contestants": [{"name": "random", "spec": "random"}]}
    raw["scenarios"][0] |= {"dataset": "data/clusters.npz", "split": "all"}
    file.write_text(json.dumps(raw))
    again = replay(file)
    assert again.protocol.schema == again.protocol.scenarios[0].schema == SCHEMA
    assert again.notes == ["protocol of version 1: whether data and learners differ from then is unknown"]
