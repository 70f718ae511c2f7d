"""The table of baselines: cells are kept, agents of either kind play the same tasks, unknown names are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sb3_contrib import MaskablePPO

from agents.loading import load_strategy
from benchmarks.policy.baselines import AGENTS, Options, Problem, main, stock_returns, table
from benchmarks.policy.baselines import test_returns as returns_of
from metaal_env.errors import InputError
from metaal_env.sb3 import SB3VecEnv

TOY = "MetaAL-Toy-v0"


def test_cells_are_kept_and_written_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(ids=(TOY,), agents=("random", "greedy look-ahead*", "best rule"), n_tasks=12,
                      validation_tasks=12, out=tmp_path)  # fmt: skip
    main(options)
    assert capsys.readouterr().out.count(TOY) == 3
    greedy = json.loads((tmp_path / TOY / "greedy look-ahead*.json").read_bytes())
    assert greedy["mean"] == 0 and greedy["episodes"] == 12
    best = json.loads((tmp_path / TOY / "best rule.json").read_bytes())
    assert best["mean"] > 0.5 and "stopping by" in best["words"]
    kept = tmp_path / TOY / "random.json"
    kept.write_text(json.dumps(json.loads(kept.read_bytes()) | {"mean": 7.0}))
    main(options)
    assert f"{TOY} random: +7.0000" in capsys.readouterr().out
    rows = table([greedy, best], options)["rows"]
    assert rows[0][:2] == [f"`{TOY}`", "greedy look-ahead*"] and len(rows[1]) == 5


def test_stock_agents_play_the_tasks_of_strategies(tmp_path: Path) -> None:
    problem = Problem(TOY, Options(n_tasks=6, out=tmp_path))
    model = MaskablePPO("MultiInputPolicy", SB3VecEnv(problem.envs("train", 2)), device="cpu")

    def uncertain(arrays: dict[str, np.ndarray], **_: object) -> tuple[np.ndarray, None]:
        view = envs[-1].view()
        return load_strategy("stop_by_count").select(view).numpy(), None

    envs, make = [], problem.envs
    model.predict = uncertain  # type: ignore[method-assign, assignment]
    object.__setattr__(problem, "envs", lambda *given: envs.append(make(*given)) or envs[-1])
    np.testing.assert_allclose(
        stock_returns(problem, model), returns_of(problem, load_strategy("stop_by_count")), atol=1e-6
    )


@pytest.mark.parametrize("options", [Options(ids=("MetaAL-Top-v0",)), Options(agents=("randomly",))])
def test_unknown_names_are_refused(options: Options) -> None:
    with pytest.raises(InputError, match=r"did you mean '(MetaAL-Stop-v0|MetaAL-Toy-v0|random)'"):
        main(options)
    assert "MaskablePPO" in AGENTS
