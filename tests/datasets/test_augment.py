"""Classes kept from the learner for the policy's training."""

from dataclasses import replace

import torch
from helpers.clusters import cluster_dataset

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.unseen_classes import ORIENTATIONS, ROTATIONS, learner_and_policy_parts, turned


def images(classes: int = 3, items: int = 4) -> ClassDataset:
    data = cluster_dataset(classes=classes, items=items, dim=9)
    pixels = torch.randint(0, 256, (classes * items, 1, 3, 3), dtype=torch.uint8)
    return replace(data, inputs=pixels, modality="image")


def test_every_class_appears_in_every_orientation_as_its_own() -> None:
    data = images()
    out = turned(data, ORIENTATIONS)
    assert out.n_classes == 4 * data.n_classes and len(out) == 4 * len(data)
    for i, (quarters, mirror) in enumerate(ORIENTATIONS.values()):
        part = out.inputs[out.labels // data.n_classes == i]
        expected = torch.stack([x.rot90(quarters, (1, 2)) for x in data.inputs])
        assert torch.equal(part, expected.flip(3) if mirror else expected)
        assert torch.equal(out.labels[i * len(data) : (i + 1) * len(data)] % data.n_classes, data.labels)
        assert not torch.equal(part, data.inputs)


def test_rotations_are_classes_of_their_own() -> None:
    data = images(classes=2, items=1)
    out = turned(data, ROTATIONS)
    assert out.n_classes == 8 and len(out) == 8 and out.labels.tolist() == list(range(8))
    assert torch.equal(out.inputs[3], torch.rot90(data.inputs[1], 1, (1, 2)))
    assert out.class_names[3] == f"{data.class_names[1]} turned 90°"


def test_learner_and_policy_share_no_class() -> None:
    learner, policy = learner_and_policy_parts(images())
    assert not set(learner.class_names) & set(policy.class_names)
    learner, policy = learner_and_policy_parts(cluster_dataset(classes=24))
    assert not set(learner.class_names) & set(policy.class_names)
    assert learner.n_classes == policy.n_classes == 12
    few = cluster_dataset(classes=12)
    assert learner_and_policy_parts(few) == (few, few)
