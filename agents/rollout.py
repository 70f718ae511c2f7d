"""Tensors end to end in stable-baselines3's unmodified PPO: the environment adapter and the rollout buffer."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from metaal_env.vector_env import MetaALVectorEnv


class TensorVecEnv(VecEnv):
    """A `MetaALVectorEnv` as stable-baselines3's `VecEnv`, with observations left as tensors on the device."""

    def __init__(self, envs: MetaALVectorEnv):
        self.envs = envs
        self.render_mode = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> dict[str, Tensor]:  # type: ignore[override]
        if self._seeds[0] is not None:
            self.envs.seed_episodes(self._seeds)
            self._reset_seeds()
        return self.envs.reset_tensors()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = torch.as_tensor(actions)

    def step_wait(self) -> tuple[dict[str, Tensor], np.ndarray, np.ndarray, list[dict[str, Any]]]:  # type: ignore[override]
        observation, result, final = self.envs.step_tensors(self._actions)
        # The same empty dictionary for all but ended episodes: building 64 dictionaries costs more than a step.
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        if final:
            outcome = {key: value.tolist() for key, value in final["final_info"].items()}
            for place, row in enumerate(final["rows"].tolist()):
                info = {key: values[place] for key, values in outcome.items()}
                episode = {"r": info["return"], "l": info["labels"], "t": 0.0, **info}
                infos[row] = {"episode": episode, "TimeLimit.truncated": False}
        return observation, result.reward.cpu().numpy(), result.terminated.cpu().numpy(), infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [getattr(self.envs, method_name)(*args, **kwargs)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


class TensorRolloutBuffer(DictRolloutBuffer):
    """Keeps observations as tensors, and sharpens advantages by paired roll-outs.

    With `paired` > 1, that many consecutive environments play the same task, and each advantage is reduced
    by the mean of its companions' at the same step: what the task itself contributes cancels (leave-one-out
    baseline; Kool et al. 2019). With `paired` = 1 it samples the same minibatches as the NumPy buffer.
    """

    def __init__(self, *args: Any, paired: int = 1, **kwargs: Any):
        self.paired = paired
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        self._steps: list[dict[str, Tensor]] = []
        self._flat: dict[str, Tensor] | None = None
        self.observations = {}
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros((*shape, self.action_dim), dtype=self.action_space.dtype)  # type: ignore[type-var]
        self.rewards, self.returns, self.values, self.log_probs, self.advantages, self.episode_starts = (
            np.zeros(shape, dtype=np.float32) for _ in range(6)
        )
        self.generator_ready, self.full, self.pos = False, False, 0

    def add(  # type: ignore[override]
        self,
        obs: dict[str, Tensor],
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        self._steps.append(obs)
        self.actions[self.pos] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.cpu().numpy().flatten()
        self.log_probs[self.pos] = log_prob.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
        super().compute_returns_and_advantage(last_values, dones)
        if self.paired > 1:
            grouped = self.advantages.reshape(self.buffer_size, -1, self.paired)
            others = (grouped.sum(-1, keepdims=True) - grouped) / (self.paired - 1)
            self.advantages = (grouped - others).reshape(self.advantages.shape)

    def get(self, batch_size: int | None = None) -> Generator[DictRolloutBufferSamples, None, None]:  # type: ignore[override]
        assert self.full, "the roll-out is not complete"
        total = self.buffer_size * self.n_envs
        order = np.random.permutation(total)
        if self._flat is None:
            self._flat = {
                key: torch.stack([step[key] for step in self._steps], 1).flatten(0, 1)
                for key in self._steps[0]
            }
            for name in ("actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
        size = batch_size or total
        for start in range(0, total, size):
            yield self._samples(order[start : start + size])

    def _samples(self, index: Sequence[int] | np.ndarray) -> DictRolloutBufferSamples:
        rows = torch.as_tensor(index, device=self.device)
        assert self._flat is not None
        return DictRolloutBufferSamples(
            observations={key: value[rows] for key, value in self._flat.items()},
            actions=self.to_torch(self.actions[index]),
            old_values=self.to_torch(self.values[index].flatten()),
            old_log_prob=self.to_torch(self.log_probs[index].flatten()),
            advantages=self.to_torch(self.advantages[index].flatten()),
            returns=self.to_torch(self.returns[index].flatten()),
        )
