"""Classes that an inner learner has not met, made from those it was trained on.

An embedding is cleaner on the classes it was trained on than on any other, so a policy trained on those very
classes meets pools at deployment such as it has never seen. (Glyphs, 10-way, 20 labels, UHerding: .79 on the
learner's own classes, .70 on unseen ones, .72–.73 on its own classes turned by 180° or mirrored, .53 turned by
90°.) The policy is therefore trained on classes kept from the learner.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metaal_env.datasets.base import ClassDataset

ORIENTATIONS = {"180°": (2, False), "mirrored": (0, True), "mirrored 180°": (2, True), "90°": (1, False)}
"""Quarter turns and whether to mirror afterwards; four of the square's seven others, for their cost."""


def learner_and_policy_parts(train: ClassDataset) -> tuple[ClassDataset, ClassDataset]:
    """Two data sets without a common class, from one: for the learner's and for the policy's training.

    Images: the learner takes all classes, the policy the same turned and mirrored (Santoro et al. 2016 make new
    characters by rotation too). Vectors: every second class each, in a fixed shuffled order; where that
    leaves either with fewer than ten classes, both take all.
    """
    if train.modality == "image":
        return train, turned(train)
    if train.n_classes < 20:
        return train, train
    order = np.random.default_rng(0).permutation(train.n_classes)
    return train.classes(sorted(order[::2].tolist())), train.classes(sorted(order[1::2].tolist()))


def turned(dataset: ClassDataset) -> ClassDataset:
    """Every class in each of `ORIENTATIONS`, as classes of their own; (M, C, H, W) images → (4 M, C, H, W)."""
    parts = len(ORIENTATIONS)
    return replace(
        dataset,
        inputs=torch.cat([_turn(dataset.inputs, *how) for how in ORIENTATIONS.values()]),
        labels=torch.cat([dataset.labels + i * dataset.n_classes for i in range(parts)]),
        class_names=tuple(f"{name} {how}" for how in ORIENTATIONS for name in dataset.class_names),
        groups=dataset.groups * parts,
        class_split=None if dataset.class_split is None else dataset.class_split * parts,
        texts=None if dataset.texts is None else dataset.texts * parts,
    )


def _turn(images: Tensor, quarters: int, mirror: bool) -> Tensor:
    images = torch.rot90(images, quarters, (2, 3))
    return images.flip(3) if mirror else images
