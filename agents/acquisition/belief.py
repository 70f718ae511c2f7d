"""Picks a batch as if the labels came one by one: each pick is given the label that partitions lead to expect."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.acquisition.batch import Selection, choose
from agents.acquisition.labels import Labels
from agents.acquisition.options import QueryOptions
from agents.acquisition.policies import covering
from agents.acquisition.pool_items import PoolItems
from agents.acquisition.purchase import Purchase
from agents.acquisition.user_pool import Pool, build_pool
from agents.strategies.base import Strategy
from metaal_env.pool.partitions import class_shares
from metaal_env.pool.view import PoolView


def choose_batch(
    items: PoolItems,
    labels: Labels,
    options: QueryOptions,
    positions: np.ndarray,
    size: int,
    strategy: Strategy,
    *,
    everything: bool,
    with_utilities: bool,
    purchase: Purchase | None,
    seed: int,
) -> Selection:
    """Picks a batch; where the strategy believes labels, classifier and pool are adapted to those of its picks.

    Of pools that are not scored whole no label is believed, because their view takes long to build. Of large pools
    labels are believed in `Limits.evaluations` parts of the batch.

    Args:
        positions: the candidates.
        seed: of the first pick; it grows with the picks, as with labels.
    """
    limits, every, chooser = options.limits, size, strategy
    if strategy.believes and len(positions) <= limits.scored:
        every = 1 if len(positions) <= limits.exact_batches else -(-size // limits.evaluations)
    parts: list[Selection] = []
    done = 0
    while done < size:
        part_size = min(every, size - done)
        pool = build_pool(
            items,
            labels,
            options,
            strategy,
            batch_size=size - done,
            seed=seed + done,
            quiet=bool(parts),  # warnings are about what is known, not about what is believed
        )
        if not parts:  # one rule answers for the whole batch, as warnings and reasons say
            chooser = covering(strategy, pool.one_hot)
        part = choose(
            pool,
            items.vectors,
            positions,
            labels.known,
            part_size,
            chooser,
            everything,
            with_utilities,
            limits,
            purchase,
        )
        parts.append(part)
        done += len(part.picks)
        if len(part.picks) < part_size or done == size:
            break
        for pick, view, place in zip(part.picks, part.views, part.places, strict=True):
            if not labels.known[pick]:
                label = believed(pool, view, place, labels, options)
                labels = labels.with_label(int(pick), label, made_up=label not in pool.classes)
        positions = positions[~np.isin(positions, part.picks)]
    return Selection(
        np.concatenate([part.picks for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.utilities for part in parts if part.utilities is not None])
        if with_utilities
        else None,
        [view for part in parts for view in part.views],
        [place for part in parts for place in part.places],
        chooser,
    )


def believed(pool: Pool, view: PoolView, place: int, labels: Labels, options: QueryOptions) -> Any:
    """Returns the likeliest label of the item at a view position: of a prior and the classifier, or of partitions.

    An item that partitions put into a class without a label gets the next class of the pool, or a made-up one.
    """
    shares = (class_shares(view) if options.prior is None else view.probs)[0, place]
    if pool.closed:
        shares = shares[: len(pool.classes)]
    likeliest = int(shares.argmax())
    if likeliest < len(pool.classes):
        return pool.classes[likeliest]
    return made_up_class(labels)


def made_up_class(labels: Labels) -> Any:
    """Returns a class that no label has, of the kind that labels have; one that they have where there is no other."""
    if not labels.seen:
        return 0
    kind, last = labels.values.dtype.kind, labels.seen[-1]
    if kind in "iuf":
        return last + 1 if abs(last) < 2**53 else last  # beyond that float64 does not tell neighbours apart
    if kind == "b":
        return not last
    return max(labels.seen, key=len) + "+"
