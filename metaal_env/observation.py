"""The observation: which arrays of a `PoolView` every API shows, how they are computed, and their Gymnasium space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metaal_env.batched import any_in_rows
from metaal_env.errors import InputError, unknown_name
from metaal_env.features import ITEM_FEATURES, ITEM_SCORES, POOL_FEATURES, FeatureNames, extract
from metaal_env.pool.view import PoolView
from metaal_env.tasks import TaskConfig

PENDING, PADDING, UNKNOWN = -3, -2, -1
"""Entries of ``labels``; a revealed distractor reads K, one more than the last class."""

WIDE = ("embeddings", "class_probabilities")
"""Entries with a row of numbers for every item, which a list of feature names may ask for as well."""

SHARED = ("embeddings",)
"""Entries whose memory the observations of a pool share; all others are new."""

RAW = ("margin_absolute", "entropy_absolute", "novelty_absolute", "budget_left")
"""Features that cost next to nothing beside the decision process."""

GEOMETRY = (
    "k_center", "max_herding", "uherding", "herding_narrow", "herding_wide", "density", "near_0", "near_1", "near_2",
    "labels_per_class", "classes_seen", "count_evenness", "mean_margin", "mean_entropy", "mean_novelty", "log_way",
    "log_pool", "covered_0", "covered_1", "covered_2", "contrast", "mean_density", "planned_labels",
)  # fmt: skip
"""Features of distances, kernels and counts, without clusters, walks or look-ahead."""


COSTLY = ("present_accuracy", "best_gain")
"""Features of a task's terms that only ``"full"`` shows, because they need partitions."""


@dataclass(frozen=True)
class Shown:
    """Selects what an observation shows.

    Attributes:
        names: features of items and pools; only these are computed.
        wide: which of `WIDE` it has.
        stop: whether an extra action ends the episode.
    """

    names: FeatureNames
    wide: tuple[str, ...] = WIDE
    stop: bool = False


def parse_observation(observation: str | Iterable[str], config: TaskConfig | None = None) -> Shown:
    """Returns what an environment's option ``observation`` asks for.

    Args:
        observation: ``"raw"``, ``"compact"``, ``"standard"``, ``"full"``, or names of features and entries of `WIDE`.
        config: of the tasks. All choices but a list of names also show the features that its terms call for.

    Raises:
        InputError: an unknown choice or name; it says what there is.
    """
    terms = () if config is None else config.terms
    stop = "price" in terms
    if isinstance(observation, str):
        every = FeatureNames.registered(terms)
        if observation == "full":
            return Shown(every, stop=stop)
        if observation not in ("raw", "standard", "compact"):
            raise InputError(
                f"observation={observation!r} is unknown; choose 'raw', 'compact', 'standard', 'full' or a list of "
                "feature names."
            )
        of_terms = set(every.all) - set(FeatureNames.registered().all) - set(COSTLY)
        chosen = RAW if observation == "raw" else RAW + GEOMETRY
        wide = () if observation == "compact" else WIDE
        return Shown(_in_order([*chosen, *of_terms]), wide, stop)
    try:
        wanted: list[Any] = list(observation)
    except TypeError:
        wanted = [observation]
    known = [*WIDE, *ITEM_SCORES, *ITEM_FEATURES, *POOL_FEATURES]
    for name in wanted:
        if not isinstance(name, str):
            raise InputError(
                f"observation={observation!r} must be a choice of 'raw', 'compact', 'standard', 'full', "
                "or a list of names."
            )
        if name not in known:
            raise unknown_name("feature", name, known)
    return Shown(_in_order(wanted), tuple(name for name in WIDE if name in wanted), stop)


def _in_order(wanted: Iterable[str]) -> FeatureNames:
    """Returns the wanted names as `FeatureNames`, each kind in the order of registration."""
    chosen = set(wanted)
    kinds = (ITEM_SCORES, ITEM_FEATURES, POOL_FEATURES)
    return FeatureNames(*(tuple(name for name in kind if name in chosen) for kind in kinds))


class FeatureBox(spaces.Box):
    """A `gymnasium.spaces.Box` whose last dimension holds the features `names`.

    Boxes of other features are other spaces; one without names, as wrappers make them, equals those of its shape.
    """

    def __init__(self, names: tuple[str, ...], shape: tuple[int, ...]):
        super().__init__(-np.inf, np.inf, shape, np.float32)
        self.names = names

    def __eq__(self, other: Any) -> bool:
        return super().__eq__(other) and getattr(other, "names", self.names) == self.names


def observation_space(config: TaskConfig, embedding_dim: int, shown: Shown) -> spaces.Dict:
    """Returns the space of one episode's observation; see `observe`.

    No key may be an attribute of `torch.nn.ModuleDict` (``items``, ``keys``, ``values``, ``type``, …):
    stable-baselines3 and others keep one extractor per key in such a dictionary.
    """
    n, k = config.max_pool, config.max_way
    items, pool = shown.names.items, shown.names.pool_features
    entries: dict[str, spaces.Space[Any]] = {
        "item_features": FeatureBox(items, (n, len(items))),
        "pool_features": FeatureBox(pool, (len(pool),)),
        "class_probabilities": spaces.Box(0, 1, (n, k), np.float32),
        "embeddings": spaces.Box(-np.inf, np.inf, (n, embedding_dim), np.float32),
        "labels": spaces.Box(PENDING if config.max_batch > 1 else PADDING, k, (n,), np.int64),
        "action_mask": spaces.Box(0, 1, (config.n_actions,), np.int8),
    }
    absent = set(WIDE) - set(shown.wide)
    return spaces.Dict(
        {
            key: space
            for key, space in entries.items()
            if key not in absent and space.shape and 0 not in space.shape
        }
    )


@torch.no_grad()
def observe(view: PoolView, shown: Shown) -> dict[str, Tensor]:
    """Returns what an agent is shown of B pools; entries that `shown` leaves out are not computed.

    Returns:
        item_features: (B, N, F) `FeatureNames.items`.
        pool_features: (B, P) `FeatureNames.pool_features`.
        class_probabilities: (B, N, K) of the adapted inner learner; 0 outside the task's classes and at padding.
        embeddings: (B, N, D), scaled to a mean squared distance of 1 between items; 0 at padding. Never written to
            again, so that observations of one episode share them where the learner leaves them as they are.
        labels: (B, N) int64: `PADDING`, `UNKNOWN`, a class in 0…K − 1, K for a revealed distractor, or `PENDING` in an
            open batch.
        action_mask: (B, A) int8; see `mask_actions`.
    """
    found: dict[str, Tensor] = {}
    features = extract(view, shown.names)
    if shown.names.items:
        found["item_features"] = features.items
    if shown.names.pool_features:
        found["pool_features"] = features.episode
    if "class_probabilities" in shown.wide:
        probs = view.beliefs.probs
        if not (view.geometry.exact and view.geometry.all_landmarks_real):  # there is padding
            probs = probs * view.valid.unsqueeze(1)
        found["class_probabilities"] = probs.transpose(1, 2)
    if "embeddings" in shown.wide:
        found["embeddings"] = view.geometry.scaled
    labels = torch.where(view.labelled & (view.labels < 0), view.class_mask.shape[1], view.labels)
    if view.terms is not None:
        labels = torch.where(view.terms.pending, PENDING, labels)
    found["labels"] = torch.where(view.valid, labels, PADDING)
    found["action_mask"] = mask_actions(view.selectable, view.valid, shown.stop).to(torch.int8)
    return found


def mask_actions(selectable: Tensor, valid: Tensor, stop: bool) -> Tensor:
    """Returns (B, A) bool, True at items that may be labelled, and where `stop` at the last action, which ends.

    A mask is never empty: where nothing may be labelled, as after the end of an episode, all real items are marked.
    """
    mask = torch.where(any_in_rows(selectable).unsqueeze(1), selectable, valid)
    return torch.cat([mask, torch.ones_like(mask[:, :1])], 1) if stop else mask
