"""Computes from a `PoolView` what a policy sees: item and pool features without coordinates or class numbers.

Every feature is equivariant to permutations of the pool and invariant to relabelling the classes, to rotating
and rescaling the embeddings and to padding, so weights carry over between pools, class counts and domains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import arsinh, standardise
from metaal_env.compiled import loops_for
from metaal_env.errors import InputError
from metaal_env.features.catalogue import ITEM_FEATURES, ITEM_SCORES, POOL_FEATURES, ItemFeature, PoolFeature
from metaal_env.features.names import FeatureNames
from metaal_env.pool.view import PoolView
from metaal_env.registry import Registry


class Features(NamedTuple):
    items: Tensor  # (B, N, len(names.items)) scores, then the other item features; 0 at padding
    episode: Tensor  # (B, len(names.pool_features))


@torch.no_grad()
def extract(view: PoolView, names: FeatureNames | None = None) -> Features:
    """Returns the features of each pool. Cost O(N·L), as of the herding rules.

    Args:
        names: which features, by default all that are registered; only these are computed.

    Raises:
        InputError: a registered function returns no tensor, or one of the wrong shape.
    """
    names = names or FeatureNames.registered()
    # Items last while they are computed, because operations over a few features are slow.
    parts = [_columns(view, ITEM_FEATURES, names.item_features, view.valid.shape)]  # (B, F, N)
    if names.item_scores:
        parts.insert(0, standardised_scores(view, names).transpose(1, 2))
    items = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    if not (view.geometry.exact and view.geometry.all_landmarks_real):  # there is padding
        items = items * view.valid.unsqueeze(1)
    return Features(
        items.transpose(1, 2), _columns(view, POOL_FEATURES, names.pool_features, view.valid.shape[:1])
    )


def standardised_scores(view: PoolView, names: FeatureNames | None = None) -> Tensor:
    """Returns the (B, N, R) asinh of the item scores, standardised over what may be picked; 0 elsewhere.

    The arsinh keeps the ranking but damps outliers: one item at ten deviations (a classifier sure of all others, a
    lonely point) would dominate a weighted sum.
    """
    names = names or FeatureNames.registered()
    scores = _columns(view, ITEM_SCORES, names.item_scores, view.valid.shape)
    if fast := loops_for(scores):
        return fast.standard_scores(scores, view.selectable).transpose(1, 2)  # type: ignore[no-any-return]
    return arsinh(standardise(scores.transpose(1, 2), view.selectable))


def _columns(
    view: PoolView,
    registry: Registry[ItemFeature] | Registry[PoolFeature],
    names: Iterable[str],
    shape: torch.Size,
) -> Tensor:
    """Returns the values of some features, (B, F) or (B, F, N) by `shape`."""
    columns = []
    for name in names:
        value = registry[name].function(view)
        if not isinstance(value, Tensor):
            raise InputError(
                f"{registry.kind} {name!r} returned {type(value).__name__}; it must return a torch tensor."
            )
        if value.shape != shape:
            raise InputError(
                f"{registry.kind} {name!r} returned shape {tuple(value.shape)}; it must return {tuple(shape)}."
            )
        columns.append(value.to(view.embeddings))
    return torch.stack(columns, 1) if columns else view.embeddings.new_zeros(shape[0], 0, *shape[1:])
