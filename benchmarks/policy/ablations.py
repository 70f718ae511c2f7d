"""What each part of the default policy is worth, on unseen glyph scripts.

    python -m benchmarks.policy.ablations --seeds 5

Every policy is trained on the tasks of ``metaal train``, with a learner of the same recipe, and all play the
same test tasks: the rule that training starts from; the default, PPO from what imitation of look-ahead finds; that
imitation alone, whose last fit is the mean of two; one fit to its states, from the rule, of one mixture of rules for
all episodes (meta-optimised weights), of weights that depend on the episode, or of the network as well; PPO from the
rule alone; and LAL-RL (Konyushkova et al. 2018). Run again to continue.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.evaluation import play
from agents.evaluation.measures import aulc
from agents.loading import load_strategy
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from agents.strategies.fitted.lal_rl import LALRL
from agents.training.config import TrainConfig
from agents.training.general.sources import IMAGE_LEARNER
from agents.training.general.train import first_source
from agents.training.imitation.examples import load_all_examples
from agents.training.imitation.imitate import ImitationConfig, Parts, fit
from agents.training.imitation.rounds import imitate
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import initial_network, rollout_mixture
from agents.training.run import begin_run, check, train
from benchmarks.tables import mean_difference
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command

RULE, FULL = "uherding", "imitation + PPO"


@dataclass
class Options:
    """What to compare."""

    seeds: int = 5
    """Policies of each kind."""
    n_tasks: int = 256
    """Paired tasks of unseen scripts, as of the verdict of ``metaal train``."""
    out: Path = Path("runs/ablations")
    """Folder of the runs."""


def base(options: Options, kind: str, seed: int) -> TrainConfig:
    return TrainConfig(
        learner=IMAGE_LEARNER,
        out=options.out,
        name=f"{kind}-{seed}",
        imitation=ImitationConfig(seed=seed),
        ppo=PPOConfig(seed=seed),
    )


def train_by_imitation(config: TrainConfig) -> Path:
    """Trains by imitation alone, unless that is done; keeps the examples and returns the run's folder."""
    if not (config.folder / "policy.json").is_file():
        with begin_run(config):
            source = first_source(config)
            mixture = rollout_mixture(config.ppo, [[source]], config.random_task_shapes)
            tasks = mixture.resized(config.imitation.n_envs, config.imitation.shapes_per_rollout)
            network = initial_network(config.ppo, source.config).to(source.device)
            imitate(network, tasks, config.imitation, config.folder / "checkpoints")
            LearnedStrategy(network).save(config.folder / "policy", {"imitated": config.imitation.iterations})
    return config.folder


def imitation(options: Options, seed: int) -> Strategy:
    return LearnedStrategy.load(train_by_imitation(base(options, "imitation", seed)))


def fit_once(options: Options, seed: int, parts: Parts) -> Strategy:
    """Fits a fresh policy, of which only `parts` may learn, to the examples of an imitation."""
    config = base(options, "imitation", seed)
    folder = train_by_imitation(config)
    examples = load_all_examples(folder / "checkpoints", config.imitation.iterations, config.imitation)
    network = initial_network(config.ppo)
    fit(network, examples, replace(config.imitation, parts=parts))
    return LearnedStrategy(network)


def ppo(options: Options, seed: int) -> Strategy:
    return _trained(replace(base(options, "ppo", seed), imitation=ImitationConfig(iterations=0)))


def full(options: Options, seed: int) -> Strategy:
    """As the default run, whose imitation is not repeated here."""
    start = str(train_by_imitation(base(options, "imitation", seed)))
    config = base(options, "full", seed)
    return _trained(replace(config, ppo=replace(config.ppo, start=start)))


def _trained(config: TrainConfig) -> LearnedStrategy:
    inputs = check(config)
    with begin_run(config, inputs.parts):
        return train(config, inputs)[0]


def lal_rl(options: Options, seed: int) -> Strategy:
    folder = options.out / f"lal_rl-{seed}"
    if not (folder / "strategy.json").is_file():
        strategy = LALRL(seed=seed)
        strategy.fit([first_source(base(options, "lal_rl", seed))], tasks=32, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        strategy.save(folder)
    return load_strategy(str(folder))


KINDS: dict[str, Callable[[Options, int], Strategy]] = {
    FULL: full,
    "imitation": imitation,
    "one fit, network and weights": partial(fit_once, parts="all"),
    "one fit, weights by episode": partial(fit_once, parts="weights"),
    "one fit, constant weights of rules": partial(fit_once, parts="constant_weights"),
    "PPO from the rule": ppo,
    "LAL-RL": lal_rl,
}


def main(options: Options) -> None:
    test = make_core("glyphs", split="test", learner=IMAGE_LEARNER)
    columns = {RULE: aulc(play(test, load_strategy(RULE), range(options.n_tasks)))}
    console = Console()
    for kind, make in KINDS.items():
        for seed in range(options.seeds):
            found = aulc(play(test, make(options, seed), range(options.n_tasks)))
            columns[f"{kind} {seed}"] = found
            console.print(f"{kind} {seed}: {found.mean():.4f}")
    console.print(table(columns, options))


def table(columns: dict[str, np.ndarray], options: Options) -> Table:
    """Every kind's mean AULC, its difference to the rule, and the default's difference to it."""
    rows = Table(
        title=f"{options.n_tasks} paired tasks of unseen scripts, {options.seeds} policies of each kind"
    )
    for heading in ("policy", "AULC", f"− {RULE} [95 %]", f"{FULL} − it [95 %]"):
        rows.add_column(heading)
    rows.add_row(RULE, f"{columns[RULE].mean():.4f}")
    of = {kind: np.stack([columns[f"{kind} {seed}"] for seed in range(options.seeds)], 1) for kind in KINDS}
    for kind, own in of.items():
        ahead = "" if kind == FULL else mean_difference(of[FULL] - own)
        rows.add_row(kind, f"{own.mean():.4f}", mean_difference(own - columns[RULE][:, None]), ahead)
    return rows


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
