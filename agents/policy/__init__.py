"""The learned policy: its network, how stable-baselines3 and strategies play it, and why it picks an item."""
