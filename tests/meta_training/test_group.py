"""Processes that torchrun starts learn together what one process learns from all of their tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from safetensors.torch import load_file

from metaal_env.errors import InputError
from metaal_env.meta_training.group import Group

TINY = [
    "--dataset", "digits", "--meta.iterations", "6", "--meta.validate-every", "3", "--meta.tasks-per-batch", "8",
    "--meta.classes-per-batch", "4", "--meta.items-per-class", "6", "--meta.max-labels", "4", "--meta.way", "2",
    "--meta.validation-tasks", "10", "--meta.queries-per-class", "2", "--device", "cpu",
]  # fmt: skip
LEARNERS = {
    "maml of all layers": ["--learner-options", "depth", "all", "width", "8"],  # second-order derivatives
    "meta-sgd": ["--learner", "meta_sgd", "--learner-options", "width", "8"],
}


def meta_train(processes: int, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [*start, "agents.training.meta_train", *TINY, "--out", str(out), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNERS)
def test_two_processes_equal_one_with_twice_the_tasks(kind: str, tmp_path: Path) -> None:
    found = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = meta_train(processes, out, *LEARNERS[kind])
        assert done.returncode == 0, done.stderr
        found.append(load_file(out / "digits-learner" / "learner.safetensors"))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_tasks_are_shared_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    assert (group.rank, group.size, group.share(5)) == (0, 1, slice(0, 5)) and group.leads
    group.rank, group.size = 1, 2
    assert group.share(8) == slice(4, 8)
    with pytest.raises(InputError, match="tasks_per_batch=5 must be a multiple of the 2 processes"):
        group.share(5)
