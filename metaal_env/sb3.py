"""`SB3VecEnv`: the vector environment as stable-baselines3's `VecEnv`.

stable-baselines3 declares NumPy arrays where subclasses may pass tensors: hence the ``type: ignore`` of the checker.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices
from torch import Tensor

from metaal_env.conversion import OwnArrays, check_actions
from metaal_env.errors import InputError
from metaal_env.vector_env import MetaALVectorEnv


class Row:
    """One of a vector environment's environments, with what `VecEnv` asks of a single one.

    Attributes set by `SB3VecEnv.set_attr` are kept here.
    """

    render_mode: str | None = None

    def __init__(self, envs: MetaALVectorEnv, row: int):
        self._envs, self._row = envs, row
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space
        self.metadata, self.spec = envs.metadata, envs.spec

    def action_masks(self) -> np.ndarray:
        """Returns which actions are of use now, (A,) bool."""
        return self._envs.action_masks()[self._row]


class SB3VecEnv(VecEnv):
    """A `MetaALVectorEnv` as stable-baselines3's `VecEnv`: B episodes in one batch instead of B environments.

    It behaves like stable-baselines3's own `DummyVecEnv` of B monitored environments: ended episodes start anew at
    once, their ``info`` has ``terminal_observation``, ``episode`` and the outcome (``aulc``, …), and
    ``env_method("action_masks")`` gives sb3-contrib's `MaskablePPO` its masks.

    Args:
        envs: from ``gymnasium.make_vec("MetaAL-v0", num_envs=16)`` or `MetaALVectorEnv`, without wrappers.

    Raises:
        InputError: another environment, or one whose `autoreset_mode` is not ``SAME_STEP``.
    """

    def __init__(self, envs: MetaALVectorEnv):
        if not isinstance(envs, MetaALVectorEnv):
            raise InputError(
                f"envs={envs!r} must be a MetaALVectorEnv, as gymnasium.make_vec returns it, without wrappers; "
                "wrap the SB3VecEnv in stable-baselines3's wrappers instead."
            )
        if envs.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise InputError(
                f"autoreset_mode={envs.autoreset_mode.value!r} does not suit stable-baselines3; use 'SameStep'."
            )
        self.envs = envs
        self._arrays = OwnArrays()
        self.rows = [Row(envs, row) for row in range(envs.num_envs)]
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def convert(self, tensors: dict[str, Tensor]) -> Any:
        """Returns an observation as agents are given it: NumPy arrays that nobody else holds."""
        return self._arrays.to_numpy(tensors)

    def running_infos(self, valid: Tensor) -> list[dict[str, Any]]:
        """Returns the ``info`` of every running episode; `valid` (B,) bool says which actions labelled an item."""
        masks, accuracy = self.envs.action_masks().astype(np.int8), self.envs.state.metrics.accuracy.tolist()
        columns = zip(masks, valid.tolist(), accuracy, strict=True)
        return [
            {"action_mask": mask, "valid": labelled, "accuracy": share, "TimeLimit.truncated": False}
            for mask, labelled, share in columns
        ]

    def ended_infos(self, final: dict[str, Any], valid: Tensor) -> list[dict[str, Any]]:
        """Returns the last ``info`` of the episodes at ``final["rows"]``; see `MetaALVectorEnv.step_tensors`."""
        last = self.convert(final["final_obs"])
        infos = episode_infos(final["final_info"])
        for place, (info, labelled) in enumerate(zip(infos, valid[final["rows"]].tolist(), strict=True)):
            terminal = {key: value[place] for key, value in last.items()}
            info |= {
                "terminal_observation": terminal,
                "action_mask": terminal["action_mask"].copy(),
                "valid": labelled,
            }
        return infos

    def reset(self) -> Any:
        if any(self._options):
            raise InputError(f"options={self._options!r} are not known; episodes have none.")
        if any(seed is not None for seed in self._seeds):
            self.envs.seed_episodes(self._seeds)
        self._reset_seeds()
        observation = self.convert(self.envs.reset_tensors())
        self.reset_infos = self.running_infos(torch.ones(self.num_envs, dtype=torch.bool))
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = check_actions(actions, self.num_envs, self.envs.core.config.n_actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:  # type: ignore[override]
        tensors, result, final = self.envs.step_tensors(self.actions)
        infos = self.running_infos(result.valid)
        if final:
            for row, info in zip(final["rows"].tolist(), self.ended_infos(final, result.valid), strict=True):
                self.reset_infos[row], infos[row] = infos[row], info
        return self.convert(tensors), result.reward.cpu().numpy(), result.terminated.cpu().numpy(), infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.rows[i], attr_name) for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        for i in self._get_indices(indices):
            setattr(self.rows[i], attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        return [getattr(self.rows[i], method_name)(*args, **kwargs) for i in self._get_indices(indices)]

    def get_images(self) -> NoReturn:
        raise NotImplementedError(
            "an SB3VecEnv draws no images; make single environments with a render_mode."
        )

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def episode_infos(outcome: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Returns what stable-baselines3 and users read of ended episodes, from `MetaALVectorEnv.outcome`.

    ``episode`` is `Monitor`'s entry: return, length, and 0 for the time, which is not measured.
    """
    columns = {key: value.tolist() for key, value in outcome.items()}
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [
        row
        | {"episode": {"r": row["return"], "l": length(row), "t": 0.0, **row}, "TimeLimit.truncated": False}
        for row in rows
    ]


def length(outcome: dict[str, Any]) -> int:
    """Returns the number of an episode's actions: labels asked for, and the one that stopped it."""
    return int(outcome["labels"]) + bool(outcome.get("stopped", False))
