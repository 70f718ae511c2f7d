"""Classes that an inner learner has not met, made from those it was trained on.

An embedding separates its training classes better than any others, so a policy trained on the same classes would
meet harder pools at deployment than in training. The policy is therefore trained on classes kept from the
learner; docs/log/2026-11.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metaal_env.datasets.base import ClassDataset

ORIENTATIONS = {"180°": (2, False), "mirrored": (0, True), "mirrored 180°": (2, True), "90°": (1, False)}
"""Name → number of quarter turns, and whether to mirror afterwards. Four of the seven others, to save time."""

ROTATIONS = {f"turned {90 * k}°": (k, False) for k in range(4)}
"""The class itself and its three rotations (Santoro et al. 2016), for classes that a rotation changes into others."""


def learner_and_policy_parts(train: ClassDataset) -> tuple[ClassDataset, ClassDataset]:
    """Returns two data sets without a common class, for the learner's and for the policy's training.

    Of images the learner takes all classes and the policy takes them in `ORIENTATIONS` (as Santoro et al. 2016
    make new characters). Of vectors each takes every second class, in a fixed shuffled order. Where that leaves
    fewer than ten classes, both take all.
    """
    if train.modality == "image":
        return train, turned(train, ORIENTATIONS)
    if train.n_classes < 20:
        return train, train
    order = np.random.default_rng(0).permutation(train.n_classes)
    return train.classes(sorted(order[::2].tolist())), train.classes(sorted(order[1::2].tolist()))


def turned(dataset: ClassDataset, orientations: Mapping[str, tuple[int, bool]]) -> ClassDataset:
    """Returns every class in each of P orientations, as classes of their own.

    Args:
        dataset: (M, C, H, W) images.
        orientations: as `ORIENTATIONS`; the names are appended to those of the classes.

    Returns:
        (P·M, C, H, W) images of P times as many classes, one orientation after the other.
    """
    parts = len(orientations)
    return replace(
        dataset,
        inputs=torch.cat([_turn(dataset.inputs, *how) for how in orientations.values()]),
        labels=torch.cat([dataset.labels + i * dataset.n_classes for i in range(parts)]),
        class_names=tuple(f"{name} {how}" for how in orientations for name in dataset.class_names),
        groups=dataset.groups * parts,
        class_split=None if dataset.class_split is None else dataset.class_split * parts,
        texts=None if dataset.texts is None else dataset.texts * parts,
    )


def _turn(images: Tensor, quarters: int, mirror: bool) -> Tensor:
    images = torch.rot90(images, quarters, (2, 3))
    return images.flip(3) if mirror else images
