"""Cells on other executors and replayed protocols give the same rows; policies pooled over seeds."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import tyro

from agents.evaluation.paired import Paired
from agents.evaluation.play_protocol import run_cells
from agents.evaluation.protocol.cells import cells_of, pending
from agents.evaluation.protocol.planning import Plan, make_protocol
from agents.evaluation.protocol.replay import replay
from agents.evaluation.protocol.rows import read_results
from agents.evaluation.protocol.task_grid import TaskGrid, grid_tasks
from agents.evaluation.statistics.comparisons import pooled_difference
from agents.training.config import TrainConfig
from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError
from metaal_env.runtime.executor import WorkerOptions, open_executor
from metaal_env.sampler import TaskSampler
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig

PLAN = Plan(
    dataset=("iris",),
    split="all",
    strategies=("random", "margin"),
    task=TaskGrid(pool_size=(20,), budget=(3, (2, 4))),
    n_tasks=70,
)


def rows(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "rows").iterdir()}


def test_any_executor_plays_the_same_cells(tmp_path: Path) -> None:
    planned = make_protocol(PLAN)
    assert planned.notes == ["iris: settings fitted to the data: way 10 → 3"] and planned.judged == []
    here, elsewhere = (cells_of(planned.protocol, tmp_path / name) for name in ("here", "elsewhere"))
    assert len(here) == 2 * 2 * 2  # scenarios, strategies, blocks of 70 tasks
    finished: list[str] = []
    run_cells(here, done=lambda cell: finished.append(cell.stem))
    assert finished == [cell.stem for cell in here]
    with open_executor(WorkerOptions(workers=2)) as executor:
        run_cells(elsewhere, executor)
    assert rows(tmp_path / "here") == rows(tmp_path / "elsewhere")
    here[3].path.unlink()
    assert pending(here, planned.protocol) == [here[3]]
    with pytest.raises(InputError, match="belong to protocol"):
        pending(here, replace(planned.protocol, n_tasks=69))


@pytest.mark.slow  # test_executor.py has jobs of a cluster in every run
def test_cluster_jobs_play_the_same_cells(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    planned = make_protocol(replace(PLAN, n_tasks=5, strategies=("random",)))  # two jobs, each a process
    here, elsewhere = (cells_of(planned.protocol, tmp_path / name) for name in ("here", "elsewhere"))
    run_cells(here)
    with open_executor(WorkerOptions(workers=2, cluster="slurm-here"), tmp_path / "elsewhere") as executor:
        run_cells(elsewhere, executor)
    assert rows(tmp_path / "here") == rows(tmp_path / "elsewhere")


def test_a_saved_protocol_is_played_again_with_the_same_rows(tmp_path: Path) -> None:
    protocol = make_protocol(replace(PLAN, n_tasks=5)).protocol
    protocol.save(tmp_path / "protocol.json")
    again = replay(tmp_path)
    assert again.protocol == protocol and again.notes == []
    results = []
    for name, played in (("a", protocol), ("b", again.protocol)):
        run_cells(cells_of(played, tmp_path / name))
        results.append(read_results(tmp_path / name, played))
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert list(results[0]) == ["random", "margin"] and len(results[0]["random"]) == 10
    other = replace(protocol, scenarios=tuple(replace(s, data_digest="x") for s in protocol.scenarios))
    other.save(tmp_path / "protocol.json")
    assert "data differ" in replay(tmp_path).notes[0]


def test_a_matrix_varies_one_setting_at_a_time() -> None:
    planned = make_protocol(replace(PLAN, matrix=True, task=TaskGrid(budget=(3,))))
    base, *others = planned.protocol.scenarios
    assert {
        sum(a != b for a, b in zip(base.axes.values(), s.axes.values(), strict=True)) for s in others
    } == {1}
    assert any("left out" in note and "way=20" in note for note in planned.notes)


def test_tasks_are_fitted_to_small_data_but_not_against_the_users_will() -> None:
    iris = load_dataset("iris")
    fitted, changes = fit_task(TaskConfig(reward_per_class=40), iris, set())
    TaskSampler(iris, fitted)
    assert fitted.way == 3 and len(changes) == 3
    kept, _ = fit_task(TaskConfig(), iris, {"way"})
    assert kept.way == 10


def test_a_setting_means_what_it_means_in_training_and_spans_scenarios_when_repeated() -> None:
    words = ["--way", "5", "20", "--way", "7", "--class-concentration", "0.3", "--class-concentration", "inf"]
    plan = tyro.cli(Plan, args=words)
    assert plan.task.way == ((5, 20), 7) and plan.task.class_concentration == (0.3, float("inf"))
    trained = tyro.cli(TrainConfig, args=[*words[:3], *words[-2:]]).task
    assert (trained.way, trained.class_concentration) == (plan.task.way[0], plan.task.class_concentration[1])


def test_a_grid_has_the_settings_of_tasks_and_no_others() -> None:
    assert [f.name for f in fields(TaskGrid)] == [f.name for f in fields(TaskConfig)]  # type: ignore[arg-type]
    grid = TaskGrid(way=(2, (3, 5)), label_noise=(0.1,))
    found = list(grid_tasks(grid, TaskConfig(budget=7)))
    assert [(g.task.way, g.task.label_noise, g.task.budget) for g in found] == [(2, 0.1, 7), ((3, 5), 0.1, 7)]
    assert {g.chosen for g in found} == {frozenset({"way", "label_noise"})}
    varied = [g for g in grid_tasks(TaskGrid(), TaskConfig(), matrix=True) if g.is_variation]
    assert len(varied) == 10 and all("way" in g.chosen for g in varied if g.task.way != 10)


def test_several_policies_count_as_one_method() -> None:
    rng = np.random.default_rng(0)
    effects = np.array([0.00, 0.02, 0.04, 0.02, 0.02])  # of five training seeds
    rival = rng.uniform(0.4, 0.6, 200)
    values = rival[:, None] + effects + rng.normal(0, 0.01, (200, 5))
    names = tuple(f"policy {i}" for i in range(5))
    paired = Paired((*names, "rival"), np.c_[values, rival], np.zeros(200), np.arange(200))
    got = pooled_difference(paired, names, "rival")
    # Between seeds sd/√5 = .0057 (resampling estimates it with n, not n − 1); tasks add next to nothing.
    assert got.estimate == pytest.approx(0.02, abs=2e-3)
    assert (got.high - got.low) / (2 * 1.96) == pytest.approx(effects.std() / np.sqrt(5), rel=0.15)
    paired.values[0, 0] = np.nan
    assert pooled_difference(paired, names, "rival").missing == 1
