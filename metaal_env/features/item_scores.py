"""Registers the item scores beside those of `rules.py`: how an item compares with the others of its pool."""

from __future__ import annotations

from torch import Tensor

from metaal_env.features import rules, shared  # rules register first
from metaal_env.features.catalogue import item_score
from metaal_env.pool.ball_cover import ball_gain, pure_radius
from metaal_env.pool.clusters import class_clusters, uncovered_first
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.partitions import partition_cover, partition_novelty, typicality_within
from metaal_env.pool.view import PoolView


@item_score(
    "herding_narrow",
    "gain in coverage of the pool by a narrow kernel",
    high="it has many close neighbours without a label",
    low="its close neighbours are covered",
)
def herding_narrow(view: PoolView) -> Tensor:
    return rules.herding_gain(view, shared.WIDTHS[0])


@item_score(
    "herding_wide",
    "gain in coverage of the pool by a wide kernel",
    high="its wider region has no label",
    low="its wider region is covered",
)
def herding_wide(view: PoolView) -> Tensor:
    return rules.herding_gain(view, shared.WIDTHS[-1])


@item_score(
    "density",
    "mean similarity to the pool",
    high="it is typical of the pool",
    low="it is unlike most of the pool",
)
def density(view: PoolView) -> Tensor:
    return view.geometry.density(shared.DENSITY_WIDTH)


@item_score(
    "neighbour_novelty",
    "mean over its neighbours of the probability that their class has no label",
    high="its neighbours may be a new class",
    low="its neighbours' classes have labels",
)
def neighbour_novelty(view: PoolView) -> Tensor:
    return shared.neighbour_means(view)[..., 0]


@item_score(
    "neighbour_margin",
    "mean over its neighbours of one minus the gap between their two largest class probabilities",
    high="its neighbours are uncertain",
    low="its neighbours are certain",
)
def neighbour_margin(view: PoolView) -> Tensor:
    return shared.neighbour_means(view)[..., 1]


@item_score(
    "probcover",
    "number of items in a ball around it that no label covers yet",
    high="many items near it are far from every label",
    low="few items near it lack a label nearby",
)
def probcover(view: PoolView) -> Tensor:
    return ball_gain(view, pure_radius(view))[0]


@item_score(
    "open_cluster",
    "rank of its cluster: fewest labels first, then the largest",
    high="its cluster is large and has no or few labels",
    low="its cluster is small or has labels",
)
def open_cluster(view: PoolView) -> Tensor:
    return uncovered_first(view, class_clusters(view)).to(view.logits)


@item_score(
    "class_need",
    "mean of 1 / (1 + labels) over its likely classes",
    high="its likely classes have few labels",
    low="its likely classes have many labels",
)
def class_need(view: PoolView) -> Tensor:
    return shared.class_means(view)[..., 0]


@item_score(
    "class_mass",
    "mean share of the pool of its likely classes",
    high="its likely classes are frequent",
    low="its likely classes are rare",
)
def class_mass(view: PoolView) -> Tensor:
    return shared.class_means(view)[..., 1]


item_score(
    "walk_margin",
    "one minus the lead of the class at which most walks from it end",
    high="paths from it lead to no label or to several classes",
    low="paths from it lead to one class",
)(shared.walk_margin)

item_score(
    "walk_need",
    "mean of 1 / (1 + labels) over the classes where walks from it end; 1 where they reach no label",
    high="paths from it lead to no or rare labels",
    low="paths from it lead to classes with labels",
)(shared.walk_need)


@item_score(
    "walk_gain",
    "visits by walks that start at items whose walks end at no class in particular",
    high="paths from many undecided items meet here",
    low="few paths from undecided items meet here",
)
def walk_gain(view: PoolView) -> Tensor:
    return shared.visits(view)[:, 0]


@item_score(
    "walk_uherding",
    "visits by walks that start at items of which the learner is unsure",
    high="paths from many uncertain items meet here",
    low="few paths from uncertain items meet here",
)
def walk_uherding(view: PoolView) -> Tensor:
    return shared.visits(view)[:, 1]


item_score(
    "expected_accuracy",
    "share of the pool that is expected to be classified rightly once it is labelled",
    high="its label would set many other items right",
    low="its label would set few other items right",
)(expected_accuracy)

item_score(
    "expected_likelihood",
    "mean probability of the true classes that is expected once it is labelled",
    high="its label would make much else surer",
    low="its label would make little else surer",
)(expected_likelihood)

item_score(
    "partition_cover",
    "gain in coverage where similarity is the share of partitions in one class",
    high="it stands for a group without a label",
    low="its group is small or has a label",
)(partition_cover)

item_score(
    "partition_novelty",
    "share of the partitions in which its class has no label",
    high="its group has no label",
    low="its group has labels",
)(partition_novelty)

item_score(
    "typicality_within",
    "nearness to the middle of its class, averaged over partitions",
    high="it is typical of its group",
    low="it is unlike the rest of its group",
)(typicality_within)
