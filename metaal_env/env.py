"""`MetaALEnv`: active learning on one task, for `gymnasium.make`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from metaal_env.conversion import check_action, to_numpy
from metaal_env.errors import InputError
from metaal_env.pool.view import PoolView
from metaal_env.render import render_ansi, render_rgb
from metaal_env.vector_env import MetaALVectorEnv


class MetaALEnv(gym.Env[dict[str, np.ndarray], np.int64]):
    """Active learning as a Markov decision process.

    An episode is a task: a pool of N unlabelled items of K classes, a budget of T labels and an inner learner
    that adapts to the labelled items after every label.

    Observation (`Dict`; N = largest pool size, shorter pools are padded; K = most classes of a task):
        - ``item_features`` (N, F) float32: features of every item, by default its uncertainty, coverage and density.
        - ``pool_features`` (G,) float32: features of the pool, by default budget left, classes seen, evenness of label
          counts and coverage.
        - ``class_probabilities`` (N, K) float32: predictions of the adapted learner.
        - ``embeddings`` (N, D) float32: the items under the adapted learner.
        - ``labels`` (N,) int64: −2 padding, −1 unlabelled, 0…K − 1 revealed class, K revealed distractor, −3 in
          an open batch.
        - ``action_mask`` (A,) int8: 1 where an item can be labelled, and at the action that stops. Never empty. Also
          in ``info``.

        The option `observation` chooses the features, and only those chosen are computed:

        - ``"raw"``: margin, entropy and novelty of each item, and the budget left.
        - ``"standard"``, the default: also distances to the labels, coverage, density and gains of herding rules.
        - ``"compact"``: the same without ``class_probabilities`` and ``embeddings``, which fill agents' buffers.
        - ``"full"``: all that are registered (`metaal_env.features`); the shipped policies take these.
        - a list of names: these features, and of ``"class_probabilities"`` and ``"embeddings"`` those named.

        ``observation_space["item_features"].names`` and the same of ``"pool_features"`` name the columns.
    Action: `Discrete(A)`, the item to label next: A = N, or N + 1 where labels have a price and action N ends the
        episode. A labelled item, padding or an item that cannot be paid for changes nothing, costs budget and gives
        ``info["valid"] = False``; its reward is that of an unchanged learner, by default 0.
    Reward: by default the gain in reward-set accuracy weighted by the share of the learning curve it lifts:
        the undiscounted return is the area under the learning curve above its start (`metaal_env.rewards`).
    End: ``terminated`` when the budget is spent, the pool is empty, a target is reached or the agent stops; never
        ``truncated``, because the remaining budget is observed.

    Labels may have a price, come in batches or cost differently, and episodes may have targets of their own: options
    `price`, `batch_size`, `item_costs`, `cost_hardness` and `target` of `metaal_env.tasks.TaskConfig`. Ids with these
    are in `metaal_env.PROBLEMS`; docs/environments.md describes them. What an agent must know of them is observed, in
    the features of `metaal_env.features.terms`.

    The last step's ``info`` has ``aulc``, ``accuracy``, ``classes_seen``, ``labels`` and ``return``, with a price
    ``stopped`` and with costs ``spent``. The task's test set appears nowhere here.

    Args:
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        **options: `observation`; data set, learner, task and reward, as for `metaal_env.make.make_core`.

    Raises:
        InputError: an option unknown or out of range; one sentence says which, and what to do.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, render_mode: str | None = None, **options: Any):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InputError(f"render_mode={render_mode!r} is unknown; choose 'ansi', 'rgb_array' or None.")
        for name in ("num_envs", "autoreset_mode", "copy"):
            if name in options:
                raise InputError(
                    f"{name}={options[name]!r} is an option of the vector environment; use gymnasium.make_vec."
                )
        self.render_mode = render_mode
        self.batch = MetaALVectorEnv(1, **options)
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.batch.generators = [self.np_random]
        self._started = True
        observation = _first(to_numpy(self.batch.reset_tensors()))
        return observation, self._info(observation, valid=True)

    def step(self, action: np.int64 | int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        if not self._started:
            raise gym.error.ResetNeeded("call reset() before step(), and again after an episode has ended")
        positions = check_action(action, self.batch.core.config.n_actions)
        result = self.batch.advance(positions)
        observation = _first(to_numpy(self.batch.observe()))
        info = self._info(observation, valid=bool(result.valid))
        terminated = bool(result.terminated)
        if terminated:
            self._started = False
            outcome = self.batch.outcome(torch.tensor([0]))
            info |= {key: value.item() for key, value in outcome.items()}
        return observation, float(result.reward), terminated, False, info

    def view(self) -> PoolView:
        """Returns what may be known of the pool now, a batch of one: what strategies score, without hidden labels.

        Raises:
            gymnasium.error.ResetNeeded: no episode has been started.
        """
        return self.batch.view()

    def action_masks(self) -> np.ndarray:
        """Returns which actions are of use now, (A,) bool; sb3-contrib's `MaskablePPO` asks for it.

        Raises:
            gymnasium.error.ResetNeeded: no episode has been started.
        """
        return self.batch.action_masks()[0]

    def _info(self, observation: dict[str, np.ndarray], valid: bool) -> dict[str, Any]:
        return {
            "action_mask": observation["action_mask"].copy(),
            "valid": valid,
            "accuracy": float(self.batch.state.metrics.accuracy),
        }

    def render(self) -> str | np.ndarray | None:
        """Returns the pool as text or picture: picks numbered in order, classes coloured once revealed."""
        if self.render_mode is None:
            return None
        view = self.batch.view()
        accuracy = float(self.batch.state.metrics.accuracy)
        if self.render_mode == "ansi":
            return render_ansi(view, accuracy)
        return render_rgb(view, accuracy, images=self.batch.core.pool_images(self.batch.state))


def _first(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value[0] for key, value in batch.items()}
