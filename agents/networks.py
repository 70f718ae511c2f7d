"""`AcquisitionNetwork`: a hand-written prior plus a permutation-equivariant, dimension-free correction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

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

    def forward(self, h: Tensor, attention: Tensor, geometry: Geometry) -> Tensor:
        """(B, N, H) items and (B, N, heads·L) row-normalised kernels → (B, N, H)."""
        sources = geometry.at_landmarks(h)  # (B, L, H)
        messages = self.message(sources).unflatten(2, (len(ATTENTION_WIDTHS), -1))  # (B, L, heads, H)
        received = attention @ messages.transpose(1, 2).flatten(1, 2)  # (B, N, H)
        pooled = self.pooled(torch.cat(pool(h, geometry.valid), -1)).unsqueeze(1)  # (B, 1, H)
        return self.norm(h + torch.relu(self.own(h) + received + pooled))


def pool(h: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, H) → mean and maximum over real items, (B, H) each."""
    mask = valid.unsqueeze(-1)
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
        """(B, N, N_ITEM) items, (B, N_EPISODE) episode features and the pool's geometry → `Output`."""
        valid = geometry.valid
        with torch.no_grad():
            kernels = [geometry.kernel(width) for width in ATTENTION_WIDTHS]
            attention = torch.cat([k / k.sum(-1, keepdim=True).clamp(min=1e-6) for k in kernels], -1)
        h = self.embed(self.items(items) + self.context(episode).unsqueeze(1))
        for layer in self.rounds:
            h = layer(h, attention, geometry)
        prior = items[..., : len(RULES)] @ self.rule_weights
        value = self.value(torch.cat([*pool(h, valid), episode], -1)).squeeze(-1)
        return Output(prior + self.correction(h).squeeze(-1), value, prior)
