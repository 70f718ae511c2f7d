"""The training of a policy: imitation first, then stable-baselines3's PPO on mixtures of tasks.

stable-baselines3 declares NumPy arrays and its own base classes where tensors and ours are passed: hence the
``type: ignore`` of the checker.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger
from torch.utils.tensorboard import SummaryWriter

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.imitation.examples import delete_examples
from agents.training.imitation.imitate import ImitationConfig
from agents.training.imitation.rounds import imitate
from agents.training.ppo.callback import Trainer
from agents.training.ppo.checkpoint import PPOCheckpoint
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.episode_ppo import EpisodePPO
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer
from agents.training.ppo.training_policy import TrainingPolicy
from agents.training.task_mixture import Families, TaskMixture
from metaal_env.errors import InputError
from metaal_env.runtime.executor import Executor
from metaal_env.runtime.executor.progress import PROGRESS
from metaal_env.runtime.interrupts import deferred_interrupts
from metaal_env.tasks import TaskConfig

CHECKPOINT = Path("checkpoints") / "ppo.pt"
"""Where a training's state lies in its folder."""


def initial_network(config: PPOConfig, task: TaskConfig | None = None) -> AcquisitionNetwork:
    """Returns the network with which a training on such tasks begins, and seeds torch."""
    torch.manual_seed(config.seed)
    if config.start is not None:
        return LearnedStrategy.load(config.start).network
    stop = task is not None and task.can_stop
    return AcquisitionNetwork(config.prior, config.prior_weight, config.width, config.names(task), stop)


def rollout_mixture(config: PPOConfig, families: Families, random_task_shapes: bool) -> TaskMixture:
    """Returns the mixture from which the roll-outs of a training draw their tasks."""
    return TaskMixture(
        families,
        n_envs=config.n_envs,
        paired=config.paired,
        shapes_per_rollout=config.shapes_per_rollout,
        random_task_shapes=random_task_shapes,
        seed=config.seed,
        names=initial_network(config, families[0][0].config).names,
    )


def make_ppo(
    mixture: TaskMixture, config: PPOConfig, logger: Logger | None = None, executor: Executor | None = None
) -> EpisodePPO:
    """PPO on `mixture`, without discount: the return is the area under the learning curve."""
    first = initial_network(config, mixture.families[0][0].config)
    model = EpisodePPO(
        mixture,
        config.iterations,
        anchor=config.anchor,
        executor=executor,
        policy=TrainingPolicy,
        learning_rate=lambda remaining: config.learning_rate * (0.1 + 0.9 * remaining),
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=1.0,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=1.0,  # of `TrainingPolicy.bonus`, which holds the entropy's weight
        vf_coef=config.value_weight,
        rollout_buffer_class=MixedRolloutBuffer,
        policy_kwargs={"network": first.options | {"names": first.names}, "critic": config.critic},
        seed=config.seed,
        device=mixture.families[0][0].device,
    )
    model.policy.network.load_state_dict(first.state_dict())
    model.policy.entropy_weight = config.entropy
    model.policy.set_anchor()
    if logger is not None:
        model.set_logger(logger)
    return model


def train_ppo(
    training: TaskMixture,
    validation: Families,
    config: PPOConfig,
    baselines: dict[str, float],
    folder: Path,
    logger: Logger,
    imitation: ImitationConfig | None = None,
    executor: Executor | None = None,
) -> LearnedStrategy:
    """Trains a policy by imitation and PPO, or continues, and returns the one that validation liked best.

    Writes ``<folder>/policy.{safetensors,json}`` and ``<folder>/checkpoints/*.pt``. After a divergence it goes on
    from the last checkpoint with half the learning rate.

    Args:
        imitation: settings of the imitation that comes first; None leaves it out.
        executor: plays roll-outs and validation tasks; this process by default. The weights do not depend on it.

    Raises:
        InputError: a checkpoint is damaged or belongs to other settings; the first roll-outs are not finite; training
            still diverges after `checkpoint.RECOVERIES` recoveries.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the iteration and its checkpoint.
    """
    model = make_ppo(training, config, logger, executor)
    checkpoint = PPOCheckpoint(config, folder / CHECKPOINT)
    trainer = Trainer(config, validation, baselines, checkpoint, folder / "policy", executor)
    network = model.policy.network
    if imitation is not None and imitation.iterations and config.start is None:
        tasks = training.resized(imitation.n_envs, imitation.shapes_per_rollout)
        # A run of its own: of the files in one folder TensorBoard follows the newest alone, which must be PPO's.
        with SummaryWriter(str(folder / "tensorboard" / "imitation")) as writer:
            imitate(network, tasks, imitation, folder / "checkpoints", writer, executor, folder / PROGRESS)
        delete_examples(folder / "checkpoints")
        torch.manual_seed(config.seed)  # PPO starts alike, whether this ran now or before a kill
    if not config.iterations:
        LearnedStrategy(network).save(folder / "policy", {"iteration": 0})
        return LearnedStrategy.load(folder)
    if checkpoint.restore(model) is None:
        try:
            explained = model.begin(config.critic_rollouts)
        except FloatingPointError as error:  # no learning rate is to blame: nothing was learned yet
            raise InputError(
                f"PPO cannot begin ({error}); choose another reward or inner learner."
            ) from error
        logger.record("critic/variance_explained", explained)
    with closing(trainer), deferred_interrupts() as trainer.stopping:
        while model.iteration < config.iterations and not model.ending:
            try:
                model.learn(sys.maxsize, callback=trainer, reset_num_timesteps=False)
            except FloatingPointError as error:
                trainer.bar.write(checkpoint.recover(model, error))
    return LearnedStrategy.load(folder)
