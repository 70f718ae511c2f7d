"""Tensors end to end in stable-baselines3's PPO: the environment and the roll-out buffers.

stable-baselines3 declares NumPy arrays and its own base classes where tensors and ours are passed: hence the
``type: ignore`` of the checker.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from torch import Tensor

from metaal_env.observation import WIDE
from metaal_env.sb3 import SB3VecEnv, episode_infos
from metaal_env.vector_env import MetaALVectorEnv

UNUSED = WIDE
"""Entries of an observation that the network has no use for, and by far the largest."""


class TensorVecEnv(SB3VecEnv):
    """`SB3VecEnv` with observations left as tensors on the device."""

    def convert(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors

    def running_infos(self, valid: Tensor) -> list[dict[str, Any]]:
        # The same dictionary for all but ended episodes: building 64 dictionaries costs more than a step.
        return [{"TimeLimit.truncated": False}] * self.num_envs

    def ended_infos(self, final: dict[str, Any], valid: Tensor) -> list[dict[str, Any]]:
        return episode_infos(final["final_info"])


class TensorRolloutBuffer(DictRolloutBuffer):
    """Whole episodes of one group of environments: same number of steps, observations kept as tensors.

    With `paired` > 1, that many consecutive environments play the same task, and each advantage is reduced
    by the mean of its running companions' at the same step: what the task itself contributes cancels (leave-one-out
    baseline; Kool et al. 2019). Episodes may end before the last step; what follows is no sample.
    """

    def __init__(self, *args: Any, paired: int = 1, **kwargs: Any):
        self.paired = paired
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self._flat: dict[str, Tensor] = {}
        self.observations = {}
        shape = (self.buffer_size, self.n_envs)
        self.actions = np.zeros((*shape, self.action_dim), dtype=self.action_space.dtype)
        self.rewards, self.returns, self.values, self.log_probs, self.advantages, self.episode_starts = (
            np.zeros(shape, dtype=np.float32) for _ in range(6)
        )
        self.running = np.ones(shape, dtype=bool)
        self.generator_ready, self.full, self.pos = False, False, 0

    def add(  # type: ignore[override]
        self,
        obs: dict[str, Tensor],
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: Tensor,
        log_prob: Tensor,
        rows: np.ndarray | None = None,
        running: np.ndarray | None = None,
    ) -> None:
        """Adds a step of the environments at `rows`, by default of all; those not `running` are no samples."""
        rows = np.arange(self.n_envs) if rows is None else rows
        running = np.ones(len(rows), dtype=bool) if running is None else running
        self.steps.append({key: self._of_all(value, rows) for key, value in obs.items() if key not in UNUSED})
        self.actions[self.pos, rows] = action.reshape(-1, self.action_dim)
        self.running[self.pos] = False
        self.running[self.pos, rows] = running
        self.rewards[self.pos, rows] = np.where(running, reward, 0)
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos, rows] = np.where(running, value.cpu().numpy().flatten(), 0)
        self.log_probs[self.pos, rows] = log_prob.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _of_all(self, value: Tensor, rows: np.ndarray) -> Tensor:
        """Returns values of the environments at `rows` as those of all, with zeros for the others."""
        if len(rows) == self.n_envs:
            return value
        whole = value.new_zeros(self.n_envs, *value.shape[1:])
        whole[torch.as_tensor(rows, device=value.device)] = value
        return whole

    def close(self) -> None:
        """Ends the roll-out before its last step, as every episode has ended."""
        self.buffer_size, self.full = self.pos, True
        for name in (
            "actions",
            "rewards",
            "returns",
            "values",
            "log_probs",
            "advantages",
            "episode_starts",
            "running",
        ):
            setattr(self, name, getattr(self, name)[: self.pos])

    def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
        super().compute_returns_and_advantage(last_values, dones)
        if self.paired > 1:
            running = self.running.reshape(self.buffer_size, -1, self.paired)
            grouped = self.advantages.reshape(running.shape) * running
            companions = np.maximum(running.sum(-1, keepdims=True) - running, 1)
            others = (grouped.sum(-1, keepdims=True) - grouped) / companions
            self.advantages = ((grouped - others) * running).reshape(self.advantages.shape)

    def get(self, batch_size: int | None = None) -> Generator[DictRolloutBufferSamples, None, None]:  # type: ignore[override]
        total = int(self.running.sum())
        yield from (self.samples(index) for index in self.chunks(-(-total // (batch_size or total)), total))

    def chunks(self, count: int, most: int) -> list[np.ndarray]:
        """`count` disjoint random sets of samples, `most` in all."""
        real = np.flatnonzero(self.running.T)  # environment by environment, as samples are counted
        order = np.random.permutation(len(real))[: max(count, most)]
        return np.array_split(real[order], count)

    def samples(self, index: np.ndarray, keys: Sequence[str] | None = None) -> DictRolloutBufferSamples:
        """The samples at `index`, counted environment by environment, with all entries or those of `keys`."""
        assert self.full, "the roll-out is not complete"
        keys = tuple(self.steps[0]) if keys is None else keys
        if not self._flat:
            for name in ("actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
        for key in set(keys) - set(self._flat):
            self._flat[key] = torch.stack([step[key] for step in self.steps], 1).flatten(0, 1)
        rows = torch.as_tensor(index, device=self.device)
        observations = {key: self._flat[key][rows] for key in keys}
        return DictRolloutBufferSamples(
            observations=observations,
            actions=self.to_torch(self.actions[index]),
            old_values=self.to_torch(self.values[index].flatten()),
            old_log_prob=self.to_torch(self.log_probs[index].flatten()),
            advantages=self.to_torch(self.advantages[index].flatten()),
            returns=self.to_torch(self.returns[index].flatten()),
        )


class MixedRolloutBuffer:
    """The episodes of several parts of a roll-out, each with its own shapes; minibatches mix all parts.

    Advantages are scaled to deviation 1 within a part, so that no data set or budget drowns the others, and
    long episodes give at most `most_steps` samples per environment.
    """

    def __init__(self, *args: Any, most_steps: int = 20, **options: Any):
        self.options, self.most_steps = options, most_steps
        self.parts: list[TensorRolloutBuffer] = []

    def reset(self) -> None:
        self.parts = []

    def open(self, envs: MetaALVectorEnv, steps: int) -> TensorRolloutBuffer:
        """A new, empty part for `steps` steps of `envs`."""
        options = self.options | {"n_envs": envs.num_envs, "paired": envs.paired}
        part = TensorRolloutBuffer(steps, envs.single_observation_space, envs.single_action_space, **options)
        self.parts.append(part)
        return part

    def scale_advantages(self) -> None:
        """Deviation 1 in every part."""
        for part in self.parts:
            part.advantages = part.advantages / (part.advantages[part.running].std() + 1e-8)

    @property
    def values(self) -> np.ndarray:
        return self._of_samples("values")

    @property
    def returns(self) -> np.ndarray:
        return self._of_samples("returns")

    def _of_samples(self, name: str) -> np.ndarray:
        """The values of all samples, in the order of `TensorRolloutBuffer.samples` or of time if not flattened yet."""
        found = []
        for part in self.parts:
            value = getattr(part, name)
            flat = value.shape != part.running.shape
            found.append(value.flatten()[part.running.T.flatten() if flat else part.running.flatten()])
        return np.concatenate(found)

    def get(
        self, batch_size: int, keys: Sequence[str] | None = None
    ) -> Generator[DictRolloutBufferSamples, None, None]:
        """Minibatches of about `batch_size` samples; their observations are lists with one entry a part.

        Args:
            keys: the only entries of an observation that are wanted; all by default.
        """
        most = [min(int(part.running.sum()), self.most_steps * part.n_envs) for part in self.parts]
        count = max(1, round(sum(most) / batch_size))
        cut = [part.chunks(count, size) for part, size in zip(self.parts, most, strict=True)]
        for places in zip(*cut, strict=True):
            samples = [
                part.samples(index, keys)
                for part, index in zip(self.parts, places, strict=True)
                if len(index)
            ]
            observations, *columns = zip(*samples, strict=True)
            parts: Any = list(observations)
            yield DictRolloutBufferSamples(parts, *(torch.cat(column) for column in columns))
