"""Vine roll-outs: what an item is worth if the policy goes on from there (TRPO's "vine", Schulman et al. 2015).

One-step gains say nothing of later labels. Here every candidate of a state is labelled in a copy of the episode, and
the policy plays each copy to its end. Tasks are deterministic once drawn, so copies differ by the candidate alone:
the random numbers are common.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import best_actions
from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.features import extract
from metaal_env.oracle import LabelOracle
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView

CANDIDATES = 12
"""Items of a state that are played out: the policy's pick, half of the others near its best, the rest at random."""

ROWS = 1024
"""Copies of episodes that are played at once."""


def greedy(network: AcquisitionNetwork, view: PoolView) -> Tensor:
    """Returns the (B,) actions of `network` without exploration."""
    features = extract(view, network.names)
    output = network(features.items, features.episode, view.valid)
    return best_actions(output.logits, view.selectable, output.stop)


@torch.no_grad()
def returns_to_go(network: AcquisitionNetwork, oracle: LabelOracle, places: Tensor, real: Tensor) -> Tensor:
    """Returns (B, C) rewards until the end if each candidate is labelled now and `network` picks the rest.

    Args:
        places: (B, C) pool positions.
        real: (B, C) bool, False where there is no candidate; 0 is returned there.
    """
    rows, columns = real.nonzero(as_tuple=True)
    found = torch.zeros(places.shape, device=places.device)
    for part, column in zip(rows.split(ROWS), columns.split(ROWS), strict=True):
        copies = oracle.state.rows(part)
        found[part, column] = play_from(network, oracle.core, copies, places[part, column])
    return found


def play_from(network: AcquisitionNetwork, core: Core, state: EpisodeState, first: Tensor) -> Tensor:
    """Labels the (R,) items `first`, lets `network` play on, and returns the (R,) rewards of all labels.

    Args:
        state: of R episodes; changed.
    """
    total = core.step(state, first).reward.clone()
    for moment in play_out(core, state, lambda view, _: greedy(network, view), targets=True):
        total[moment.running] += moment.result.reward
    return total


def near_and_far(scores: Tensor, selectable: Tensor, noise: Tensor) -> Tensor:
    """Returns (B, N) keys whose largest `CANDIDATES` are the best item, half Gumbel-top-k near it, and random ones.

    Args:
        scores: (B, N) logits of the policy.
        noise: (B, N) standard normal.
    """
    gumbel = -torch.log(-torch.log(torch.special.ndtr(noise.double()).clamp(1e-9, 1 - 1e-9))).to(scores.dtype)
    order = (scores + gumbel).masked_fill(~selectable, -torch.inf)
    near = order.topk(min(CANDIDATES // 2, scores.shape[1]), 1).indices
    keys = noise.roll(1, 1)  # other numbers than those of the Gumbel noise at the same item
    return keys.scatter_add(1, near, torch.full_like(near, 100, dtype=keys.dtype))
