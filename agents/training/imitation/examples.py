"""States that a policy visits, and what the look-ahead oracle knows there: the examples of imitation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from agents.policy.network import AcquisitionNetwork
from metaal_env.core import Core, EpisodeState
from metaal_env.errors import InputError
from metaal_env.features import extract
from metaal_env.metrics import Metrics
from metaal_env.runtime.checkpoints import read_checkpoint, restoring
from metaal_env.tasks import bounds
from metaal_env.vector_env import MetaALVectorEnv

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CANDIDATES = 64
"""Items of a state that are looked at: the policy's pick, the others at random."""

PER_EPISODE = 12
"""States of an episode that are remembered, at most half of them (two, if there are no more than three)."""

EXPLORATION = 0.3
"""Share of the steps at which picks are disturbed, so that states are more varied than the policy makes them."""

AT_ONCE = 16
"""Candidates for which the learner is adapted at once."""


class States(NamedTuple):
    """M states, each with C candidates; all 0 where there are fewer."""

    items: Tensor  # (M, C, N_ITEM) float16
    episode: Tensor  # (M, N_EPISODE)
    gain: Tensor  # (M, C) reward if the item were labelled, less the mean over the candidates
    candidates: Tensor  # (M, C) bool

    @staticmethod
    def joined(parts: list[States]) -> States:
        return States(*(torch.cat(column) for column in zip(*parts, strict=True)))


def states_file(folder: Path, iteration: int) -> Path:
    """Where the states of a roll-out are kept."""
    return folder / f"states-{iteration:03d}.pt"


def recalled(file: Path, config: DataclassInstance) -> States | None:
    """What `file` holds, if it is there. Raises: `InputError` if it is damaged or belongs to other settings."""
    if (saved := read_checkpoint(file, config)) is None:
        return None
    with restoring(file):
        return States(*(saved[name] for name in States._fields))


def all_states(folder: Path, iterations: int, config: DataclassInstance) -> States:
    """All states of a finished imitation.

    Raises:
        InputError: some are missing, damaged or belong to other settings.
    """
    found = []
    for file in (states_file(folder, iteration) for iteration in range(iterations)):
        if (part := recalled(file, config)) is None:
            raise InputError(f"file={str(file)!r} is missing; run the imitation again.")
        found.append(part)
    return States.joined(found)


def forget(folder: Path) -> None:
    """Removes the states of a finished imitation, which take up to 20 MB a roll-out."""
    for file in folder.glob("states-*.pt"):
        file.unlink()


@torch.no_grad()
def visit(network: AcquisitionNetwork, envs: MetaALVectorEnv, rng: np.random.Generator) -> States:
    """Plays one episode in every environment by `network`; what the oracle knows of some of their states."""
    core = envs.core
    horizon = bounds(core.config.budget)[1]
    count = min(horizon, PER_EPISODE, max(2, horizon // 2))
    remembered = rng.choice(horizon, count, replace=False)
    envs.begin()
    generator = torch.Generator(core.device).manual_seed(int(rng.integers(2**62)))

    def noise() -> Tensor:
        return torch.randn(envs.state.labelled.shape, generator=generator, device=core.device)

    found = []
    for step in range(horizon):
        view = core.view(envs.state)
        features = extract(view)
        scores = network(features.items, features.episode, view.valid).logits
        scores = scores.masked_fill(~view.selectable, -torch.inf)
        pick = scores.argmax(1)
        if step in remembered:
            places, real = _candidates(pick, view.selectable, noise())
            items = torch.take_along_dim(features.items, places.unsqueeze(-1), 1) * real.unsqueeze(-1)
            gain = gains(core, envs.state, places, real)
            found.append(States(items.half(), features.episode, gain, real))
        if rng.random() < EXPLORATION:
            spread = deviation(scores.masked_fill(~view.selectable, 0), view.selectable)
            pick = (scores + spread.unsqueeze(1) / 2 * noise()).argmax(1)
        envs.advance(pick)
    return States(*(part.cpu() for part in States.joined(found)))


def _candidates(pick: Tensor, selectable: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C) positions, the `pick` first and then by `order`; and (B, C) which of them are real."""
    order = order.masked_fill(~selectable, -torch.inf).scatter(1, pick.unsqueeze(1), torch.inf)
    count = min(CANDIDATES, order.shape[1])
    values, places = order.topk(count, 1)
    missing = CANDIDATES - count
    real = (values > -torch.inf) & selectable.any(1, keepdim=True)
    return pad(places, (0, missing)), pad(real, (0, missing))


def gains(core: Core, state: EpisodeState, places: Tensor, real: Tensor) -> Tensor:
    """(B, C) rewards of labelling each candidate, less their mean; 0 where there is none.

    Args:
        places: (B, C) pool positions; those that are `real` come first.
        real: (B, C) bool.
    """
    width = int(real.sum(1).max())
    used, budget = (state.used + 1).unsqueeze(1), state.task.budget.unsqueeze(1)
    before = Metrics(*(metric.unsqueeze(1) for metric in state.metrics))
    oracle = core.oracle(state)
    parts = []
    for part in places[:, :width].split(AT_ONCE, 1):
        after = oracle.look_ahead(part)
        parts.append(core.reward(before, after, used, budget, used >= budget))
    gain = pad(torch.cat(parts, 1), (0, places.shape[1] - width))
    mean = (gain * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
    return (gain - mean) * real


def deviation(values: Tensor, mask: Tensor) -> Tensor:
    """(M, C) → (M,) standard deviation over `mask`."""
    count = mask.sum(1).clamp(min=1)
    mean = ((values * mask).sum(1) / count).unsqueeze(1)
    return (((values - mean).square() * mask).sum(1) / count).sqrt()
