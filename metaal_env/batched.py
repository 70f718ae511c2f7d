"""Small operations on batches of padded pools: rows, distances, means, standard scores, unit ranges."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

HUGE_PAGE = 2**19
"""Float32 numbers in a huge page of 2 MiB."""


def take_rows(values: Tensor, positions: Tensor) -> Tensor:
    """Returns (B, S, …) rows of (B, N, …) `values` at (B, S) `positions`; negative positions read row 0."""
    b, n = values.shape[:2]
    # Whole rows are copied several times faster than numbers.
    if n and values.stride(0) == n * values.stride(1):
        first = torch.arange(0, b * n, n, device=values.device).unsqueeze(1)
        place = first + positions.clamp(min=0)
        return values.flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape)
    batch = torch.arange(b, device=values.device).unsqueeze(1)
    return values[batch, positions.clamp(min=0)]


def any_in_rows(mask: Tensor) -> Tensor:
    """Returns (B,) bool, True where the (B, N) mask has a True; `torch.any` takes four times as long on a CPU."""
    return torch.count_nonzero(mask, 1) > 0


def smallest(values: Tensor, count: int) -> Tensor:
    """Returns the (B, `count`) smallest of (B, N) values in rising order.

    On a CPU NumPy sorts all of them in a quarter of the time that torch takes to select.
    """
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.detach().numpy(), axis=1)[:, :count])
    return values.topk(count, 1, largest=False).values


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Returns (…, n, m) squared distances between (…, n, D) and (…, m, D), never negative.

    Centred first: the expansion ‖a‖² + ‖b‖² − 2a·b loses digits when the common mean is large.
    """
    centre = b.mean(-2, keepdim=True)
    a, b = a - centre, b - centre
    distance = (-2 * a) @ b.transpose(-1, -2)
    distance += a.square().sum(-1).unsqueeze(-1)
    distance += b.square().sum(-1).unsqueeze(-2)
    return distance.clamp_(min=0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Returns (B, C) means of (B, N, C) `values` over the items of (B, N) `mask`; 0 where there is none."""
    return (values * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def masked_deviation(values: Tensor, mask: Tensor) -> Tensor:
    """Returns (B,) standard deviations of (B, N) `values` over `mask`."""
    count = mask.sum(1).clamp(min=1)
    mean = ((values * mask).sum(1) / count).unsqueeze(1)
    return (((values - mean).square() * mask).sum(1) / count).sqrt()


def standardise(scores: Tensor, mask: Tensor) -> Tensor:
    """Returns (B, N, R) scores with mean 0 and deviation 1 over the items of (B, N) `mask`, 0 elsewhere.

    A score that is constant over the mask becomes 0.
    """
    weight = (mask / mask.sum(1, keepdim=True).clamp(min=1)).unsqueeze(-1)  # (B, N, 1)
    mean = (scores * weight).sum(1, keepdim=True)
    deviation = ((scores - mean).square() * weight).sum(1, keepdim=True).sqrt()
    scaled = torch.where(deviation > 1e-6, (scores - mean) / deviation.clamp(min=1e-6), 0.0)
    return scaled * mask.unsqueeze(-1)


def arsinh(x: Tensor) -> Tensor:
    """Returns the inverse hyperbolic sine of numbers up to 1e18, as exact as torch's own, which is slow on CPUs."""
    size = x.abs()
    square = size * size
    return torch.log1p(square.div_((square + 1).sqrt_().add_(1)).add_(size)).copysign_(x)


def unit_range(scores: Tensor, mask: Tensor) -> Tensor:
    """Returns (B, N) scores scaled so that those under `mask` span [0, 1]; constant scores become 1."""
    low = scores.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
    range_ = high - low
    scaled = torch.where(range_ > 0, (scores - low) / range_.clamp(min=1e-30), 1.0)
    return scaled.masked_fill(~mask, 0).clamp(0, 1)


def as_tie_break(scores: Tensor, mask: Tensor) -> Tensor:
    """Maps scores to (B, N) doubles in [0, 1) of the same order, to decide between equal ranks."""
    return 0.999 * unit_range(scores.double(), mask)


def empty(*shape: int, like: Tensor) -> Tensor:
    """Returns memory for a large tensor, on CPUs in whole huge pages: the system hands these out several times faster.

    NumPy asks for them from 4 MiB on, wherever an array begins; one that begins inside of a page has small ones there.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return like.new_empty(shape)
    size = prod(shape)
    if size < HUGE_PAGE:
        return torch.from_numpy(np.empty(shape, dtype=np.float32))
    memory = np.empty((size // HUGE_PAGE + 2) * HUGE_PAGE, dtype=np.float32)
    begin = -(memory.ctypes.data // memory.itemsize) % HUGE_PAGE
    return torch.from_numpy(memory[begin : begin + size].reshape(shape))


def gather(items: Tensor, index: Tensor) -> Tensor:
    """Returns ``items[index]`` for (B, n) `index`, in memory as of `empty`."""
    if items.device.type != "cpu" or items.dtype != torch.float32:
        return items[index]
    out = empty(index.numel(), *items.shape[1:], like=items)
    return torch.index_select(items, 0, index.flatten(), out=out).unflatten(0, index.shape)
