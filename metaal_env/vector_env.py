"""`MetaALVectorEnv`: many episodes at once for `gymnasium.make_vec`; the single environment is its batch of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from metaal_env.autoreset import parse_reset_mask
from metaal_env.conversion import OwnArrays, SharedArrays, check_actions
from metaal_env.core import Core
from metaal_env.observation import observation_space
from metaal_env.tensor_env import TensorEnv


class MetaALVectorEnv(TensorEnv, gym.vector.VectorEnv):
    """Many active-learning episodes at once; see `MetaALEnv` for the decision process.

    What follows the end of an episode depends on `autoreset_mode`:

    - ``SAME_STEP``: the step that ends an episode starts the next. The observation is the new episode's, the old
      one's last is in ``info["final_obs"]`` and its outcome in ``info["final_info"]``. stable-baselines3 and the
      tensor interface want this.
    - ``NEXT_STEP``: the next step starts the next episode, ignores that environment's action and gives reward 0.
      The outcome is in the ``info`` of the step that ends the episode. Most of Gymnasium's wrappers want this.
    - ``DISABLED``: the caller starts the next episode by ``reset(options={"reset_mask": mask})``, where `mask` holds
      a boolean for each environment. The outcome is in ``info``, as for ``NEXT_STEP``.

    Args:
        num_envs: episodes at once, B.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value, such as ``"NextStep"``.
        paired: this many consecutive environments play the same task; for paired roll-outs.
        core: a core to play instead of one made from `options`, which then count for nothing.
        observation: what agents are shown; see `MetaALEnv`.
        copy: whether all arrays of an observation are its own, as with Gymnasium's `SyncVectorEnv`. With False,
            ``embeddings`` are read-only and shared by all observations of the same pools, whose values they keep:
            faster where items have many numbers.
        **options: as for `MetaALEnv`.

    Raises:
        InputError: an option out of range, or a data set that cannot supply such tasks.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        paired: int = 1,
        core: Core | None = None,
        observation: str | Iterable[str] = "standard",
        copy: bool = True,
        **options: Any,
    ):
        options.pop("render_mode", None)
        super().__init__(
            num_envs,
            autoreset_mode=autoreset_mode,
            paired=paired,
            core=core,
            observation=observation,
            **options,
        )
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self._to_numpy = (OwnArrays() if copy else SharedArrays()).to_numpy
        config = self.core.config
        probe = self.core.reset(self.core.sampler.sample([np.random.default_rng(0)]))
        self.single_observation_space = observation_space(config, probe.embeddings.shape[2], self.shown)
        self.single_action_space = gym.spaces.Discrete(config.n_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of all environments, as in Gymnasium's `SyncVectorEnv`."""
        return tuple(self.generators)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        gym.vector.VectorEnv.reset(self, seed=None)
        mask = parse_reset_mask(options, self.num_envs)
        if mask.all():
            if seed is not None or not self.generators:
                self.seed_episodes(seed)
            self.begin()
        else:
            self._require_episodes("a reset of some environments")
            rows = np.flatnonzero(mask)
            if seed is not None:
                self.seed_episodes(seed, rows.tolist())
            self._restart(torch.from_numpy(rows))
        observation = self._to_numpy(self.observe())
        return observation, self._info(observation, np.ones(self.num_envs, dtype=bool), mask)

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._require_episodes("step()")
        positions = check_actions(actions, self.num_envs, self.core.config.n_actions)
        tensors, result, final = self.step_tensors(positions)
        observation = self._to_numpy(tensors)
        info = self._info(observation, result.valid.cpu().numpy())
        terminated = result.terminated.cpu().numpy()
        if final:
            rows = final["rows"].numpy()
            outcome: dict[str, Any] = {}
            for key, value in final["final_info"].items():
                outcome[key] = np.zeros(self.num_envs, dtype=value.cpu().numpy().dtype)
                outcome[key][rows] = value.cpu().numpy()
                outcome[f"_{key}"] = terminated.copy()
            if "final_obs" not in final:
                info = outcome | info
            else:
                info["final_obs"] = np.full(self.num_envs, None, dtype=object)
                last = self._to_numpy(final["final_obs"])
                for place, row in enumerate(rows):
                    info["final_obs"][row] = {key: value[place] for key, value in last.items()}
                info["final_info"] = outcome
                info["_final_obs"], info["_final_info"] = terminated.copy(), terminated.copy()
        reward = result.reward.cpu().numpy().astype(np.float64)
        return observation, reward, terminated, np.zeros_like(terminated), info

    def _info(
        self, observation: dict[str, np.ndarray], valid: np.ndarray, about: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Returns Gymnasium's batched ``info``; `about` (B,) bool says which environments it describes."""
        values = {
            "action_mask": observation["action_mask"].copy(),
            "valid": valid,
            "accuracy": self.state.metrics.accuracy.cpu().numpy().copy(),
        }
        every = np.ones(self.num_envs, dtype=bool) if about is None else about
        return values | {f"_{key}": every.copy() for key in values}
