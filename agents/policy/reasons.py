"""Why an item is suggested, in plain words."""

from __future__ import annotations

from typing import NamedTuple

from agents.policy.attribution import explain
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy
from metaal_env.features import RULES, extract
from metaal_env.pool.view import PoolView

MEANING = {
    "least_confident": ("no class is likely", "one class is likely"),
    "margin": ("two classes are equally likely", "one class stands out"),
    "entropy": ("many classes are possible", "few classes are possible"),
    "novelty": ("it may belong to a class without a label", "its class has labels already"),
    "k_center": ("it is far from every label", "it is near a label"),
    "max_herding": ("its region has many items and no label", "its region is small or covered"),
    "uherding": ("it stands for many uncertain items", "it stands for few uncertain items"),
    "herding_narrow": ("it has many close neighbours without a label", "its close neighbours are covered"),
    "herding_wide": ("its wider region has no label", "its wider region is covered"),
    "density": ("it is typical of the pool", "it is unlike most of the pool"),
    "neighbour_novelty": ("its neighbours may be a new class", "its neighbours' classes have labels"),
    "neighbour_margin": ("its neighbours are uncertain", "its neighbours are certain"),
    "probcover": ("many items near it are far from every label", "few items near it lack a label nearby"),
    "open_cluster": ("its cluster is large and has no or few labels", "its cluster is small or has labels"),
    "class_need": ("its likely classes have few labels", "its likely classes have many labels"),
    "class_mass": ("its likely classes are frequent", "its likely classes are rare"),
    "walk_margin": (
        "paths from it lead to no label or to several classes",
        "paths from it lead to one class",
    ),
    "walk_need": ("paths from it lead to no or rare labels", "paths from it lead to classes with labels"),
    "walk_gain": ("paths from many undecided items meet here", "few paths from undecided items meet here"),
    "walk_uherding": (
        "paths from many uncertain items meet here",
        "few paths from uncertain items meet here",
    ),
    "expected_accuracy": (
        "its label would set many other items right",
        "its label would set few other items right",
    ),
    "expected_likelihood": ("its label would make much else surer", "its label would make little else surer"),
    "partition_cover": ("it stands for a group without a label", "its group is small or has a label"),
    "partition_novelty": ("its group has no label", "its group has labels"),
    "typicality_within": ("it is typical of its group", "it is unlike the rest of its group"),
    "top1": ("its likeliest class is sure", "its likeliest class is unsure"),
    "top2": ("its second class is likely", "its second class is unlikely"),
    "top3": ("its third class is likely", "its third class is unlikely"),
    "near_0": ("a label is very near", "no label is very near"),
    "near_1": ("a label is near", "no label is near"),
    "near_2": ("a label is in its region", "no label is in its region"),
    "in_ball": ("a label is next to it", "no label is next to it"),
    "reached": ("paths from it lead to a label", "paths from it lead to no label"),
    "cluster_share": ("its cluster is large", "its cluster is small"),
    "cluster_labels": ("its cluster has labels", "its cluster has no labels"),
    "labelled": ("it is labelled", "it is not labelled"),
}
"""Feature → what a value above and below the average item's means."""


class Part(NamedTuple):
    """What one feature has to do with an item's score."""

    name: str
    prior: float
    correction: float
    value: float  # the item's feature less the average item's

    @property
    def weight(self) -> float:
        return self.prior + self.correction


def parts(strategy: Strategy, view: PoolView, position: int) -> list[Part]:
    """One part per feature of the item at `position` of pool 0.

    For a learned policy they are contributions to its score. Of a hand-written rule, which is its own
    reason, they say where the item stands out from the pool, in standard deviations.
    """
    if isinstance(strategy, LearnedStrategy):
        found = explain(strategy.network, view, position)
        return [
            Part(name, found.prior.get(name, 0.0), correction, found.values[name])
            for name, correction in found.correction.items()
        ]
    items = extract(view).items[0, position, : len(RULES)]
    return [Part(name, value, 0.0, value) for name, value in zip(RULES, items.tolist(), strict=True)]


def words(part: Part) -> str:
    """The feature's value in plain words."""
    high, low = MEANING[part.name.removesuffix("_absolute")]
    return high if part.value >= 0 else low


def reasons(strategy: Strategy, view: PoolView, position: int, most: int = 3) -> list[tuple[str, float, str]]:
    """What speaks most for the item: (feature, weight, plain words), at most `most`, strongest first.

    The weights are those of `parts`.
    """
    speaking = [part for part in parts(strategy, view, position) if part.weight > 0]
    told: dict[str, tuple[str, float, str]] = {}
    for part in sorted(speaking, key=lambda part: -part.weight):
        told.setdefault(words(part), (part.name, part.weight, words(part)))
    return list(told.values())[:most]


def in_words(found: list[tuple[str, float, str]]) -> str:
    """One line for a table or a terminal."""
    return "; ".join(told for _, _, told in found) or "no feature stands out"
