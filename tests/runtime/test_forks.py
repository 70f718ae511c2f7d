"""Worker processes of the default start method, with the number of threads left to torch, after use in the parent.

What fails here is a deadlock; the limit only ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

DEADLOCK = 150
"""Seconds; the slowest takes a tenth of it on an idle machine."""

PARENT = """
import gymnasium as gym
import numpy as np
import torch
import metaal_env

def use_in_parent():
    torch.set_num_threads(max(2, torch.get_num_threads()))  # one core, one thread: nothing to test
    env = gym.make("MetaAL-v0")
    env.reset(seed=0)
    env.step(0)
    weights = torch.randn(600, 600, requires_grad=True)
    (weights @ weights).sum().backward()
    return env

def play(envs):
    observation, _ = envs.reset(seed=0)
    for _ in range(3):
        observation, *_ = envs.step(np.array([3, 4]))
    masks = np.stack(envs.call("action_masks"))
    assert (masks == observation["action_mask"]).all() and masks.any()
    envs.close()

if __name__ == "__main__":
"""
CASES = {
    "the first thing that a script does": """
    play(gym.make_vec("MetaAL-v0", num_envs=2, vectorization_mode="async"))
""",
    "after use in the parent": """
    use_in_parent()
    play(gym.make_vec("MetaAL-v0", num_envs=2, vectorization_mode="async"))
""",
    "an environment made and reset in the parent": """
    env = use_in_parent()
    env.reset(seed=0)
    play(gym.vector.AsyncVectorEnv([lambda: env, lambda: env]))
""",
    "a network as the learner": """
    use_in_parent()
    data = metaal_env.datasets.load_dataset("digits")
    play(gym.make_vec("MetaAL-v0", num_envs=2, vectorization_mode="async", dataset=data, learner="maml", way=3))
""",
    "stable-baselines3's workers": """
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv
    use_in_parent()
    envs = make_vec_env("MetaAL-v0", n_envs=2, vec_env_cls=SubprocVecEnv)
    envs.reset()
    for _ in range(3):
        observation, *_ = envs.step(np.array([3, 4]))
    assert (np.stack(envs.env_method("action_masks")) == observation["action_mask"]).all()
    envs.close()
""",
    "processes without environments keep their threads": """
    import multiprocessing
    torch.set_num_threads(2)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(torch.get_num_threads) == 2
    assert torch.get_num_threads() == 2
""",
}
SLOW = {"after use in the parent", "a network as the learner", "stable-baselines3's workers"}
"""Cases that fail where the third does."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in SLOW else []) for case in CASES]
)
def test_workers_step(case: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PARENT + CASES[case] + '    print("stepped")\n')
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=DEADLOCK)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers, too
        process.communicate()
        pytest.fail("the workers wait for ever")
    assert process.returncode == 0, errors
    assert output.strip() == "stepped"
