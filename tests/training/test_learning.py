"""Slow: a short training must beat the rule that it starts from, on classes it has not met."""

from pathlib import Path

import pytest
from helpers.paths import ROOT
from stable_baselines3.common.logger import configure

from agents.evaluation import pair
from agents.evaluation.play import play
from agents.evaluation.statistics.intervals import difference
from agents.loading import load_strategy
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import train_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.unseen_classes import learner_and_policy_parts
from metaal_env.learners import load_learner
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig

SHIPPED = ROOT / "agents" / "pretrained" / "metaal-glyphs"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_short_training_beats_its_prior_on_unseen_classes(tmp_path: Path) -> None:
    glyphs = load_dataset("glyphs")
    learner = load_learner(SHIPPED, glyphs.input_shape)
    task = TaskConfig(pool_size=60, budget=15)

    def core(part: ClassDataset) -> Core:
        return Core(part, learner, task, REWARDS["likelihood_aulc"])

    config = PPOConfig(
        iterations=25, shapes_per_rollout=1, learning_rate=3e-3, validate_every=25, validation_tasks=8
    )
    training = core(learner_and_policy_parts(glyphs.split("train"))[1])
    validation = core(glyphs.split("validation"))
    mixture = TaskMixture([[training]], n_envs=config.n_envs, paired=config.paired)
    train_ppo(mixture, [[validation]], config, {}, tmp_path, configure(None, []))
    from agents.policy.network import AcquisitionNetwork
    from agents.policy.sb3_policy import LearnedStrategy
    from metaal_env.runtime.checkpoints import read_checkpoint

    network = AcquisitionNetwork()
    saved = read_checkpoint(tmp_path / "checkpoints" / "ppo.pt", config)
    prefix = "network."  # beside the critic and the anchor, which training alone has
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in saved["policy"].items() if k.startswith(prefix)}
    )
    seeds = range(5000, 5320)
    results = {
        "policy": play(validation, LearnedStrategy(network), seeds),
        "prior": play(validation, load_strategy(config.prior), seeds),
    }
    paired = pair(results)
    gain = difference(paired.column("policy"), paired.column("prior"), paired.strata)
    assert gain.interval.low > 0, f"{gain.interval.estimate:+.4f}, not above its prior"
