"""stable-baselines3's PPO, unmodified, on a batch of episodes; its policy is saved, loaded and judged."""

import argparse
from pathlib import Path

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import metaal_env  # noqa: F401 (registers the environments)
from metaal_env.sb3 import SB3VecEnv

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50_000)
parser.add_argument("--env", default="MetaAL-Digits-v0")
parser.add_argument("--folder", type=Path, default=Path("runs/sb3_ppo"))
args = parser.parse_args()

envs = VecMonitor(SB3VecEnv(gym.make_vec(args.env, num_envs=16)), info_keywords=("aulc",))
# Masks and labels are numbers with a meaning: only measurements are normalised.
envs = VecNormalize(envs, norm_obs_keys=["item_features", "pool_features", "embeddings"], norm_reward=False)
model = PPO("MultiInputPolicy", envs, n_steps=20, batch_size=80, gamma=1.0, seed=0, device="cpu")
model.learn(args.steps)
args.folder.mkdir(parents=True, exist_ok=True)
model.save(args.folder / "policy")
envs.save(str(args.folder / "normalisation.pkl"))

unseen = VecMonitor(SB3VecEnv(gym.make_vec(args.env, num_envs=16, split="test")))
unseen = VecNormalize.load(str(args.folder / "normalisation.pkl"), unseen)
unseen.training = False
unseen.seed(10_000)
mean, deviation = evaluate_policy(PPO.load(args.folder / "policy", device="cpu"), unseen, n_eval_episodes=32)
print(f"area gained over the learning curve: {mean:.3f}, deviation {deviation:.3f}, of 32 episodes")
