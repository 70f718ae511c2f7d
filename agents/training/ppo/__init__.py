"""stable-baselines3's PPO on whole episodes."""
