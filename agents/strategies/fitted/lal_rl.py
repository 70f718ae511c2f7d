"""LAL-RL: labelling as a game of minimal length, learned by double DQN."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from agents.strategies.base import masked_scores
from agents.strategies.fitted.base import FITTED, FittedStrategy
from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.pool.view import PoolView

STATE, ACTION = 30, 3


class QNetwork(nn.Module):
    """Computes Q(s, a): the state passes one layer, then with the action another, as in the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Linear(STATE, 10)
        self.both = nn.Linear(10 + ACTION, 5)
        self.value = nn.Linear(5, 1)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Maps (B, STATE) and (B, N, ACTION) to (B, N) minus the expected number of labels to the target."""
        h = torch.sigmoid(self.state(state)).unsqueeze(1).expand(-1, action.shape[1], -1)
        return self.value(torch.sigmoid(self.both(torch.cat([h, action], -1)))).squeeze(-1)


class Transitions(NamedTuple):
    """Holds M steps, each with reward −1."""

    state: Tensor  # (M, STATE)
    action: Tensor  # (M, ACTION)
    next_state: Tensor  # (M, STATE)
    next_actions: Tensor  # (M, N, ACTION)
    next_mask: Tensor  # (M, N) bool; nothing is selectable after the last step


@torch.no_grad()
def describe(view: PoolView) -> tuple[Tensor, Tensor]:
    """Computes the paper's state (B, STATE) and actions (B, N, ACTION), for any number of classes.

    The state holds the sorted scores of `STATE` unlabelled items. The paper draws them and takes p(class 0). Here they
    are evenly spaced quantiles of the largest class probability, so that neither the order of the pool nor that of the
    classes matters. An action holds the item's own score and its mean distances to the labelled and to the unlabelled
    items, in units of the pool's root mean squared distance; 0 without any labelled item.
    """
    score, selectable = view.beliefs.top[0], view.selectable
    ordered = score.masked_fill(~selectable, torch.inf).sort(1).values
    last = (selectable.sum(1, keepdim=True) - 1).clamp(min=0)
    rank = torch.linspace(0, 1, STATE, device=view.device) * last  # (B, STATE)
    state = torch.take_along_dim(ordered, rank.round().long(), 1).nan_to_num(posinf=0.0)
    scale = view.geometry.mean_sq_dist.sqrt().unsqueeze(1)
    real = view.order_mask.unsqueeze(-1)
    known = (view.geometry.sq_dist_from(view.order).sqrt() * real).sum(1)
    known = known / real.sum(1).clamp(min=1)
    weight = view.geometry.at_landmarks(selectable).to(score.dtype)
    unknown = (weight.unsqueeze(1) @ view.geometry.sq_dist.sqrt().transpose(1, 2)).squeeze(1)
    unknown = unknown / weight.sum(1, keepdim=True).clamp(min=1)
    return state.float(), torch.stack([score, known / scale, unknown / scale], -1).float()


@FITTED.register("lal_rl")
class LALRL(FittedStrategy):
    """Runs double DQN on state and action of any classification task (Konyushkova et al. 2018, arXiv 1810.04114).

    The reward is −1 per label until the target accuracy, so Q is minus the number of labels still needed. The target
    of a task is the accuracy that random labels reach with its budget. Cost O(N·L).
    """

    name = "lal_rl"
    network: QNetwork

    def __init__(self, *, seed: int = 0):
        super().__init__(seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the weights before fitting
            self.network = QNetwork()

    def options(self) -> dict[str, Any]:
        return {}

    @torch.no_grad()
    def score(self, view: PoolView) -> Tensor:
        return self.network.to(view.device)(*describe(view))

    def fit(
        self,
        cores: Sequence[Core],
        *,
        tasks: int = 16,
        iterations: int = 30,
        updates: int = 60,
        batch: int = 64,
        memory: int = 20_000,
        learning_rate: float = 1e-3,
        seed: int = 0,
        progress: Callable[[int, float], None] | None = None,
    ) -> list[float]:
        """Fits the network in place; returns the mean number of labels to the target in every iteration.

        The first iteration labels at random (warm start) and sets the last bias from its result. Later ones are
        ε-greedy with ε from .9 to .1. The target network is updated once per iteration.

        Args:
            cores: sources of tasks, all with the same pool size.
            tasks: episodes per core and iteration.
            updates: gradient steps per iteration, on `batch` transitions each.
            memory: transitions kept.
            progress: called with the iteration and its mean number of labels.
        """
        rng = np.random.default_rng(seed)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)
        replay: list[Transitions] = []
        lengths = []
        for iteration in range(iterations):
            epsilon = max(0.1, 0.9 - 1.2 * iteration / iterations) if iteration else 1.0
            played = [self._episodes(core, rng, tasks, epsilon) for core in cores]
            replay += [transitions for transitions, _ in played]
            lengths.append(float(np.mean([length for _, length in played])))
            self.network.cpu()  # playing took it to the cores' device
            if iteration == 0:
                self.network.value.bias.data.fill_(-lengths[0] / 2)  # on average half-way
            if progress is not None:
                progress(iteration, lengths[-1])
            pool = Transitions(*(torch.cat(part)[-memory:] for part in zip(*replay, strict=True)))
            replay = [pool]
            target = copy.deepcopy(self.network)
            for _ in range(updates):
                rows = torch.from_numpy(rng.integers(len(pool.state), size=batch))
                loss = self.bellman_loss(Transitions(*(part[rows] for part in pool)), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return lengths

    def bellman_loss(self, t: Transitions, target: QNetwork) -> Tensor:
        """Computes the loss of double Q-learning (van Hasselt 2016).

        This network picks the next action, and `target` values it.
        """
        with torch.no_grad():
            pick = self.network(t.next_state, t.next_actions).masked_fill(~t.next_mask, -torch.inf).argmax(1)
            values = target(t.next_state, t.next_actions)
            after = torch.take_along_dim(values, pick.unsqueeze(1), 1).squeeze(1)
            wanted = -1 + torch.where(t.next_mask.any(1), after, 0.0)
        return smooth_l1_loss(self.network(t.state, t.action.unsqueeze(1)).squeeze(1), wanted)

    @torch.no_grad()
    def _episodes(
        self, core: Core, rng: np.random.Generator, tasks: int, epsilon: float
    ) -> tuple[Transitions, float]:
        """Plays tasks to their targets and returns the steps and the mean number of labels."""
        task = core.sampler.sample([np.random.default_rng(int(s)) for s in rng.integers(2**62, size=tasks)])
        goal = self._play(core, core.reset(task), rng, 1.0, None)[1]
        state = core.reset(task)
        steps, _ = self._play(core, state, rng, epsilon, goal)
        return steps, len(steps.state) / tasks

    def _play(
        self, core: Core, state: EpisodeState, rng: np.random.Generator, epsilon: float, goal: Tensor | None
    ) -> tuple[Transitions, Tensor]:
        """Returns the steps up to the (B,) target accuracy, or to the budget, and the accuracy at the end."""
        steps = []
        running = torch.ones(len(state.labelled), dtype=torch.bool, device=core.device)
        view = core.view(state)
        here, actions = describe(view)
        for _ in range(int(state.task.budget.max())):
            n = actions.shape[1]
            chance = torch.from_numpy(rng.random((len(here), n))).to(core.device, torch.float32)
            explore = torch.from_numpy(rng.random((len(here), 1)) < epsilon).to(core.device)
            value = torch.where(explore, chance, self.network.to(core.device)(here, actions))
            pick = masked_scores(value, view).argmax(1)
            chosen = torch.take_along_dim(actions, pick.view(-1, 1, 1), 1).squeeze(1)
            core.step(state, pick)
            view = core.view(state)
            now, following = describe(view)
            done = state.used >= state.task.budget
            if goal is not None:
                done = done | (state.metrics.accuracy >= goal)
            mask = view.selectable & ~done.unsqueeze(1)
            step = Transitions(here, chosen, now, following, mask)
            steps.append(Transitions(*(part[running].cpu() for part in step)))
            running = running & ~done
            here, actions = now, following
            if goal is not None and not bool(running.any()):
                break
        return Transitions(*(torch.cat(part) for part in zip(*steps, strict=True))), state.metrics.accuracy
