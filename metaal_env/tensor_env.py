"""`TensorEnv`: B episodes stepped together as tensors, which training uses; `MetaALVectorEnv` is Gymnasium's border."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode
from torch import Tensor

from metaal_env.autoreset import parse_autoreset_mode, parse_seeds
from metaal_env.core import Core, StepResult
from metaal_env.episode import EpisodeState
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.metrics import share_of_classes
from metaal_env.observation import mask_actions, observe, parse_observation
from metaal_env.pool.view import PoolView

MAX_ENVS = 2**16
"""More are a mistake: their observations alone would not fit into memory."""


class TensorEnv:
    """Many active-learning episodes at once, as tensors on the core's device.

    Args:
        num_envs, autoreset_mode, paired, core, observation, options: see `MetaALVectorEnv`.

    Raises:
        InputError: an option out of range, or a data set that cannot supply such tasks.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        autoreset_mode: str | AutoresetMode,
        paired: int,
        core: Core | None,
        observation: str | Iterable[str],
        **options: Any,
    ):
        whole = type(num_envs) is int and type(paired) is int
        if not whole or not 0 < paired <= num_envs <= MAX_ENVS or num_envs % paired:
            raise InputError(
                f"num_envs={num_envs!r} must be a multiple of paired={paired!r}, at least 1, at most {MAX_ENVS:,}."
            )
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.core = core or make_core(**options)
        self.shown = parse_observation(observation, self.core.config)
        self.num_envs, self.paired = num_envs, paired
        self.generators: list[np.random.Generator] = []
        self._returns = torch.zeros(num_envs, device=self.core.device)
        self._ended = torch.zeros(num_envs, dtype=torch.bool)
        """(B,) episodes that ended in the step before and were not reset since."""
        self.state: EpisodeState

    def seed_episodes(
        self, seed: int | Sequence[int | None] | None, rows: Sequence[int] | None = None
    ) -> None:
        """Gives every environment, or those at `rows`, a generator of its own.

        An integer seeds them with seed, seed + 1, …, as in Gymnasium; None keeps the generator that there is.
        """
        seeds, first = parse_seeds(seed, self.num_envs), not self.generators
        for row in range(self.num_envs) if first or rows is None else rows:
            if first:
                self.generators.append(np_random(seeds[row])[0])
            elif seeds[row] is not None:
                self.generators[row] = np_random(seeds[row])[0]

    def begin(self) -> None:
        """Starts an episode in every environment."""
        if not self.generators:
            self.seed_episodes(None)
        self._restart(torch.arange(self.num_envs))

    def reset_tensors(self) -> dict[str, Tensor]:
        """Starts an episode in every environment and returns the batched observation."""
        self.begin()
        return self.observe()

    def step_tensors(self, actions: Tensor) -> tuple[dict[str, Tensor], StepResult, dict[str, Any]]:
        """Takes one step of every episode.

        Returns:
            The observation after any autoreset, the step's result, and for ended episodes their outcome:
            ``{"rows", "final_info"}``, with ``"final_obs"`` for ``SAME_STEP``; empty when none ended.
        """
        result = self._advance_or_restart(actions)
        rows = torch.nonzero(result.terminated.cpu()).squeeze(1)
        observation = self.observe()
        if len(rows) == 0:
            return observation, result, {}
        final: dict[str, Any] = {"rows": rows, "final_info": self.outcome(rows)}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            every = len(rows) == self.num_envs
            final["final_obs"] = observation if every else {k: v[rows] for k, v in observation.items()}
            self._restart(rows)
            observation = self.observe()
        else:
            self._ended[rows] = True
        return observation, result, final

    def _advance_or_restart(self, actions: Tensor) -> StepResult:
        """Steps every running episode; starts the next one where the step before ended it."""
        if not self._ended.any():
            return self.advance(actions)
        ended = self._ended.to(self.core.device)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"episodes {torch.nonzero(self._ended).squeeze(1).tolist()} have ended; "
                "call reset(options={'reset_mask': mask}) before step()"
            )
        if self._ended.all():
            zeros = torch.zeros(self.num_envs, device=self.core.device)
            result = StepResult(zeros, zeros.bool(), ~zeros.bool())
        else:  # no action changes an ended episode
            result = self.advance(actions)
            result = result._replace(terminated=result.terminated & ~ended)
        self._restart(torch.nonzero(self._ended).squeeze(1))
        return result

    def _restart(self, rows: Tensor) -> None:
        """Starts a new episode in the environments at `rows` (int64, on the CPU)."""
        fresh = self._new_episodes(rows)
        if len(rows) == self.num_envs:
            self.state = fresh
        else:
            self.state.replace_rows(rows.to(self.core.device), fresh)
        self._returns[rows] = 0.0
        self._ended[rows] = False

    def _new_episodes(self, rows: Tensor) -> EpisodeState:
        """New tasks for `rows`; paired environments are given the same one."""
        if self.paired == 1:
            return self.core.reset(self.core.sampler.sample([self.generators[i] for i in rows.tolist()]))
        leaders = rows[rows % self.paired == 0]
        if not torch.equal(leaders.repeat_interleave(self.paired), rows - rows % self.paired):
            raise InputError(
                f"paired={self.paired} needs episodes of one task to start and end together; leave price, "
                "item_costs and targets unset, and reset them together."
            )
        tasks = self.core.sampler.sample([self.generators[i] for i in leaders.tolist()])
        return self.core.reset(tasks.rows(torch.arange(len(leaders)).repeat_interleave(self.paired)))

    def advance(self, actions: Tensor) -> StepResult:
        """One step of every episode without autoreset."""
        result = self.core.step(self.state, actions)
        self._returns = self._returns + result.reward
        return result

    def observe(self) -> dict[str, Tensor]:
        """The batched observation of the present state; see `metaal_env.observation.observe`."""
        return observe(self.core.view(self.state), self.shown)

    def outcome(self, rows: Tensor) -> dict[str, Tensor]:
        """Returns `final_info` of ended episodes, (len(rows),) each; from the reward set, never from the test set."""
        state = self.state
        found = {
            "aulc": self.core.aulc(state),
            "accuracy": state.metrics.accuracy,
            "labels": state.used,
            "return": self._returns,
        }
        if self.core.config.can_stop:
            found["stopped"] = state.stopped
        if self.core.config.item_costs:
            found["spent"] = state.task.budget - state.terms.money_left
        return {key: values[rows] for key, values in found.items()} | {
            "classes_seen": share_of_classes(state.labels[rows], state.task.class_mask[rows])
        }

    def view(self) -> PoolView:
        """Returns what may be known of every pool now: what strategies score, without hidden labels.

        Raises:
            gymnasium.error.ResetNeeded: no episode has been started.
        """
        self._require_episodes("view()")
        return self.core.view(self.state)

    def action_masks(self) -> np.ndarray:
        """Returns which actions are of use now, (B, A) bool; see `metaal_env.observation.mask_actions`.

        Raises:
            gymnasium.error.ResetNeeded: no episode has been started.
        """
        self._require_episodes("action_masks()")
        mask = mask_actions(self.state.selectable, self.state.task.pool_mask, self.core.config.can_stop)
        return mask.cpu().numpy()

    def _require_episodes(self, call: str) -> None:
        if not hasattr(self, "state"):
            raise gym.error.ResetNeeded(f"call reset() before {call}")
