"""The verdict at the end of a run: policy and rules on the same tasks of unseen classes."""

from __future__ import annotations

import shlex

from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.evaluation import Episodes, play, verdict
from agents.evaluation.measures import aulc
from agents.evaluation.report.pictures import verdict_figure
from agents.evaluation.report.plots import rendered
from agents.evaluation.report.tensorboard import StrategyCharts
from agents.evaluation.statistics.comparisons import LOOKAHEAD, RANDOM
from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.config import TrainConfig
from metaal_env.core import Core
from metaal_env.runtime.files import write_atomic

BASELINES = (RANDOM, "margin", "max_herding", "uherding", LOOKAHEAD)
"""Rules that a policy is compared with, in validation and in the verdict."""


def give_verdict(config: TrainConfig, core: Core, policy: LearnedStrategy) -> dict[str, Episodes]:
    """Plays policy and rules on the same tasks of `core`, prints the comparison and returns the episodes.

    Writes ``verdict.png`` into the run folder, and figure and means for TensorBoard.
    """
    strategies = {"policy": policy} | {name: load_strategy(name) for name in BASELINES}
    results = {}
    bar = tqdm(total=len(strategies) * config.verdict_tasks, desc="verdict", unit="task")
    for name, strategy in strategies.items():
        results[name] = play(core, strategy, range(config.verdict_tasks), name=name, progress=bar.update)
    bar.close()
    title = f"{config.verdict_tasks} paired tasks of unseen classes of {config.dataset}"
    console = Console()
    console.print(verdict(results, title=title))
    figure = verdict_figure(core, policy, 0, results)
    write_atomic(config.folder / "verdict.png", rendered(figure, "png"))
    with SummaryWriter(str(config.folder / "tensorboard")) as writer:
        writer.add_figure("verdict", figure)
    charts = StrategyCharts(config.folder / "tensorboard")
    charts.add("verdict/aulc", {name: float(aulc(played).mean()) for name, played in results.items()}, 0)
    charts.close()
    folder, out = shlex.quote(str(config.folder)), shlex.quote(str(config.out))
    console.print(f"next: metaal evaluate --policy {folder}  ·  tensorboard --logdir {out}", markup=False)
    return results
