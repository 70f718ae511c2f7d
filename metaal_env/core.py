"""The batched environment core: `reset` and `step` on B episodes at once. Every API is a thin border around it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import any_in_rows, take_rows
from metaal_env.datasets.base import ClassDataset
from metaal_env.episode import EpisodeState, Shared, used_columns
from metaal_env.episode_terms import item_costs, targets
from metaal_env.errors import InputError
from metaal_env.inner_products import InnerProducts
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.look_ahead import look_ahead
from metaal_env.metrics import Metrics, score, score_logits
from metaal_env.oracle import LabelOracle
from metaal_env.pool.distances import Geometry
from metaal_env.pool.terms import AFFORDABLE, Terms, plain_terms
from metaal_env.pool.view import PoolView
from metaal_env.rewards import Reward
from metaal_env.runtime.forks import use_one_thread_after_fork
from metaal_env.sampler import TaskSampler
from metaal_env.tasks import TaskBatch, TaskConfig


class StepResult(NamedTuple):
    reward: Tensor  # (B,)
    terminated: Tensor  # (B,) bool
    valid: Tensor  # (B,) bool: False where a labelled item or padding was picked


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
        self.shared = Shared(self.learner, self.learner.prepare_all(dataset.inputs))

    @property
    def prepared(self) -> Tensor:
        """Returns the (M, *F) prepared items of the data set."""
        return self.shared.prepared

    def with_task(self, config: TaskConfig) -> Core:
        """Returns a core of the same data, learner and reward for tasks of another shape; prepared items are shared."""
        other = copy(self)
        other.sampler, other.config = TaskSampler(self.dataset, config), config
        return other

    @torch.no_grad()
    def reset(self, task: TaskBatch) -> EpisodeState:
        """Starts B episodes with their initial labels."""
        use_one_thread_after_fork()
        task = task.to(self.device)
        (b, n), start = task.pool.shape, task.initial
        order = torch.full((b, self.config.max_labels), -1, dtype=torch.long, device=self.device)
        order[:, : start.shape[1]] = start
        labelled = torch.zeros_like(task.pool_mask)
        products = None
        if self.shared.products is not None:
            evaluated = torch.cat([task.pool, task.reward], 1)
            products = InnerProducts(self.shared.products, evaluated, n, self.config.max_labels)
        for number in range(start.shape[1]):
            place, real = start[:, number : number + 1].clamp(min=0), start[:, number : number + 1] >= 0
            labelled.scatter_(1, place, real | labelled.gather(1, place))
            if products is not None:
                products.add(torch.full_like(place, number), place, real, order)
        state = EpisodeState(
            shared=self.shared,
            task=task,
            labelled=labelled,
            labels=torch.where(labelled, task.oracle_labels, -1),
            order=order,
            count=(order >= 0).sum(1),
            used=torch.zeros(b, dtype=torch.long, device=self.device),
            logits=torch.empty(0),
            metrics=Metrics(*torch.empty(3, 0)),
            accuracy_sum=torch.zeros(b, device=self.device),
            terms=plain_terms(task.pool_mask, task.budget),
            ended=torch.zeros(b, dtype=torch.bool, device=self.device),
            stopped=torch.zeros(b, dtype=torch.bool, device=self.device),
            products=products,
        )
        state.metrics = self._adapt(state)
        state.terms = self._terms(state)
        return state

    def _terms(self, state: EpisodeState) -> Terms:
        """Returns the terms of new episodes."""
        config, task, terms = self.config, state.task, state.terms
        if self.target_accuracy is not None:
            terms = terms._replace(target=torch.full_like(terms.target, self.target_accuracy))
        if not config.terms:
            return terms
        terms = terms._replace(price=task.price, batch_size=task.batch_size)
        if config.item_costs:
            terms = terms._replace(cost=item_costs(task, state.prepared, config.item_costs))
        if "target" in config.terms:
            start = state.metrics.accuracy
            reachable = targets(self.learner, task, state.prepared, state.prepared_reward, start)
            terms = terms._replace(target=torch.minimum(terms.target, reachable))
        return terms

    @torch.no_grad()
    def step(self, state: EpisodeState, actions: Tensor) -> StepResult:
        """Labels one item per episode and re-adapts, updating `state` in place.

        Picking a labelled item, padding or an item that cannot be paid for changes nothing, but costs 1 of the budget,
        or what is left of it. In batches, labels are revealed once the batch is full, or when the episode ends. An
        ended episode does not change any more, and its reward is 0.

        Args:
            actions: (B,) int64 pool positions in [0, N), or N to stop where labels have a price.
        """
        use_one_thread_after_fork()
        task, terms, actions = state.task, state.terms, actions.to(self.device)
        stop, running, place = torch.zeros_like(state.ended), ~state.ended, actions.unsqueeze(1)  # (B, 1)
        if self.config.can_stop:
            stop = running & (actions == task.pool.shape[1])
            running, place = running & ~stop, place.clamp(max=task.pool.shape[1] - 1)
        known = state.labelled.gather(1, place)
        may = task.pool_mask.gather(1, place) & ~known & running.unsqueeze(1)
        cost = terms.cost.gather(1, place)
        valid = may & (cost <= terms.money_left.unsqueeze(1) + AFFORDABLE)
        number = state.count.clamp(max=state.order.shape[1] - 1).unsqueeze(1)
        # Views of earlier moments share these tensors: they are replaced, never written to.
        state.order = state.order.scatter(1, number, torch.where(valid, place, state.order.gather(1, number)))
        picked = torch.zeros_like(state.labelled).scatter_(1, place, valid)
        state.labelled = state.labelled | picked
        if state.products is not None:
            state.products.add(number, place, valid, state.order)
        valid = valid.squeeze(1)
        spent = torch.where(valid, cost.squeeze(1), 1.0) * running
        spent = torch.minimum(spent, terms.money_left)
        state.count, state.used = state.count + valid, state.used + running
        state.stopped = state.stopped | stop
        state.terms = terms._replace(money_left=terms.money_left - spent, pending=terms.pending | picked)
        state.ended = state.ended | stop | ~any_in_rows(state.selectable)

        before = state.metrics
        self._reveal(state)
        state.accuracy_sum = state.accuracy_sum + self._area(before, state.metrics, spent, running)
        state.ended = state.ended | (state.metrics.accuracy >= state.terms.target)
        used = task.budget - state.terms.money_left if self.config.item_costs else state.used
        reward = self.reward(before, state.metrics, used, task.budget, state.ended)
        if not isinstance(reward, Tensor) or reward.shape != running.shape:
            shape = tuple(reward.shape) if isinstance(reward, Tensor) else type(reward).__name__
            raise InputError(
                f"the reward function returned {shape}; it must return a tensor of shape {tuple(running.shape)}, "
                "one entry per episode."
            )
        reward = torch.where(running | stop, reward, 0.0) - terms.price * spent
        # A copy, because rows of the state are overwritten when episodes start anew.
        return StepResult(reward, state.ended.clone(), valid | stop | ~running)

    def _reveal(self, state: EpisodeState) -> None:
        """Reveals the labels of full batches, and of open ones where the episode has ended, and adapts the learner."""
        terms = state.terms
        full = terms.pending
        if self.config.max_batch > 1:
            full = full & (state.ended | (full.sum(1) >= terms.batch_size)).unsqueeze(1)
            if not bool(full.any()):
                return
        state.labels = torch.where(full, state.task.oracle_labels, state.labels)
        state.terms = terms._replace(pending=terms.pending & ~full)
        before, after, revealed = state.metrics, self._adapt(state), any_in_rows(full)
        state.metrics = Metrics(*(torch.where(revealed, a, b) for a, b in zip(after, before, strict=True)))

    def _area(self, before: Metrics, after: Metrics, spent: Tensor, running: Tensor) -> Tensor:
        """Returns what an action adds to `accuracy_sum`: the accuracy after it, or where items differ in cost, the
        accuracy before it times the money that it spent."""
        return before.accuracy * spent if self.config.item_costs else after.accuracy * running

    def aulc(self, state: EpisodeState) -> Tensor:
        """Returns the (B,) area under the learning curve: the mean accuracy over labels so far, or over all money."""
        if self.config.item_costs:
            return (state.accuracy_sum + state.metrics.accuracy * state.terms.money_left) / state.task.budget
        mean = state.accuracy_sum / state.used.clamp(min=1)
        return torch.where(state.used > 0, mean, state.metrics.accuracy)

    def view(self, state: EpisodeState) -> PoolView:
        """Returns what a strategy may know now."""
        use_one_thread_after_fork()
        geometry = state.geometry
        if geometry is None:
            products = None if state.products is None else state.products.of_pool
            geometry = Geometry(state.embeddings, state.task.pool_mask, products=products)
            if state.replaced is not None:
                geometry.follow(*state.replaced)
                state.replaced = None
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
            budget_left=state.terms.money_left.ceil().long(),
            seed=state.task.seed + state.used,
            geometry=geometry,
            learner=self.learner,
            prepared=state.prepared,
            adapt=_later(state),
            terms=state.terms if self.config.terms else None,
        )

    def pool_images(self, state: EpisodeState, row: int = 0) -> Tensor | None:
        """Returns the (N, C, H, W) images of one episode's pool for display; None if its items are not images."""
        if self.dataset.modality != "image":
            return None
        return self.dataset.inputs[state.task.pool[row].cpu()]

    def oracle(self, state: EpisodeState) -> LabelOracle:
        return LabelOracle(self, state)

    @torch.no_grad()
    def test_logits(self, state: EpisodeState) -> Tensor:
        """Returns (B, S, K) logits on the test set; for evaluation alone, never for reward, policy or selection."""
        return self.learner.predict(state.adapted, self.prepared[state.task.test])

    @torch.no_grad()
    def look_ahead(
        self, state: EpisodeState, positions: Tensor, labels: Tensor, *, exact: bool = True
    ) -> Metrics:
        """Returns reward-set metrics if (B, C) candidates were labelled with (B, C) `labels`: (B, C) each.

        Args:
            exact: use the learner's closed form where it has one; False always re-adapts.
        """
        return look_ahead(self.learner, state, positions, labels, exact=exact)

    def _adapt(self, state: EpisodeState) -> Metrics:
        """Adapts the learner to the labels and predicts pool and reward set; returns the latter's metrics."""
        state.forget_moment()
        labels = state.task.reward_labels
        if state.products is not None:
            labelled = state.products.labelled(
                state.order, state.labels, state.longest, state.task.class_mask
            )
            logits, n = self.learner.predict_products(labelled), state.labelled.shape[1]  # (B, K, N + R)
            state.logits = logits[:, :, :n].transpose(1, 2)
            return score(logits, labels, n)
        logits = self.learner.predict(state.adapted, state.prepared)
        if logits.shape != (expected := (*state.labelled.shape, state.task.class_mask.shape[1])):
            raise InputError(
                f"predict of the learner {type(self.learner).__name__} returned shape {tuple(logits.shape)}; it must "
                f"return (B, n, K) logits, {expected}."
            )
        state.logits = logits
        return score_logits(self.learner.predict(state.adapted, state.prepared_reward), labels)


def _later(state: EpisodeState) -> Callable[[], Adapted]:
    """Returns a function that adapts the learner to the labels of this moment, at its first call only."""
    if "adapted" in state.kept:
        adapted = state.kept["adapted"]
        return lambda: adapted
    learner, prepared, class_mask = state.shared.learner, state.prepared, state.task.class_mask
    order, labels, count = state.order, state.labels, state.count

    @cache
    def adapt() -> Adapted:
        longest = used_columns(order, count)
        place = order[:, :longest].clamp(min=0)
        known = torch.take_along_dim(labels, place, 1)
        mask = (order[:, :longest] >= 0) & (known >= 0)
        with torch.no_grad():
            return learner.adapt(take_rows(prepared, place), known, mask, class_mask)

    return adapt
