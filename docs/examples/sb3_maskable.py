"""sb3-contrib's MaskablePPO, unmodified: labelled items and padding are never picked."""

import argparse

import gymnasium as gym
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import metaal_env  # noqa: F401 (registers the environments)
from metaal_env.sb3 import SB3VecEnv

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50_000)
parser.add_argument("--env", default="MetaAL-Iris-v0")
args = parser.parse_args()

envs = SB3VecEnv(gym.make_vec(args.env, num_envs=16))  # env_method("action_masks") gives the masks
model = MaskablePPO("MultiInputPolicy", envs, n_steps=20, batch_size=80, gamma=1.0, seed=0, device="cpu")
model.learn(args.steps)

env = Monitor(gym.make(args.env))
mean, deviation = evaluate_policy(model, env, n_eval_episodes=8)
print(f"area gained over the learning curve: {mean:.3f}, deviation {deviation:.3f}, of 8 episodes")

observation, _ = env.reset(seed=10_000)
action, _ = model.predict(observation, action_masks=env.get_wrapper_attr("action_masks")())
print(f"the policy labels item {action} first")
