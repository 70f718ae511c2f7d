"""Data with rare classes: the defaults train and judge with what there is, and say so."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.training.config import TrainConfig
from agents.training.run import check
from metaal_env.datasets.base import ClassDataset, Split
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.sampler import TaskSampler
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig


def data_of(sizes: list[int]) -> ClassDataset:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(len(labels), 3))).float()
    names = tuple(f"c{c}" for c in range(len(sizes)))
    return ClassDataset("rare", x, labels, names, names, "vector")


@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
@pytest.mark.parametrize(
    ("sizes", "way"),
    [([900, 12], 2), ([300, 300, 12], 3), ([300, 300, 5], None), ([900, 25, 12], 3)],
    ids=["two classes", "three classes", "one too rare", "two rare"],
)
def test_defaults_serve_rare_classes(sizes: list[int], way: int | None, split: Split) -> None:
    data = data_of(sizes)
    with pytest.warns(UserWarning, match="fitted to the data: way 10 → "):
        core = make_core(data, split=split)
    if way is not None:
        assert core.config.way == way
    batch = core.sampler.sample([np.random.default_rng(i) for i in range(4)])
    for row in range(4):
        pool = batch.pool_labels[row][batch.pool_mask[row]]
        assert len(pool.unique()) == core.config.way  # every class of the task can be found


def test_classes_too_rare_for_any_set_are_left_out_and_named() -> None:
    data = data_of([100] * 8 + [4, 2, 1])
    task, notes = fit_task(TaskConfig(), data, set())
    assert task.way == 9 and notes[0] == "way 10 → 9"
    assert notes[-1] == "too rare for tasks: 'c10' (1 items), 'c9' (2 items)"
    few, notes = fit_task(TaskConfig(way=5), data, set())
    assert few == TaskConfig(way=5)
    assert notes == ["too rare for tasks: 'c10' (1 items), 'c9' (2 items), 'c8' (4 items)"]


@pytest.mark.filterwarnings("ignore:dataset='rare'")
def test_what_was_chosen_explicitly_is_not_changed() -> None:
    with pytest.raises(InputError, match="way=10 exceeds the 2 classes"):
        make_core(data_of([900, 12]), way=10)
    with pytest.raises(InputError, match="reward_per_class=10"):
        make_core(data_of([900, 12]), reward_per_class=10)
    with pytest.raises(InputError, match="way=10"):
        make_core(data_of([900, 12]), task=TaskConfig())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_core(data_of([90, 90]), way=2)


@pytest.mark.parametrize("sizes", [[900, 3], [8, 8]])
def test_where_nothing_is_left_the_mend_is_named(sizes: list[int]) -> None:
    data = data_of(sizes)
    part = data.split("test")
    with pytest.raises(InputError, match="give more items of it, or take split='all'"):
        TaskSampler(part, fit_task(TaskConfig(), part, set())[0])
    TaskSampler(data, fit_task(TaskConfig(), data, set())[0])


def test_training_takes_what_there_is_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rare.npz", X=rng.normal(size=(912, 5)), y=np.repeat(["usual", "rare"], [900, 12]))
    config = TrainConfig(dataset=str(tmp_path / "rare.npz"), learner="prototype", out=tmp_path)
    task = check(config).task
    assert task.way == 2 and task.reward_per_class + task.test_per_class < 12
    assert "note: way 10 → 2" in capsys.readouterr().err
    with pytest.raises(InputError, match="way=3 exceeds the 2 classes"):
        check(replace(config, task=TaskConfig(way=3)))
