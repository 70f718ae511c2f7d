"""Typicality: how near an item is to its neighbours in its own cluster."""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.pool.view import PoolView

MAX_DISTANCES = 2**22
"""Most distances within clusters that are held at once."""


def typicality(view: PoolView, assignment: Tensor, neighbours: int = 20) -> Tensor:
    """Returns the (B, N) inverse mean distance to the nearest neighbours in the own cluster.

    TypiClust (Hacohen et al. 2022), against the pool's landmarks. With m items in the cluster,
    min(`neighbours`, m − 1) are averaged; an item alone in its cluster gets 0. Clusters of similar size, of all
    pools, are padded to the largest and processed together, so the cost is the sum of their squared sizes
    instead of O(N·L).
    """
    x = (view.embeddings - view.embeddings.mean(1, keepdim=True)).flatten(0, 1)
    pools = torch.arange(len(view), device=x.device).unsqueeze(1)
    cluster = (assignment + pools * (int(assignment.max()) + 1)).flatten()  # numbered over all pools
    landmark = view.geometry.is_landmark.flatten()
    order = (2 * cluster + ~landmark).argsort(stable=True)  # by cluster, its landmarks first
    size = torch.bincount(cluster)
    counted = torch.bincount(cluster[landmark], minlength=len(size))
    start = size.cumsum(0) - size
    # In steps of a factor of four: fewer, larger operations.
    level = (size.to(x.dtype).log2() / 2).ceil().masked_fill(counted == 0, -1)
    typical = torch.zeros_like(x[:, 0])
    for similar in [torch.nonzero(level == step).squeeze(1) for step in level.unique() if step >= 0]:
        m, n_others = int(size[similar].max()), int(counted[similar].max())
        place = torch.arange(m, device=x.device)
        for part in similar.split(max(1, MAX_DISTANCES // (m * n_others))):
            items = order[(start[part].unsqueeze(1) + place).clamp(max=len(order) - 1)]  # (G, m)
            here = x[items]
            # One formula for all sizes: by default small clusters use another one, which rounds differently.
            distance = torch.cdist(here, here[:, :n_others], compute_mode="use_mm_for_euclid_dist")
            distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)  # an item is no neighbour of its own
            others = place[:n_others] < counted[part].unsqueeze(1)  # (G, n_others)
            distance.masked_fill_(~others.unsqueeze(1), torch.inf)
            if n_others > neighbours:
                distance = distance.topk(neighbours, -1, largest=False, sorted=False).values
            absent = distance.isinf()
            mean = (~absent).sum(-1) / (distance.masked_fill_(absent, 0).sum(-1) + 1e-7)  # (G, m)
            real = place < size[part].unsqueeze(1)
            typical[items[real]] = mean[real]
    return typical.view(assignment.shape)
