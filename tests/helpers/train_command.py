"""`train_policy.py` on a tiny task, as a process and without one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from agents.training.run import main

TINY = [
    "--way", "2", "--pool-size", "16", "--budget", "4", "--reward-per-class", "4", "--test-per-class", "4",
    "--learner", "maml", "--meta.iterations", "20", "--meta.validate-every", "5", "--meta.validation-tasks", "20",
    "--meta.classes-per-batch", "6", "--meta.items-per-class", "8", "--meta.max-labels", "4", "--meta.way", "2",
    "--ppo.iterations", "4", "--ppo.n-envs", "8", "--ppo.paired", "2", "--ppo.batch-size", "16", "--ppo.width", "8",
    "--imitation.iterations", "2", "--imitation.rounds", "2", "--imitation.n-envs", "8",
    "--imitation.shapes-per-rollout", "2",
    "--ppo.validate-every", "2", "--ppo.validation-tasks", "4", "--verdict-tasks", "6",
]  # fmt: skip


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "train_policy.py"), *map(str, arguments)]


def run_here(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    """Runs the command without the seconds of starting a process; returns exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(cwd)
        patched.setenv("COLUMNS", "160")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([*map(str, arguments)])
            except SystemExit as refused_by_tyro:
                code = int(refused_by_tyro.code or 0)
    return code, out.getvalue(), err.getvalue()


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
