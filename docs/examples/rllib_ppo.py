"""RLlib's PPO on flattened observations. Needs ``pip install 'ray[rllib]'`` (run with 2.60.0)."""

import argparse

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.tune.registry import register_env

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--env", default="MetaAL-Iris-v0")
args = parser.parse_args()


def make(options):
    import metaal_env  # noqa: F401 (registers the environments, in RLlib's workers too)

    return gym.make(args.env, **options)


register_env("metaal", make)
batch = min(320, args.steps)
config = (
    PPOConfig()
    .environment("metaal")
    .env_runners(num_env_runners=0, env_to_module_connector=lambda env, spaces, device: FlattenObservations())
    .training(train_batch_size=batch, minibatch_size=batch // 4, num_epochs=4, gamma=1.0)
)
algorithm = config.build_algo()
for _ in range(args.steps // batch):
    found = algorithm.train()["env_runners"]
    print(f"area gained over the learning curve {found['episode_return_mean']:.3f}", flush=True)
algorithm.stop()
ray.shutdown()
