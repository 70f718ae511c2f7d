"""PPO in plain torch on any id: one score per item from a network that all items share, and one to stop if there is."""

import argparse

import gymnasium as gym
import torch
from torch import nn

import metaal_env  # noqa: F401 (registers the environments)

parser = argparse.ArgumentParser()
for name, default in {"--steps": 100_000, "--seed": 0, "--env": "MetaAL-v0"}.items():
    parser.add_argument(name, type=type(default), default=default)
args = parser.parse_args()
torch.manual_seed(args.seed)
envs, tests = gym.make_vec(args.env, num_envs=64), gym.make_vec(args.env, num_envs=256, split="test")
obs = envs.reset(seed=args.seed)[0]
g, f = (envs.single_observation_space[key].shape[-1] for key in ("pool_features", "item_features"))
stop, score, value = (nn.Sequential(nn.Linear(s, 64), nn.Tanh(), nn.Linear(64, 1)) for s in (g, f + g, f + g))
optimizer = torch.optim.Adam([*score.parameters(), *stop.parameters(), *value.parameters()], lr=1e-3)


def run(items, pool, mask):
    each = score(torch.cat([items, pool.unsqueeze(1).expand(-1, items.shape[1], -1)], -1)).squeeze(-1)
    logits = torch.cat([each, stop(pool)], -1)[:, : mask.shape[1]].masked_fill(mask == 0, -1e9)
    return torch.distributions.Categorical(logits=logits), value(
        torch.cat([items.mean(1), pool], -1)
    ).squeeze(-1)


def play(envs, obs, steps, greedy=False):
    rows = []  # what was seen and done
    for _ in range(steps):
        seen = [torch.as_tensor(obs[key]) for key in ("item_features", "pool_features", "action_mask")]
        policy, v = run(*seen)
        action = policy.probs.argmax(1) if greedy else policy.sample()
        obs, reward, ended, _, _ = envs.step(action.numpy())
        rows.append([*seen, action, policy.log_prob(action), v, *map(torch.as_tensor, (reward, ended))])
    return [torch.stack(column) for column in zip(*rows, strict=True)], obs


for step in range(0, args.steps + 1, 64 * 40):
    with torch.no_grad():
        if step % (64 * 400) == 0:  # of every environment the first episode counts
            *_, reward, ended = play(tests, tests.reset(seed=0)[0], 60, greedy=True)[0]
            total = (reward * (ended.cumsum(0) <= ended)).sum() / 256
            print(f"{step} steps: return {total:.4f} (area under the learning curve)", flush=True)
        (*seen, actions, before, values, reward, ended), obs = play(envs, obs, 41)
        gains = torch.zeros_like(values)  # of the last step unknown, and so none
        for t in reversed(range(40)):  # generalised advantage estimation without discount, λ = .95
            gains[t] = reward[t] + ~ended[t] * (values[t + 1] + 0.95 * gains[t + 1]) - values[t]
    *seen, actions, before, values, gains = (x.flatten(0, 1) for x in (*seen, actions, before, values, gains))
    targets, gains = gains + values, (gains - gains.mean()) / (gains.std() + 1e-8)
    for rows in [rows for _ in range(4) for rows in torch.randperm(len(gains)).split(640)]:
        policy, v = run(*(x[rows] for x in seen))
        ratio = (policy.log_prob(actions[rows]) - before[rows]).exp()
        surrogate = torch.minimum(ratio * gains[rows], ratio.clamp(0.8, 1.2) * gains[rows])
        optimizer.zero_grad()
        ((v - targets[rows]).square().mean() - surrogate.mean()).backward()
        optimizer.step()
