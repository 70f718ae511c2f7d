"""Registers the item features whose values mean the same in every pool.

Those that are item scores as well end in ``_absolute``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.features import item_scores, rules, shared  # item scores register first
from metaal_env.features.catalogue import ITEM_SCORES, Function, item_feature
from metaal_env.pool.clusters import class_clusters
from metaal_env.pool.partitions import partition_novelty, typicality_within
from metaal_env.pool.view import PoolView


def _absolute(score: str, function: Function) -> Function:
    """Registers the values of an item score as they are before standardising."""
    known = ITEM_SCORES[score]
    return item_feature(f"{score}_absolute", known.meaning, high=known.high, low=known.low)(function)


@item_feature(
    "top1",
    "largest class probability",
    high="its likeliest class is sure",
    low="its likeliest class is unsure",
)
def top1(view: PoolView) -> Tensor:
    return view.beliefs.top[0]


@item_feature(
    "top2",
    "second largest class probability",
    high="its second class is likely",
    low="its second class is unlikely",
)
def top2(view: PoolView) -> Tensor:
    return view.beliefs.top[1]


@item_feature(
    "top3",
    "third largest class probability",
    high="its third class is likely",
    low="its third class is unlikely",
)
def top3(view: PoolView) -> Tensor:
    return view.beliefs.top[2]


_absolute("margin", rules.margin)
_absolute("entropy", rules.entropy)
_absolute("novelty", rules.novelty)


@item_feature(
    "near_0",
    "similarity to the nearest label, narrow kernel",
    high="a label is very near",
    low="no label is very near",
)
def near_0(view: PoolView) -> Tensor:
    return view.nearest_similarity(shared.WIDTHS[0])


@item_feature(
    "near_1",
    "similarity to the nearest label, middle kernel",
    high="a label is near",
    low="no label is near",
)
def near_1(view: PoolView) -> Tensor:
    return view.nearest_similarity(shared.WIDTHS[1])


@item_feature(
    "near_2",
    "similarity to the nearest label, wide kernel",
    high="a label is in its region",
    low="no label is in its region",
)
def near_2(view: PoolView) -> Tensor:
    return view.nearest_similarity(shared.WIDTHS[2])


@item_feature("labelled", "1 if it is labelled", high="it is labelled", low="it is not labelled")
def labelled(view: PoolView) -> Tensor:
    return view.labelled


_absolute("class_need", item_scores.class_need)

item_feature(
    "in_ball",
    "1 if a label is within the radius at which balls lie in one cluster",
    high="a label is next to it",
    low="no label is next to it",
)(shared.in_ball)


@item_feature(
    "cluster_share",
    "share of the pool in its cluster",
    high="its cluster is large",
    low="its cluster is small",
)
def cluster_share(view: PoolView) -> Tensor:
    return shared.clusters(view)[0].gather(1, class_clusters(view).assignment)


@item_feature(
    "cluster_labels",
    "log(1 + labels in its cluster)",
    high="its cluster has labels",
    low="its cluster has no labels",
)
def cluster_labels(view: PoolView) -> Tensor:
    return torch.log1p(shared.clusters(view)[1]).gather(1, class_clusters(view).assignment)


@item_feature(
    "reached",
    "probability that a walk from it ends at a label",
    high="paths from it lead to a label",
    low="paths from it lead to no label",
)
def reached(view: PoolView) -> Tensor:
    return shared.ends(view).reached


_absolute("walk_margin", shared.walk_margin)
_absolute("walk_need", shared.walk_need)
_absolute("partition_novelty", partition_novelty)
_absolute("typicality_within", typicality_within)
