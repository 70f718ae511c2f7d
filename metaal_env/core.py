"""The batched environment core: `reset` and `step` on B episodes at once. Every API is a thin border around it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from metaal_env.datasets.base import ClassDataset
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.metrics import Metrics, score_logits
from metaal_env.pool.distances import Geometry
from metaal_env.pool.view import PoolView
from metaal_env.rewards import Reward
from metaal_env.sampler import TaskSampler
from metaal_env.tasks import TaskBatch, TaskConfig


@dataclass(eq=False)
class EpisodeState:
    """Everything about B running episodes; each tensor has the leading dimension B."""

    task: TaskBatch
    features: Tensor  # (B, N, *F) prepared pool items
    reward_features: Tensor  # (B, R, *F) prepared reward items
    labelled: Tensor  # (B, N) bool
    labels: Tensor  # (B, N) int64 revealed class; −1 if unknown or a distractor
    order: Tensor  # (B, S) int64 pool positions in the order of labelling; −1 at padding
    used: Tensor  # (B,) int64 actions taken
    adapted: Adapted
    embeddings: Tensor  # (B, N, D)
    logits: Tensor  # (B, N, K)
    metrics: Metrics
    accuracy_sum: Tensor  # (B,) sum of the reward-set accuracy after each action, for the running AULC
    geometry: Geometry | None = None  # kept while embeddings are static

    def replace_rows(self, index: Tensor, other: EpisodeState) -> None:
        """Overwrites the episodes at `index` (int64) with those of `other`, in order."""
        for f in fields(self):
            _put(getattr(self, f.name), index, getattr(other, f.name))
        self.geometry = None


def _put(target: object, index: Tensor, source: object) -> None:
    if isinstance(target, Tensor) and isinstance(source, Tensor):
        target[index] = source
    elif isinstance(target, TaskBatch):
        for f in fields(target):
            _put(getattr(target, f.name), index, getattr(source, f.name))
    elif isinstance(target, dict) and isinstance(source, dict):
        for key in target:
            widest = torch.maximum(torch.tensor(target[key].shape[1:]), torch.tensor(source[key].shape[1:]))
            target[key] = _padded(target[key], widest)
            _put(target[key], index, _padded(source[key], widest))
    elif isinstance(target, tuple) and isinstance(source, tuple):
        for mine, theirs in zip(target, source, strict=True):
            _put(mine, index, theirs)


def _padded(x: Tensor, sizes: Tensor) -> Tensor:
    """`x` with zeros behind, so that its dimensions after the first have `sizes`."""
    missing = sizes - torch.tensor(x.shape[1:])
    return pad(x, [n for size in missing.flip(0).tolist() for n in (0, size)]) if missing.any() else x


class StepResult(NamedTuple):
    reward: Tensor  # (B,)
    terminated: Tensor  # (B,) bool
    valid: Tensor  # (B,) bool: False where a labelled item or padding was picked


class Oracle:
    """Holds the hidden labels. Only the core and privileged strategies may have one; never the test set."""

    def __init__(self, core: Core, state: EpisodeState):
        self.core, self.state = core, state

    @property
    def true_labels(self) -> Tensor:
        """(B, N) int64; −1 for distractors and padding."""
        return self.state.task.pool_labels

    def reveal(self, positions: Tensor) -> Tensor:
        """(B, …) pool positions → the labels that the oracle gives for them, noise included."""
        flat = positions.reshape(len(positions), -1)
        return torch.take_along_dim(self.state.task.oracle_labels, flat, 1).reshape(positions.shape)

    def look_ahead(self, positions: Tensor) -> Metrics:
        """Reward-set metrics after labelling one further item, for each of (B, C) candidates: (B, C) each."""
        return self.core.look_ahead(self.state, positions, self.reveal(positions))


class Core:
    """The Markov decision process on tensors.

    Args:
        dataset: where tasks come from (one split).
        learner: the inner learner; moved to `device`, put in evaluation mode, never trained here.
        config: what tasks look like.
        reward: maps metrics before and after an action to a reward.
        target_accuracy: ends an episode early once the reward-set accuracy reaches it.
        device: where every tensor lives.

    Raises:
        InputError: the data set cannot supply such tasks, or the learner does not fit its inputs.
    """

    def __init__(
        self,
        dataset: ClassDataset,
        learner: InnerLearner,
        config: TaskConfig,
        reward: Reward,
        target_accuracy: float | None = None,
        device: torch.device | str = "cpu",
    ):
        self.sampler = TaskSampler(dataset, config)
        self.dataset, self.config, self.reward = dataset, config, reward
        self.target_accuracy = target_accuracy
        self.device = torch.device(device)
        self.learner = learner.to(self.device).eval().requires_grad_(False)
        # Embedded once per learner, not per episode: tasks only gather rows.
        self.features = self.learner.prepare_all(dataset.inputs)  # (M, *F)

    def with_task(self, config: TaskConfig) -> Core:
        """The same data, learner and reward for tasks of another shape; embedded features are shared."""
        other = copy(self)
        other.sampler, other.config = TaskSampler(self.dataset, config), config
        return other

    @torch.no_grad()
    def reset(self, task: TaskBatch) -> EpisodeState:
        """Starts B episodes with their initial labels."""
        task = task.to(self.device)
        b, n = task.pool.shape
        features = self.features[task.pool]
        order = torch.full((b, self.config.max_labels), -1, dtype=torch.long, device=self.device)
        order[:, : task.initial.shape[1]] = task.initial
        labelled = (task.initial.unsqueeze(2) == torch.arange(n, device=self.device)).any(1)
        labels = torch.where(labelled, task.oracle_labels, -1)
        state = EpisodeState(
            task=task,
            features=features,
            reward_features=self.features[task.reward],
            labelled=labelled,
            labels=labels,
            order=order,
            used=torch.zeros(b, dtype=torch.long, device=self.device),
            adapted={},
            embeddings=torch.empty(0),
            logits=torch.empty(0),
            metrics=Metrics(*torch.empty(3, 0)),
            accuracy_sum=torch.zeros(b, device=self.device),
        )
        self._adapt(state)
        state.metrics = self._metrics(state.adapted, state.reward_features, task.reward_labels)
        return state

    @torch.no_grad()
    def step(self, state: EpisodeState, actions: Tensor) -> StepResult:
        """Labels one item per episode and re-adapts, updating `state` in place.

        A labelled item or padding changes nothing, costs budget and gives reward 0.

        Args:
            actions: (B,) int64 pool positions in [0, N).
        """
        rows = torch.arange(len(actions), device=self.device)
        actions = actions.to(self.device)
        valid = (state.task.pool_mask & ~state.labelled)[rows, actions]
        # Views of earlier moments share these tensors: they are replaced, never written to.
        state.order, state.labelled = state.order.clone(), state.labelled.clone()
        place = (state.order >= 0).sum(1).clamp(max=state.order.shape[1] - 1)
        state.order[rows[valid], place[valid]] = actions[valid]
        state.labelled[rows[valid], actions[valid]] = True
        state.labels = torch.where(state.labelled, state.task.oracle_labels, -1)
        state.used = state.used + 1

        before = state.metrics
        self._adapt(state)
        after = self._metrics(state.adapted, state.reward_features, state.task.reward_labels)
        state.metrics = Metrics(*(torch.where(valid, a, b) for a, b in zip(after, before, strict=True)))
        state.accuracy_sum = state.accuracy_sum + state.metrics.accuracy
        terminated = (state.used >= state.task.budget) | ~(state.task.pool_mask & ~state.labelled).any(1)
        if self.target_accuracy is not None:
            terminated |= state.metrics.accuracy >= self.target_accuracy
        reward = self.reward(before, state.metrics, state.used, state.task.budget, terminated)
        return StepResult(torch.where(valid, reward, 0.0), terminated, valid)

    def view(self, state: EpisodeState) -> PoolView:
        """What a strategy may know now."""
        geometry = state.geometry or Geometry(state.embeddings, state.task.pool_mask)
        if self.learner.static_embedding:
            state.geometry = geometry
        return PoolView(
            embeddings=state.embeddings,
            logits=state.logits,
            valid=state.task.pool_mask,
            labelled=state.labelled,
            labels=state.labels,
            order=state.order,
            class_mask=state.task.class_mask,
            budget=state.task.budget,
            budget_left=state.task.budget - state.used,
            seed=state.task.seed + state.used,
            geometry=geometry,
            learner=self.learner,
            features=state.features,
            adapted=state.adapted,
        )

    def oracle(self, state: EpisodeState) -> Oracle:
        return Oracle(self, state)

    @torch.no_grad()
    def test_logits(self, state: EpisodeState) -> Tensor:
        """(B, S, K) logits on the test set; for evaluation alone, never for reward, policy or selection."""
        return self.learner.predict(state.adapted, self.features[state.task.test])

    @torch.no_grad()
    def look_ahead(self, state: EpisodeState, positions: Tensor, labels: Tensor) -> Metrics:
        """Reward-set metrics if (B, C) candidates were labelled with (B, C) `labels`: (B, C) each."""
        b, c = positions.shape
        support, support_labels, mask = self._support(state)
        extra = torch.take_along_dim(
            state.features, positions.view(b, c, *[1] * (state.features.dim() - 2)), 1
        ).unsqueeze(2)  # (B, C, 1, *F)

        def repeat(x: Tensor) -> Tensor:  # (B, …) → (B·C, …)
            return x.repeat_interleave(c, 0)

        adapted = self.learner.adapt(
            torch.cat([repeat(support), extra.flatten(0, 1)], 1),
            torch.cat([repeat(support_labels), labels.reshape(-1, 1)], 1),
            torch.cat([repeat(mask), labels.reshape(-1, 1) >= 0], 1),
            repeat(state.task.class_mask),
        )
        logits = self.learner.predict_each(adapted, state.reward_features)
        metrics = score_logits(logits, repeat(state.task.reward_labels))
        return Metrics(*(m.view(b, c) for m in metrics))

    def _support(self, state: EpisodeState) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled items in the order of labelling: features (B, S, *F), labels (B, S), mask (B, S)."""
        longest = int((state.order >= 0).sum(1).max()) if state.order.numel() else 0
        order = state.order[:, :longest]
        support = Geometry.rows(state.features, order)
        labels = torch.take_along_dim(state.labels, order.clamp(min=0), 1)
        return support, labels, (order >= 0) & (labels >= 0)

    def _adapt(self, state: EpisodeState) -> None:
        state.adapted = self.learner.adapt(*self._support(state), state.task.class_mask)
        if state.used.max() == 0 or not self.learner.static_embedding:
            state.embeddings = self.learner.embed(state.adapted, state.features)
        state.logits = self.learner.predict(state.adapted, state.features)

    def _metrics(self, adapted: Adapted, features: Tensor, labels: Tensor) -> Metrics:
        return score_logits(self.learner.predict(adapted, features), labels)
