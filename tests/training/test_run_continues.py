"""Which commands continue a run: files may move and plans may grow, what changes the weights is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clusters import cluster_dataset
from helpers.tiny_training import saved
from helpers.train_command import TINY

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.run import main
from metaal_env.datasets import data_fingerprint
from metaal_env.learners import build_learner, save_learner
from metaal_env.runtime.artifacts import fingerprint

Run = Callable[..., tuple[int, str]]


def write(path: Path, seed_of_item: int = 0) -> Path:
    """The data set; one number of it differs between seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = cluster_dataset(classes=12, items=24)
    inputs = dataset.inputs.numpy().copy()
    inputs[-1, 0] += seed_of_item
    np.savez(path, X=inputs, y=dataset.labels.numpy())
    return path


@pytest.fixture()
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``metaal train`` in a folder of its own; returns exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str]:
        code = main([*TINY, *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


RUN = ["--dataset", "data/clusters.npz", "--learner", "runs/base", "--extra-sources", "data/more.npz@runs/base/learner",
       "--ppo.start", "runs/base", "--name", "run"]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, learner and policies, and ``runs/run``, a finished run from them."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(Path("data/clusters.npz"))
        write(Path("data/more.npz"), 1)
        learner = build_learner("maml", (8,))
        save_learner(learner, Path("runs/base/learner"), "maml", (8,), {}, {})
        for name, rule in (("base", "uherding"), ("margin", "margin")):
            LearnedStrategy(AcquisitionNetwork(rule, width=8)).save(Path("runs") / name / "policy", {})
        assert main([*TINY, *RUN]) == 0
    return folder


@pytest.fixture()
def here(finished: Path, tmp_path: Path) -> Path:
    """A copy of `finished`, which a test may change."""
    for name in ("data", "runs"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


def weights(folder: Path) -> bytes:
    return (folder / "policy.safetensors").read_bytes()


def replaced(arguments: list[str], **values: object) -> list[str]:
    """The command with other values of some options."""
    found = list(arguments)
    for name, value in values.items():
        option = "--" + name.replace("__", ".").replace("_", "-")
        if option in found:
            found[found.index(option) + 1] = str(value)
        else:
            found += [option, str(value)]
    return found


def test_a_run_with_all_its_sources_moved_gives_its_verdict_again(here: Path, run: Run) -> None:
    before = weights(here / "runs" / "run")
    (here / "elsewhere").mkdir()
    (here / "runs" / "run").rename(here / "elsewhere" / "renamed")
    (here / "runs" / "base").rename(here / "base")
    (here / "data").rename(here / "moved")
    moved = replaced(
        RUN, out="elsewhere", name="renamed", dataset=here / "moved" / "clusters.npz", learner="base/learner",
        extra_sources=f"{here}/moved/more.npz@{here}/base", ppo__start=here / "base" / "policy.json", verdict_tasks=3,
    )  # fmt: skip
    code, said = run(*moved)
    assert code == 0, said
    assert "3 paired tasks" in said and "policy (PPO)" not in said and "imitation" not in said
    assert weights(here / "elsewhere" / "renamed") == before
    record = json.loads((here / "elsewhere" / "renamed" / "config.json").read_text())
    assert record["dataset"] == str(here / "moved" / "clusters.npz"), "where evaluate.py finds the data now"
    assert not (here / "runs" / "run").exists()


CHANGES: dict[str, tuple[dict[str, object], str]] = {
    "learning rate": ({"ppo__learning_rate": 0.5}, "ppo.learning_rate is 0.5, was 0.0007"),
    "task": ({"budget": 3}, "budget is 3, was 4"),
    "imitation": ({"imitation__seed": 1}, "imitation.seed is 1, was 0"),
    "meta-training": ({"meta__iterations": 21}, "meta.iterations is 21, was 20"),
    "learner": ({"learner": "prototype"}, 'learner is "prototype", was "runs/base", of other content'),
    "options": ({"learner_options": "steps 3"}, "learner_options.steps is"),
    "start": ({"ppo__start": "runs/margin"}, 'ppo.start is "runs/margin", was "runs/base", of other content'),
    "source": ({"extra_sources": "data/more.npz"}, "extra_sources is"),
    "data": ({"dataset": "data/more.npz"}, 'dataset is "data/more.npz", was "data/clusters.npz", of other'),
    "fewer": ({"ppo__iterations": 3}, "ppo.iterations=3 is less than the 4"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_settings_are_refused_by_name(change: str, here: Path, run: Run) -> None:
    values, says = CHANGES[change]
    before = {file: file.read_bytes() for file in (here / "runs" / "run").rglob("*") if file.is_file()}
    arguments = replaced(RUN, **values)
    if change == "options":
        arguments = [*RUN, "--learner-options", "steps", "3"]
    code, said = run(*arguments)
    assert code == 2 and says in said, said
    assert said.count("\n") == 1 and "--name" in said
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("clusters.npz", 'dataset is "data/clusters.npz", whose content has changed since'),
        ("more.npz", 'extra_sources is ["data/more.npz@runs/base/learner"], whose content has changed since'),
    ],
)
def test_changed_data_under_the_same_name_are_noticed(file: str, says: str, here: Path, run: Run) -> None:
    write(here / "data" / file, 2)
    code, said = run(*RUN)
    assert code == 2 and says in said and said.count("\n") == 1, said


def test_a_finished_run_is_raised_once_its_checkpoint_is_there(here: Path, run: Run) -> None:
    folder = here / "runs" / "run"
    raised = replaced(RUN, ppo__iterations=6)
    checkpoint = folder / "checkpoints" / "ppo.pt"
    checkpoint.rename(here / "kept.pt")
    code, said = run(*raised)
    assert code == 2 and "ppo.iterations=6 cannot be reached" in said and "give 4" in said
    (here / "kept.pt").rename(checkpoint)
    code, said = run(*raised)
    assert code == 0 and "policy (PPO)" in said, said
    end = saved(folder)
    assert (end["iteration"], end["plans"]) == (6, [4, 6])
    code, said = run(*RUN)
    assert code == 2 and "ppo.iterations=4 is less than the 6" in said


def test_a_record_without_fingerprints_is_trusted_where_the_words_are_the_same(here: Path, run: Run) -> None:
    file = here / "runs" / "run" / "config.json"
    record = json.loads(file.read_text())
    prints = record.pop("fingerprints")
    file.write_text(json.dumps(record))
    code, said = run(*replaced(RUN, dataset=here / "data" / "clusters.npz"))
    assert code == 2 and 'was "data/clusters.npz", of unknown content' in said
    code, said = run(*RUN)
    assert (
        code == 0 and "note: name='run': was begun without fingerprints; unchanged on trust: dataset=" in said
    )
    assert json.loads(file.read_text())["fingerprints"] == prints


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record.pop("random_task_shapes"), "random_task_shapes is true, was no setting"),
        (lambda record: record.update(shuffle=1), "shuffle is no setting, was 1"),
        (lambda record: record["ppo"].update(iterations="4"), 'ppo.iterations is 4, was "4"'),
        (lambda record: record.update(ppo=[]), "ppo is no setting, was []"),
        (lambda record: record["fingerprints"].update(dataset=[]), "whose content has changed"),
        (lambda record: record.clear(), "more; give what that run had"),
    ],
)
def test_records_of_other_versions_and_of_strangers(
    change: Callable[[dict[str, Any]], Any], says: str, here: Path, run: Run
) -> None:
    file = here / "runs" / "run" / "config.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    code, said = run(*RUN)
    assert code == 2 and says in said and said.count("\n") == 1, said


def test_fingerprints_are_of_the_content(finished: Path, tmp_path: Path) -> None:
    same, other = write(tmp_path / "b.npz"), write(tmp_path / "c.npz", 3)
    data = finished / "data" / "clusters.npz"
    assert data_fingerprint(str(data)) == data_fingerprint(str(same)) != data_fingerprint(str(other))
    dataset = cluster_dataset(items=4)
    prints = {
        dataset.fingerprint,
        replace(dataset, inputs=dataset.inputs.flip(0)).fingerprint,
        replace(dataset, labels=dataset.labels.flip(0)).fingerprint,
        replace(dataset, class_names=tuple(name.upper() for name in dataset.class_names)).fingerprint,
        replace(dataset, groups=("a",) * 6 + ("b",) * 6).fingerprint,
        replace(dataset, class_split=("train", "validation", "test") * 4).fingerprint,
    }
    assert len(prints) == 6
    assert replace(dataset, name="other", texts=("x",) * len(dataset)).fingerprint == dataset.fingerprint
    base, run = finished / "runs" / "base", finished / "runs" / "run"
    assert fingerprint(base / "learner", "learner") == fingerprint(run / "learner", "learner")
    assert fingerprint(base / "policy", "policy") != fingerprint(base.parent / "margin" / "policy", "policy")
