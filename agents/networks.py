"""`AcquisitionNetwork`: a hand-written prior plus a permutation-equivariant, dimension-free correction."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from metaal_env.errors import unknown_name
from metaal_env.features import N_EPISODE, N_ITEM, NEIGHBOUR_TEMPERATURE, RULES, WALK
from metaal_env.geometry import Geometry

TEMPERATURES = (WALK[0], NEIGHBOUR_TEMPERATURE)
"""How sharply the attention of the heads falls off with distance: as in the features, which have it computed."""

CONTEXT_LIMIT = 2.0
"""Bound on every entry of a context, in deviations: gates are found where most episodes are, not far out."""

CONTEXT_SCALE = 2 / N_EPISODE**0.5
"""With entries as large as the base's, a gate moves a rule's weight twice as far as the base does."""


class Output(NamedTuple):
    logits: Tensor  # (B, N); finite everywhere, masking is the caller's
    value: Tensor  # (B,) expected return
    prior: Tensor  # (B, N) logits of the hand-written part alone


class KernelAttention(nn.Module):
    """Items exchange messages with their neighbours, weighed by similarity of embeddings.

    The weights are a softmax of distances at fixed temperatures, one per head, so only distances enter and
    the layer works in any embedding space, of any dimension. What heads and pool contribute is summed
    rather than concatenated: the same function at half the cost.
    """

    def __init__(self, width: int):
        super().__init__()
        self.own = nn.Linear(width, width)
        self.message = nn.Linear(width, width * len(TEMPERATURES), bias=False)
        self.pooled = nn.Linear(2 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, geometry: Geometry) -> Tensor:
        """(P, N, S, H): N items of P pools, each at S moments → the same shape."""
        received = torch.zeros_like(h)
        sources = geometry.at_landmarks(h)  # (P, L, S, H)
        for temperature, weight in zip(
            TEMPERATURES, self.message.weight.chunk(len(TEMPERATURES)), strict=True
        ):
            # All moments of a pool see the same neighbours: one matrix product serves them all.
            means = geometry.attention(temperature) @ linear(sources, weight).flatten(2)  # (P, N, S·H)
            received = received + means.view_as(h)
        pooled = self.pooled(torch.cat(pool(h, geometry.valid), -1)).unsqueeze(1)  # (P, 1, S, H)
        return self.norm(h + torch.relu(self.own(h) + received + pooled))


def pool(h: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(P, N, S, H) → mean and maximum over real items, (P, S, H) each."""
    mask = valid[:, :, None, None]
    mean = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
    return mean, h.masked_fill(~mask, -1e4).amax(1)


def weights_of_rules(context: Tensor, base: Tensor, gate: Tensor) -> Tensor:
    """(B, R) what each rule's score counts.

    Args:
        context: (B, N_EPISODE), as of `AcquisitionNetwork.context_of`.
        base: (R,) or (B, R).
        gate: (R, N_EPISODE) or (B, R, N_EPISODE).
    """
    return base + CONTEXT_SCALE * (gate @ context.unsqueeze(-1)).squeeze(-1)


class AcquisitionNetwork(nn.Module):
    """logits = prior + correction: a weighted sum of rules' standardised scores, and what a network adds to it.

    The rules' weights depend on the episode (its budget, clusters, classes found …): no rule is best in every
    pool. That dependence and the correction start at exactly zero, so that before any training items are ranked
    as by the rule `prior`. Nothing depends on the number of items, their dimension or the number of classes.

    Args:
        prior: rule of `metaal_env.features.RULES` that it starts from.
        temperature: initial weight of that rule's standardised score; larger = closer to greedy.
        width: hidden units.
        layers: rounds of kernel attention.

    Raises:
        InputError: unknown rule.
    """

    def __init__(self, prior: str = "uherding", temperature: float = 1.5, width: int = 32, layers: int = 1):
        super().__init__()
        if prior not in RULES:
            raise unknown_name("prior", prior, RULES)
        self.options: dict[str, Any] = {
            "prior": prior,
            "temperature": temperature,
            "width": width,
            "layers": layers,
        }
        start = torch.tensor([temperature if name == prior else 0.0 for name in RULES])
        self.centre: Tensor
        self.whitening: Tensor
        self.lowest: Tensor
        self.highest: Tensor
        self.rule_weights = nn.Parameter(start)
        self.gate = nn.Parameter(torch.zeros(len(RULES), N_EPISODE))
        self.register_buffer("centre", torch.zeros(N_EPISODE))
        self.register_buffer("whitening", torch.eye(N_EPISODE))
        self.register_buffer("lowest", torch.full((N_EPISODE,), -1e6))
        self.register_buffer("highest", torch.full((N_EPISODE,), 1e6))
        self.items = nn.Linear(N_ITEM, width)
        self.context = nn.Linear(N_EPISODE, width, bias=False)
        self.embed = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width))
        self.rounds = nn.ModuleList(KernelAttention(width) for _ in range(layers))
        self.correction = nn.Linear(width, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.value = nn.Sequential(nn.Linear(2 * width + N_EPISODE, width), nn.ReLU(), nn.Linear(width, 1))

    def fit_context(self, episode: Tensor) -> None:
        """Takes range, mean and correlations of episode features from (M, N_EPISODE) examples; see `context_of`."""
        episode = episode.double()  # the mean of what never changes must be that, exactly
        ends = torch.quantile(episode, episode.new_tensor([0.001, 0.999]), 0)
        self.lowest.copy_(ends[0])
        self.highest.copy_(ends[1])
        deviation = episode.std(0).clamp(min=1e-3)
        values, vectors = torch.linalg.eigh(torch.cov(((episode - episode.mean(0)) / deviation).T))
        # Directions that hardly occur must not be blown up.
        self.centre.copy_(episode.mean(0))
        self.whitening.copy_(vectors / values.clamp(min=0.05).sqrt() / deviation.unsqueeze(1))

    def context_of(self, episode: Tensor) -> Tensor:
        """(B, N_EPISODE) features → as many without correlation and of deviation 1 (over the examples).

        What lies beyond the examples counts as their extreme: on pools ten times as large as in training, rules'
        weights would otherwise be extrapolated to where nobody has tried them.
        """
        inside = torch.minimum(torch.maximum(episode, self.lowest), self.highest)
        return ((inside - self.centre) @ self.whitening).clamp(-CONTEXT_LIMIT, CONTEXT_LIMIT)

    def weights_of_rules(self, episode: Tensor) -> Tensor:
        """(B, N_EPISODE) → (B, R) what each rule's standardised score counts."""
        return weights_of_rules(self.context_of(episode), self.rule_weights, self.gate)

    def prior(self, items: Tensor, episode: Tensor) -> Tensor:
        """(B, N, ≥ R) rules' scores first, and (B, N_EPISODE) → (B, N) logits of the weighted rules alone."""
        weights = self.weights_of_rules(episode).unsqueeze(-1)
        # In one layout, so that sums are rounded alike wherever the scores come from.
        return torch.bmm(items[..., : len(RULES)].contiguous(), weights).squeeze(-1)

    @property
    def is_prior(self) -> bool:
        """Whether there is no correction, as before PPO: `prior` then gives the logits, without the network."""
        return not any(bool(part.any()) for part in self.correction.parameters())

    def forward(self, items: Tensor, episode: Tensor, geometry: Geometry) -> Output:
        """Logits and value of B moments of P pools; those of one pool stand together, B / P of each.

        Args:
            items: (B, N, N_ITEM).
            episode: (B, N_EPISODE).
            geometry: of the P pools.
        """
        b, n, _ = items.shape
        pools = len(geometry.valid)
        by_item = items.view(pools, b // pools, n, -1).transpose(1, 2)  # (P, N, S, N_ITEM)
        context = self.context_of(episode)
        h = self.embed(self.items(by_item) + self.context(context).view(pools, 1, b // pools, -1))
        for layer in self.rounds:
            h = layer(h, geometry)
        prior = self.prior(items, episode)
        correction = self.correction(h).squeeze(-1).transpose(1, 2).reshape(b, n)
        summary = torch.cat(pool(h, geometry.valid), -1).view(b, -1)
        value = self.value(torch.cat([summary, context], -1)).squeeze(-1)
        return Output(prior + correction, value, prior)
