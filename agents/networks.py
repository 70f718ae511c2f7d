"""`AcquisitionNetwork`: a hand-written prior plus a permutation-equivariant, dimension-free correction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from metaal_env.errors import unknown_name
from metaal_env.features import N_EPISODE, N_ITEM, RULES
from metaal_env.geometry import Geometry

ATTENTION_WIDTHS = (0.05, 0.2, 0.5)
"""Kernel widths through which items see their neighbours, relative to the pool's mean squared distance."""


class Output(NamedTuple):
    logits: Tensor  # (B, N); finite everywhere, masking is the caller's
    value: Tensor  # (B,) expected return
    prior: Tensor  # (B, N) logits of the hand-written part alone


class KernelAttention(nn.Module):
    """Items exchange messages with their neighbours, weighed by similarity of embeddings.

    The weights are Gaussian kernels of fixed relative widths, one per head, so only distances enter and the
    layer works in any embedding space, of any dimension. What heads and pool contribute is summed rather
    than concatenated: the same function at half the cost.
    """

    def __init__(self, width: int):
        super().__init__()
        self.own = nn.Linear(width, width)
        self.message = nn.Linear(width, width * len(ATTENTION_WIDTHS), bias=False)
        self.pooled = nn.Linear(2 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, geometry: Geometry) -> Tensor:
        """(P, N, S, H): N items of P pools, each at S moments → the same shape."""
        received = torch.zeros_like(h)
        sources = geometry.at_landmarks(h)  # (P, L, S, H)
        for width, weight in zip(
            ATTENTION_WIDTHS, self.message.weight.chunk(len(ATTENTION_WIDTHS)), strict=True
        ):
            # All moments of a pool see the same neighbours: one matrix product serves them all.
            sums = geometry.kernel(width) @ linear(sources, weight).flatten(2)  # (P, N, S·H)
            mass = geometry.density(width) * geometry.landmark_mask.sum(1, keepdim=True)
            received = received + (sums / mass.clamp(min=1e-6).unsqueeze(-1)).view_as(h)
        pooled = self.pooled(torch.cat(pool(h, geometry.valid), -1)).unsqueeze(1)  # (P, 1, S, H)
        return self.norm(h + torch.relu(self.own(h) + received + pooled))


def pool(h: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(P, N, S, H) → mean and maximum over real items, (P, S, H) each."""
    mask = valid[:, :, None, None]
    mean = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
    return mean, h.masked_fill(~mask, -1e4).amax(1)


class AcquisitionNetwork(nn.Module):
    """logits = prior(rules' standardised scores) + correction; the correction starts at exactly zero.

    Before any training it therefore ranks items as the rule `prior` does. Nothing depends on the number of
    items, their dimension or the number of classes.

    Args:
        prior: rule of `metaal_env.features.RULES` that it starts from.
        temperature: initial weight of that rule's standardised score; larger = closer to greedy.
        width: hidden units.
        layers: rounds of kernel attention.

    Raises:
        InputError: unknown rule.
    """

    def __init__(self, prior: str = "uherding", temperature: float = 1.5, width: int = 32, layers: int = 2):
        super().__init__()
        if prior not in RULES:
            raise unknown_name("prior", prior, RULES)
        self.options = {"prior": prior, "temperature": temperature, "width": width, "layers": layers}
        start = torch.tensor([temperature if name == prior else 0.0 for name in RULES])
        self.rule_weights = nn.Parameter(start)
        self.items = nn.Linear(N_ITEM, width)
        self.context = nn.Linear(N_EPISODE, width, bias=False)
        self.embed = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width))
        self.rounds = nn.ModuleList(KernelAttention(width) for _ in range(layers))
        self.correction = nn.Linear(width, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.value = nn.Sequential(nn.Linear(2 * width + N_EPISODE, width), nn.ReLU(), nn.Linear(width, 1))

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
        context = self.context(episode).view(pools, 1, b // pools, -1)
        h = self.embed(self.items(by_item) + context)
        for layer in self.rounds:
            h = layer(h, geometry)
        prior = items[..., : len(RULES)] @ self.rule_weights
        correction = self.correction(h).squeeze(-1).transpose(1, 2).reshape(b, n)
        summary = torch.cat(pool(h, geometry.valid), -1).view(b, -1)
        value = self.value(torch.cat([summary, episode], -1)).squeeze(-1)
        return Output(prior + correction, value, prior)
