"""`play_out`: plays episodes to their end, one label at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.core import Core, StepResult
from metaal_env.episode import EpisodeState
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView

Pick = Callable[[PoolView, LabelOracle], Tensor]
"""Chooses the next items: maps the view of R episodes and their oracle to (R,) int64 pool positions."""


class Moment(NamedTuple):
    """Holds one label in each of R running episodes."""

    running: Tensor  # (R,) int64 positions of these episodes among the B
    view: PoolView  # before the label
    actions: Tensor  # (R,) int64 pool positions that were labelled
    result: StepResult
    state: EpisodeState  # after the label


@torch.no_grad()
def play_out(core: Core, state: EpisodeState, pick: Pick, *, targets: bool = False) -> Iterator[Moment]:
    """Plays B episodes to their ends and yields after every label.

    Episodes leave the batch when their budget is spent, their pool is empty, or `pick` stops them.

    Args:
        state: start of the episodes; it is stepped in place until an episode leaves.
        pick: chooses the items.
        targets: whether an episode also ends at its target accuracy.
    """
    running = torch.arange(len(state), device=core.device)
    if not targets:
        state.terms = state.terms._replace(target=torch.full_like(state.terms.target, torch.inf))
    while True:
        alive = ~state.ended
        if not bool(alive.all()):
            running, state = running[alive], state.rows(torch.nonzero(alive).squeeze(1))
        if not len(running):
            return
        view = core.view(state)
        actions = pick(view, core.oracle(state))
        yield Moment(running, view, actions, core.step(state, actions), state)
