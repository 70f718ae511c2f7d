"""States that a policy visits, and what the look-ahead oracle knows there: the examples of imitation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from agents.policy.network import AcquisitionNetwork
from agents.training.imitation import vine
from metaal_env.batched import masked_deviation
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames, extract
from metaal_env.metrics import Metrics
from metaal_env.oracle import LabelOracle
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.vector_env import MetaALVectorEnv

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CANDIDATES = 64
"""Items of a state that are looked at: the policy's pick, the others at random."""

Gain = Literal["one_step", "return"]
"""What an item is worth: the reward of its label, or all rewards until the end if the policy goes on from there."""

PER_EPISODE = 12
"""States of an episode that become examples, at most half of them (two, if there are no more than three)."""

AREA = REWARDS["aulc"]
"""What a label earns on the way to a target."""

EXPLORATION = 0.3
"""Share of the steps at which picks are disturbed, so that states are more varied than the policy makes them."""


class Examples(NamedTuple):
    """M states of episodes, each with C candidates; all 0 where there are fewer."""

    items: Tensor  # (M, C, F) float16
    episode: Tensor  # (M, P)
    gain: Tensor  # (M, C) reward or return if the item were labelled, less the mean over the candidates
    candidates: Tensor  # (M, C) bool
    stop: Tensor  # (M,) worth of stopping, 0, less the same mean; of no use where labels have no price

    @staticmethod
    def joined(parts: list[Examples]) -> Examples:
        """Returns all examples, with as many candidates as the widest has."""
        widest = max(part.gain.shape[1] for part in parts)
        return Examples(
            *(torch.cat(column) for column in zip(*(p.widened(widest) for p in parts), strict=True))
        )

    def widened(self, count: int) -> Examples:
        """Returns the examples with room for `count` candidates."""
        missing = count - self.gain.shape[1]
        if not missing:
            return self
        return self._replace(
            items=pad(self.items, (0, 0, 0, missing)),
            gain=pad(self.gain, (0, missing)),
            candidates=pad(self.candidates, (0, missing)),
        )


def examples_file(folder: Path, iteration: int) -> Path:
    """Returns where the examples of a roll-out are kept."""
    return folder / f"examples-{iteration:03d}.pt"


def load_examples(
    file: Path, config: DataclassInstance, names: FeatureNames | None = None
) -> Examples | None:
    """Returns what `save_examples` wrote to `file`, or None if there is no such file.

    Args:
        names: the features that its columns must be, by default all that are registered.

    Raises:
        InputError: it is damaged, or belongs to other settings or features.
    """
    if (saved := read_checkpoint(file, config)) is None:
        return None
    (names or FeatureNames.registered()).check_same(saved.get("features"), f"checkpoint={str(file)!r}")
    with as_input_error(file):
        return Examples(*(saved[name] for name in Examples._fields))


def require_examples(file: Path, config: DataclassInstance, names: FeatureNames | None = None) -> Examples:
    """Returns what `load_examples` does. Raises: `InputError` as it does, or if there is no such file."""
    if (found := load_examples(file, config, names)) is None:
        raise InputError(f"file={str(file)!r} is missing; run the imitation again.")
    return found


def save_examples(file: Path, config: DataclassInstance, names: FeatureNames, examples: Examples) -> None:
    """Writes the examples of a roll-out, with the names of their features."""
    write_checkpoint(file, config, examples._asdict() | {"features": names.to_json()})


def load_all_examples(folder: Path, iterations: int, config: DataclassInstance) -> Examples:
    """Returns all examples of a finished imitation.

    Raises:
        InputError: some are missing, damaged or belong to other settings or features.
    """
    files = [examples_file(folder, iteration) for iteration in range(iterations)]
    return Examples.joined([require_examples(file, config) for file in files])


def delete_examples(folder: Path) -> None:
    """Deletes the examples of a finished imitation, which take up to 20 MB a roll-out."""
    for file in folder.glob("examples-*.pt"):
        file.unlink()


@torch.no_grad()
def collect_examples(
    network: AcquisitionNetwork,
    envs: MetaALVectorEnv,
    rng: np.random.Generator,
    gain: Gain = "one_step",
    played_out: bool | None = None,
    most: int = CANDIDATES,
    per_episode: int = PER_EPISODE,
) -> Examples:
    """Plays one episode in every environment by `network`; returns what the teacher knows of some of their states.

    Args:
        gain: what the teacher tells of an item.
        played_out: takes the few candidates of vine roll-outs, by default if `gain` is ``"return"``. States and
            candidates then are the same for both gains.
        most: candidates of a state, where they are not those of vine roll-outs.
        per_episode: states of an episode that become examples; see `PER_EPISODE`.
    """
    few = gain == "return" if played_out is None else played_out
    core = envs.core
    horizon = core.config.max_actions
    count = min(horizon, per_episode, max(2, horizon // 2))
    remembered = rng.choice(horizon, count, replace=False)
    envs.begin()
    generator = torch.Generator(core.device).manual_seed(int(rng.integers(2**62)))

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=core.device)

    found: list[Examples] = []
    steps = iter(range(horizon))

    def pick(view: PoolView, oracle: LabelOracle) -> Tensor:
        features = extract(view, network.names)
        scores = network(features.items, features.episode, view.valid).logits
        scores = scores.masked_fill(~view.selectable, -torch.inf)
        best = scores.argmax(1)
        if next(steps) in remembered:
            order = noise(scores)
            if few:
                order = vine.near_and_far(scores, view.selectable, order)
            places, real = _candidates(best, view.selectable, order, vine.CANDIDATES if few else most)
            items = torch.take_along_dim(features.items, places.unsqueeze(-1), 1) * real.unsqueeze(-1)
            teach = vine.returns_to_go if gain == "return" else one_step_gains
            worth, mean = centred(teach(network, oracle, places, real), real)
            found.append(Examples(items.half(), features.episode, worth, real, -mean))
        if rng.random() >= EXPLORATION:
            return best
        spread = masked_deviation(scores.masked_fill(~view.selectable, 0), view.selectable)
        return (scores + spread.unsqueeze(1) / 2 * noise(scores)).argmax(1)

    for _ in play_out(core, envs.state, pick):
        pass
    return Examples(*(part.cpu() for part in Examples.joined(found)))


def _candidates(pick: Tensor, selectable: Tensor, order: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """(B, `most`) positions, the `pick` first and then by `order`; and (B, `most`) which of them are real."""
    order = order.masked_fill(~selectable, -torch.inf).scatter(1, pick.unsqueeze(1), torch.inf)
    count = min(most, order.shape[1])
    values, places = order.topk(count, 1)
    missing = most - count
    real = (values > -torch.inf) & selectable.any(1, keepdim=True)
    return pad(places, (0, missing)), pad(real, (0, missing))


def one_step_gains(network: object, oracle: LabelOracle, places: Tensor, real: Tensor) -> Tensor:
    """Returns (B, C) rewards of labelling each candidate, less its price and for a unit of cost.

    A label to a target is rewarded by its gain in accuracy: that it cost 1 says nothing. The labels of an open batch
    count as revealed.

    Args:
        network: of no use here; as for `vine.returns_to_go`.
        places: (B, C) pool positions; those that are `real` come first.
        real: (B, C) bool.
    """
    core, state = oracle.core, oracle.state
    width = int(real.sum(1).max())
    missing = places.shape[1] - width
    places, terms, budget = places[:, :width], state.terms, state.task.budget.unsqueeze(1)
    before = Metrics(*(metric.unsqueeze(1) for metric in state.metrics))
    after = oracle.look_ahead(places)
    cost = torch.take_along_dim(terms.cost, places, 1)
    used = (
        budget - terms.money_left.unsqueeze(1) + cost
        if core.config.item_costs
        else state.used.unsqueeze(1) + 1
    )
    reward = AREA if "target" in core.config.terms else core.reward
    gain = reward(before, after, used, budget, used >= budget) - terms.price.unsqueeze(1) * cost
    return pad(gain / cost, (0, missing))


def centred(gain: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the (B, C) gains of the `real` candidates less their mean, 0 elsewhere; and the (B,) mean."""
    mean = (gain * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
    return (gain - mean) * real, mean.squeeze(1)
