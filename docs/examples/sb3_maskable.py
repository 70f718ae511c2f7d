"""sb3-contrib's MaskablePPO, unmodified: labelled items are never picked, and one network reads every item alike.

The policy's own networks read one flattened vector, so that each place of the pool must be learned for itself. The
library's way to change that is a features extractor: this one gives every item a score by a network that all items
share. The layer of actions then only passes the scores on.
"""

import argparse

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import metaal_env  # noqa: F401 (registers the environments)
from metaal_env.sb3 import SB3VecEnv

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=100_000)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--env", default="MetaAL-v0")
parser.add_argument("--episodes", type=int, default=64, help="of the last evaluation")
args = parser.parse_args()


class ScoreEachItem(BaseFeaturesExtractor):
    """Returns a score for every item, one for the end of the episode, and the features of the pool."""

    def __init__(self, space, width=64):
        (n, f), (g,) = space["item_features"].shape, space["pool_features"].shape
        super().__init__(space, n + 1 + g)
        self.score = nn.Sequential(nn.Linear(f + g, width), nn.Tanh(), nn.Linear(width, 1))
        self.stop = nn.Sequential(nn.Linear(g, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, obs):
        items, pool = obs["item_features"], obs["pool_features"]
        each = self.score(torch.cat([items, pool.unsqueeze(1).expand(-1, items.shape[1], -1)], -1))
        return torch.cat([each.squeeze(-1), self.stop(pool), pool], -1)


envs = SB3VecEnv(
    gym.make_vec(args.env, num_envs=64, observation="compact")
)  # env_method("action_masks") gives the masks
model = MaskablePPO(
    "MultiInputPolicy",
    envs,
    n_steps=20,
    batch_size=640,
    n_epochs=4,
    learning_rate=1e-3,
    gamma=1.0,
    seed=args.seed,
    device="cpu",
    policy_kwargs={
        "features_extractor_class": ScoreEachItem,
        "share_features_extractor": False,  # the value has one of its own
        "net_arch": {"pi": [], "vf": [64]},
    },
)
nn.init.eye_(model.policy.action_net.weight).requires_grad_(False)  # action i is taken by score i
nn.init.zeros_(model.policy.action_net.bias).requires_grad_(False)


def evaluate(episodes):
    env = Monitor(gym.make(args.env, split="test", observation="compact"))
    env.reset(seed=0)
    mean, deviation = evaluate_policy(model, env, n_eval_episodes=episodes)
    print(
        f"return, by default the area gained under the learning curve: {mean:.4f}, deviation {deviation:.4f}"
    )


evaluate(min(args.episodes, 8))
model.learn(args.steps)
evaluate(args.episodes)
observation, _ = envs.envs.reset(seed=10_000)
actions, _ = model.predict(observation, action_masks=envs.envs.action_masks())
print(f"the policy labels item {actions[0]} of the first pool first")
