"""The table of the examples: what a script has learned plays the tasks of the rules, and is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch import Tensor
from torch.distributions import Categorical

from benchmarks.policy.baselines import Options as Tasks
from benchmarks.policy.baselines import Problem, stock_returns
from benchmarks.policy.stock_agents import AGENTS, Minimal, Options, table

TOY = "MetaAL-Toy-v0"


def test_scripts_are_run_once_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(env=TOY, seeds=1, n_tasks=6, steps=64, out=tmp_path)
    rows = table(options, Console(quiet=True))["rows"]
    assert [row[0] for row in rows] == ["margin", "uherding", "`ppo_min.py`", "`sb3_maskable.py`"]
    kept = tmp_path / f"{TOY}-ppo_min-64-0.json"
    returns = json.loads(kept.read_bytes())["returns"]
    assert len(returns) == 6 and max(returns) <= 0.6 + 1e-6  # the optimum
    kept.write_text(json.dumps({"returns": [0.7] * 6, "core_minutes": 2.0}))
    monkeypatch.setitem(AGENTS, "sb3_maskable", lambda made: pytest.fail("trained again"))
    again = table(options, Console(quiet=True))["rows"]
    assert again[2][1] == ".7000" and again[2][4] == "2.0" and again[3] == rows[3]


def test_the_minimal_agent_takes_the_most_probable_action() -> None:
    def last(items: Tensor, pool: Tensor, mask: Tensor) -> tuple[Categorical, None]:
        return Categorical(logits=mask.cumsum(1).float().masked_fill(mask == 0, -1e9)), None

    problem = Problem(TOY, Tasks(n_tasks=3))
    # The last action that is allowed ends the episode at once: nothing is gained or paid.
    np.testing.assert_array_equal(stock_returns(problem, Minimal(last)), np.zeros(3))
