"""PPO in plain torch: one score per item, masked; whole episodes of 32 environments at once."""

import argparse

import gymnasium as gym
import torch
from torch import nn
from torch.distributions import Categorical

import metaal_env  # noqa: F401 (registers the environments)

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=20_000)
parser.add_argument("--env", default="MetaAL-Digits-v0")
args = parser.parse_args()

torch.manual_seed(0)
envs = gym.make_vec(args.env, num_envs=32)  # ended episodes start anew in the same step
item_size = envs.single_observation_space["item_features"].shape[1]
pool_size = envs.single_observation_space["pool_features"].shape[0]
score = nn.Sequential(nn.Linear(item_size, 64), nn.Tanh(), nn.Linear(64, 1))  # the same for every item
value = nn.Sequential(nn.Linear(pool_size, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.Adam([*score.parameters(), *value.parameters()], lr=1e-3)


def tensors(arrays):
    return {key: torch.as_tensor(arrays[key]) for key in ("item_features", "pool_features", "action_mask")}


def policy(obs):
    logits = score(obs["item_features"]).squeeze(-1)
    return Categorical(logits=logits.masked_fill(obs["action_mask"] == 0, -torch.inf))


obs, steps = tensors(envs.reset(seed=0)[0]), 0
while steps < args.steps:
    seen, picked, rewards, ended = [], [], [], False
    while not ended:  # budgets are equal, so all episodes end together
        with torch.no_grad():
            actions = policy(obs).sample()
        following, reward, terminated, _, info = envs.step(actions.numpy())
        seen, picked, rewards = [*seen, obs], [*picked, actions], [*rewards, torch.as_tensor(reward).float()]
        obs, steps, ended = tensors(following), steps + 32, terminated.all()
    print(
        f"{steps:6d} steps: area under the learning curve {info['final_info']['aulc'].mean():.3f}", flush=True
    )

    returns = torch.stack(rewards).flip(0).cumsum(0).flip(0).flatten()  # no discount: the area still gained
    batch, actions = {key: torch.cat([o[key] for o in seen]) for key in obs}, torch.cat(picked)
    with torch.no_grad():
        before = policy(batch).log_prob(actions)
        advantage = returns - value(batch["pool_features"]).squeeze(-1)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    for _ in range(8):
        ratio = (policy(batch).log_prob(actions) - before).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        error = (value(batch["pool_features"]).squeeze(-1) - returns).square().mean()
        optimizer.zero_grad()
        (0.5 * error - gain).backward()
        optimizer.step()
