"""`AcquisitionNetwork`: a hand-written prior plus a permutation-equivariant, dimension-free correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metaal_env.errors import InputError, unknown_name
from metaal_env.features import FeatureNames

CONTEXT_LIMIT = 2.0
"""Bound on every entry of a context, in deviations, because gates are fitted where most episodes are."""

STOP_AT_FIRST = -3.0
"""Logit with which an untrained network stops."""

SAFE_WEIGHT = 3.0
"""Weight of the score of the rule to which a policy steps back; about the deviation of a fitted policy's logits."""

CONTEXT_SCALE = 2.0
"""Factor of a gate's effect on a score's weight, relative to a base weight of the same size."""


class Output(NamedTuple):
    logits: Tensor  # (B, N); finite everywhere, masking is the caller's
    value: Tensor  # (B,) expected return
    prior: Tensor  # (B, N) logits of the hand-written part alone
    stop: Tensor | None = None  # (B,) logit of the probability to stop, where the network may


def action_logits(items: Tensor, selectable: Tensor, stop: Tensor | None) -> Tensor:
    """Returns (B, A) logits of all actions: (B, N) of the `items`, −inf where not `selectable`, and of `stop`, if any.

    The probability to stop is the sigmoid of (B,) `stop`, whatever the scale of the items' logits.
    """
    items = items.masked_fill(~selectable, -torch.inf)
    if stop is None:
        return items
    return torch.cat([items.log_softmax(1), stop.unsqueeze(1)], 1)


class AcquisitionNetwork(nn.Module):
    """Computes logits = prior + correction: a weighted sum of rules' scores and a network's addition.

    The rules' weights depend on the context (the pool's clusters, the classes found …), because no rule is best in
    every pool. This dependence and the correction start at exactly zero, so that an untrained network ranks items as
    the rule `prior` does. An item's logit depends only on its features, which are relative to its pool, and on the
    context. Nothing depends on the number of items, their dimension or the number of classes. As with most rules, a
    pick does not depend on the budget: a larger budget buys the same items first. Only the value of an episode does.

    Args:
        prior: item score from which the ranking starts.
        prior_weight: initial weight of that rule's score; larger values are closer to greedy.
        width: hidden units.
        names: features in the order of the inputs; by default all that are registered.
        stop: whether it also says when to stop, for tasks in which labels have a price. Whether to stop is decided
            before the item: the probability is the sigmoid of a logit of its own.
        covered: distances of a context from the examples, in their deviations. Up to the first the policy is itself,
            from the second on it is the rule `prior`, in between a mixture. None for a policy that never steps back.

    Raises:
        InputError: `prior` is not among the item scores, or `covered` does not ascend.
    """

    def __init__(
        self,
        prior: str = "uherding",
        prior_weight: float = 1.5,
        width: int = 64,
        names: FeatureNames | None = None,
        stop: bool = False,
        covered: Sequence[float] | None = None,
    ):
        super().__init__()
        self.names = names = names or FeatureNames.registered()
        if prior not in names.item_scores:
            raise unknown_name("prior", prior, names.item_scores)
        self.options: dict[str, Any] = {"prior": prior, "prior_weight": prior_weight, "width": width}
        if stop:  # not written otherwise, so that older versions read the artifact
            self.options["stop"] = True
        self.step_back_beyond(covered)
        start = torch.tensor([prior_weight if name == prior else 0.0 for name in names.item_scores])
        self.centre: Tensor
        self.whitening: Tensor
        self.lowest: Tensor
        self.highest: Tensor
        self.context_columns: Tensor
        self.budget_columns: Tensor
        n_pool, n_context = len(names.pool_features), len(names.context)
        # The columns follow from the names, so they are not stored with the weights.
        for part in ("context", "budget"):
            columns = [names.pool_features.index(name) for name in getattr(names, part)]
            self.register_buffer(f"{part}_columns", torch.tensor(columns, dtype=torch.long), persistent=False)
        self.context_scale = CONTEXT_SCALE / max(1, n_context) ** 0.5
        self.rule_weights = nn.Parameter(start)
        self.gate = nn.Parameter(torch.zeros(len(names.item_scores), n_context))
        self.register_buffer("centre", torch.zeros(n_context))
        self.register_buffer("whitening", torch.eye(n_context))
        self.register_buffer("lowest", torch.full((n_context,), -1e6))
        self.register_buffer("highest", torch.full((n_context,), 1e6))
        self.items = nn.Linear(len(names.items), width)
        self.context = nn.Linear(n_context, width, bias=False)
        self.embed = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())
        self.correction = nn.Linear(width, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.value = nn.Sequential(nn.Linear(2 * width + n_pool, width), nn.ReLU(), nn.Linear(width, 1))
        self.stop = None
        if stop:
            last = nn.Linear(2 * width, 1)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, STOP_AT_FIRST)
            self.stop = nn.Sequential(nn.Linear(n_pool, 2 * width), nn.ReLU(), last)

    def fit_context(self, episode: Tensor) -> None:
        """Fits range, mean and correlations of episode features to (M, P) examples; see `context_of`."""
        if not len(self.context_columns):
            return
        # In double precision: the mean of a constant must be exact. Where the examples are: they may stay on the CPU
        # while the network is on a GPU.
        episode = episode[:, self.context_columns.to(episode.device)].double()
        ends = torch.quantile(episode, episode.new_tensor([0.001, 0.999]), 0)
        self.lowest.copy_(ends[0])
        self.highest.copy_(ends[1])
        deviation = episode.std(0).clamp(min=1e-3)
        values, vectors = torch.linalg.eigh(torch.cov(((episode - episode.mean(0)) / deviation).T))
        # Directions of little variance must not be amplified.
        self.centre.copy_(episode.mean(0))
        self.whitening.copy_(vectors / values.clamp(min=0.05).sqrt() / deviation.unsqueeze(1))

    def context_of(self, episode: Tensor) -> Tensor:
        """Maps (B, P) features to (B, C) that are uncorrelated and of deviation 1 over the examples.

        Values beyond the examples are clamped to their range. Otherwise the rules' weights would be extrapolated, as
        on pools much larger than in training.
        """
        inside = torch.minimum(torch.maximum(episode[:, self.context_columns], self.lowest), self.highest)
        return ((inside - self.centre) @ self.whitening).clamp(-CONTEXT_LIMIT, CONTEXT_LIMIT)

    def step_back_beyond(self, covered: Sequence[float] | None) -> None:
        """Sets at which distances from the examples the policy steps back; see `covered` of the class.

        Raises:
            InputError: it is no ascending pair of numbers.
        """
        self.options.pop("covered", None)
        self.covered: tuple[float, float] | None = None
        if covered is None:
            return
        given = tuple(covered) if isinstance(covered, (list, tuple)) else ()
        numbers = [
            value for value in given if isinstance(value, (int, float)) and not isinstance(value, bool)
        ]
        if len(given) != 2 or len(numbers) != 2 or not 0 <= numbers[0] < numbers[1]:
            raise InputError(
                f"covered={covered!r} must be two ascending distances, or None to step back never."
            )
        self.covered = float(numbers[0]), float(numbers[1])
        self.options["covered"] = list(self.covered)

    def distance_of(self, episode: Tensor) -> Tensor:
        """Returns the (B,) distances of (B, P) features from the examples: about 1 for an example."""
        apart = (episode[:, self.context_columns] - self.centre) @ self.whitening
        return apart.square().mean(1).sqrt()

    def stepped_back(self, episode: Tensor) -> Tensor:
        """Returns the (B,) shares, from 0 to 1, by which the policy gives way to the rule `prior` in such episodes."""
        if self.covered is None:
            return torch.zeros_like(episode[:, 0])
        low, high = self.covered
        return ((self.distance_of(episode) - low) / (high - low)).clamp(0, 1)

    def weights_of_rules(self, episode: Tensor) -> Tensor:
        """Maps (B, P) features to the (B, R) weights of the item scores."""
        weights = self.rule_weights + self.context_scale * self.context_of(episode) @ self.gate.T
        if self.covered is None:
            return weights
        safe = torch.zeros_like(weights)
        safe[:, self.names.item_scores.index(self.options["prior"])] = SAFE_WEIGHT
        return torch.lerp(weights, safe, self.stepped_back(episode).unsqueeze(1))

    def prior(self, items: Tensor, episode: Tensor) -> Tensor:
        """Maps (B, N, F) and (B, P) features to (B, N) logits without the correction."""
        weights = self.weights_of_rules(episode).unsqueeze(-1)
        return (items[..., : weights.shape[1]] @ weights).squeeze(-1)

    def forward(self, items: Tensor, episode: Tensor, valid: Tensor) -> Output:
        """Computes the logits of B pools' items, and the pools' values.

        Args:
            items: (B, N, F) item scores first; `names.items`.
            episode: (B, P); `names.pool_features`.
            valid: (B, N) bool, False at padding.
        """
        context = self.context_of(episode)
        h = self.embed(self.items(items) + self.context(context).unsqueeze(1))  # (B, N, H)
        prior = self.prior(items, episode)
        mask = valid.unsqueeze(-1)
        mean = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
        budget = episode[:, self.budget_columns]
        summary = torch.cat([mean, h.masked_fill(~mask, -1e4).amax(1), context, budget], -1)
        # Detached: the loss of the value must not move what the logits depend on.
        value = self.value(summary.detach()).squeeze(-1)
        # Of the pool's features alone: examples of imitation hold some of its items.
        stop = None if self.stop is None else self.stop(torch.cat([context, budget], -1)).squeeze(-1)
        correction = self.correction(h).squeeze(-1)
        if self.covered is not None:
            correction = correction * (1 - self.stepped_back(episode)).unsqueeze(1)
        return Output(prior + correction, value, prior, stop)

    @staticmethod
    def feature_counts(tensors: Mapping[str, Tensor]) -> dict[str, int]:
        """Returns the numbers of features that stored weights are made for, or nothing for other weights."""
        try:
            n_scores, (width, n_items) = len(tensors["rule_weights"]), tensors["items.weight"].shape
            n_pool = tensors["value.0.weight"].shape[1] - 2 * width
        except (KeyError, IndexError, TypeError, ValueError):
            return {}
        return {"item_scores": n_scores, "item_features": n_items - n_scores, "pool_features": n_pool}

    @torch.no_grad()
    def drop_correction(self) -> None:
        """Sets the correction to zero, which leaves the rules' weighted sum."""
        self.correction.weight.zero_()
        self.correction.bias.zero_()

    @torch.no_grad()
    def average_with(self, rules: AcquisitionNetwork) -> None:
        """Averages the logits with those of `rules`, a network of the same context without a correction."""
        self.rule_weights.lerp_(rules.rule_weights, 0.5)
        self.gate.lerp_(rules.gate, 0.5)
        self.correction.weight.mul_(0.5)
        self.correction.bias.mul_(0.5)

    @torch.no_grad()
    def scale_logits(self, factor: float) -> None:
        """Multiplies every logit by `factor`, which changes no rank but the exploration of sampling."""
        for part in (self.rule_weights, self.gate, self.correction.weight, self.correction.bias):
            part.mul_(factor)
