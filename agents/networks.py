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
    layer works in any embedding space, of any dimension. Each head sees the item itself through the residual.
    """

    def __init__(self, width: int):
        super().__init__()
        heads = len(ATTENTION_WIDTHS)
        self.message = nn.Linear(width, width)
        self.mix = nn.Linear(width * (heads + 3), width)
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, attention: Tensor, landmarks: Tensor, valid: Tensor) -> Tensor:
        """(B, N, H) items and (B, heads, N, L) row-normalised kernels → (B, N, H)."""
        messages = self.message(h)
        sources = messages[:, landmarks]  # (B, L, H)
        received = (attention @ sources.unsqueeze(1)).transpose(1, 2).flatten(2)  # (B, N, heads·H)
        pooled = torch.cat(pool(messages, valid), -1).unsqueeze(1).expand(-1, h.shape[1], -1)
        return self.norm(h + torch.relu(self.mix(torch.cat([h, received, pooled], -1))))


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
        self.embed = nn.Sequential(
            nn.Linear(N_ITEM + N_EPISODE, width), nn.ReLU(), nn.Linear(width, width), nn.LayerNorm(width)
        )
        self.rounds = nn.ModuleList(KernelAttention(width) for _ in range(layers))
        self.correction = nn.Linear(width, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.value = nn.Sequential(nn.Linear(2 * width + N_EPISODE, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, items: Tensor, episode: Tensor, geometry: Geometry) -> Output:
        """(B, N, N_ITEM) items, (B, N_EPISODE) episode features and the pool's geometry → `Output`."""
        valid = geometry.valid
        with torch.no_grad():
            kernels = torch.stack([geometry.kernel(width) for width in ATTENTION_WIDTHS], 1)
            attention = kernels / kernels.sum(-1, keepdim=True).clamp(min=1e-6)  # (B, heads, N, L)
        context = episode.unsqueeze(1).expand(-1, items.shape[1], -1)
        h = self.embed(torch.cat([items, context], -1))
        for layer in self.rounds:
            h = layer(h, attention, geometry.landmarks, valid)
        prior = items[..., : len(RULES)] @ self.rule_weights
        value = self.value(torch.cat([*pool(h, valid), episode], -1)).squeeze(-1)
        return Output(prior + self.correction(h).squeeze(-1), value, prior)
