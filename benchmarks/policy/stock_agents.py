"""The examples that learn without our training code, against margin and UHerding, on unseen classes.

    python -m benchmarks.policy.stock_agents --write

Each script of docs/examples is run as it stands, with its own arguments; what it has learned then plays the tasks
that the rules play. Nothing is chosen on them. Each policy's returns are kept and not repeated.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console

from agents.evaluation.report.formats import number
from agents.loading import load_strategy
from benchmarks.policy.baselines import Agent, Problem, stock_returns, test_returns
from benchmarks.policy.baselines import Options as Tasks
from benchmarks.tables import MEASURED, mean_difference, write_table
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@dataclass(frozen=True)
class Options:
    """What to train."""

    env: str = "MetaAL-v0"
    """Registered id."""
    seeds: int = 3
    """Policies of each script."""
    n_tasks: int = 512
    """Paired tasks of unseen classes."""
    steps: int = 300_000
    """Steps of training."""
    out: Path = Path("runs/stock_agents")
    """Folder of the returns."""
    write: bool = False
    """Write docs/measured/stock_agents.json."""


class Minimal:
    """Takes the most probable action of the network of ppo_min.py.

    Args:
        run: features of items (B, N, F), of the pool (B, G) and the mask (B, A) → distribution and values.
    """

    def __init__(self, run: Callable[..., Any]):
        self.run = run

    @torch.no_grad()
    def predict(self, observation: Any, **given: Any) -> tuple[np.ndarray, None]:
        keys = ("item_features", "pool_features", "action_mask")
        policy, _ = self.run(*(torch.as_tensor(observation[key]) for key in keys))
        return policy.probs.argmax(1).numpy(), None


AGENTS: dict[str, Callable[[dict[str, Any]], Agent]] = {
    "ppo_min": lambda made: Minimal(made["run"]),
    "sb3_maskable": lambda made: made["model"],
}
"""Script → what has learned, from the names that it leaves."""


def learned_returns(options: Options, script: str, seed: int) -> tuple[np.ndarray, float]:
    """Returns the (n,) returns of what a script has learned, and its minutes of a core."""
    file = options.out / f"{options.env}-{script}-{options.steps}-{seed}.json"
    if not file.is_file():
        began = time.process_time()
        arguments = [script, "--steps", str(options.steps), "--seed", str(seed), "--env", options.env]
        with patch.object(sys, "argv", arguments):
            made = runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
        minutes = (time.process_time() - began) / 60
        problem = Problem(options.env, Tasks(n_tasks=options.n_tasks))
        returns = stock_returns(problem, AGENTS[script](made)).tolist()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps({"returns": returns, "core_minutes": minutes}).encode())
    kept = json.loads(file.read_bytes())
    return np.array(kept["returns"]), kept["core_minutes"]


def table(options: Options, console: Console) -> dict[str, Any]:
    """Returns docs/measured/stock_agents.json."""
    problem = Problem(options.env, Tasks(n_tasks=options.n_tasks))
    rules = {name: test_returns(problem, load_strategy(name)) for name in ("margin", "uherding")}
    rows = [[name, number(float(rule.mean()), 4), "", "", ""] for name, rule in rules.items()]
    for script in AGENTS:
        seeds = [learned_returns(options, script, seed) for seed in range(options.seeds)]
        values = np.stack([returns for returns, _ in seeds], 1)
        console.print(f"{script}: {values.mean(0)}")
        ahead = [mean_difference(values - rule[:, None]).replace("-", "−") for rule in rules.values()]
        minutes = f"{np.mean([minutes for _, minutes in seeds]):.1f}"
        rows.append([f"`{script}.py`", number(float(values.mean()), 4), *ahead, minutes])
    return {
        "title": f"Agents that learn without our training code: `{options.env}`",
        "command": f"python -m benchmarks.policy.stock_agents --seeds {options.seeds} --n-tasks {options.n_tasks} "
        f"--steps {options.steps} --write",
        "text": [
            f"Mean return on {options.n_tasks} paired tasks of unseen glyph scripts; {options.seeds} policies of each "
            f"script in [examples](examples), {options.steps:,} steps each. Core-minutes are those of one training."
        ],
        "columns": ["agent", "return", "− margin [95 %]", "− UHerding [95 %]", "core-minutes"],
        "rows": rows,
    }


def main(options: Options) -> None:
    """Trains and compares."""
    console = Console(width=160)
    found = table(options, console)
    console.print(found)
    if options.write:
        write_table(MEASURED / "stock_agents.json", found)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
