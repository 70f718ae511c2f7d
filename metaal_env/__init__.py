"""metaal: active learning as a Gymnasium environment, with a meta-learned classifier as the inner learner.

Importing this package registers ``MetaAL-v0`` and its named variants with Gymnasium.
"""

import gymnasium as gym

from metaal_env.errors import InputError

VARIANTS = {
    "MetaAL-v0": "glyphs",
    "MetaAL-Glyphs-v0": "glyphs",
    "MetaAL-Languages-v0": "languages",
    "MetaAL-Digits-v0": "digits",
    "MetaAL-Iris-v0": "iris",
    "MetaAL-Wine-v0": "wine",
    "MetaAL-BreastCancer-v0": "breast_cancer",
    "MetaAL-Omniglot-v0": "omniglot",
    "MetaAL-CIFAR100-v0": "cifar100",
}
"""Registered id → data set. The last two need torchvision's files; the others need no download."""

_SMALL = {"way": 2, "pool_size": 40, "budget": 10}  # few classes, or few items in a class
_OPTIONS = {
    "digits": _SMALL,
    "iris": {**_SMALL, "pool_size": 30, "reward_per_class": 8, "test_per_class": 8},
    "wine": {**_SMALL, "pool_size": 30, "reward_per_class": 8, "test_per_class": 8},
    "breast_cancer": _SMALL,
    "languages": {"reward_per_class": 5, "test_per_class": 5},
    "omniglot": {"pool_size": 80, "reward_per_class": 4, "test_per_class": 4},
}

for _id, _dataset in VARIANTS.items():
    gym.register(
        _id,
        entry_point="metaal_env.env:MetaALEnv",
        vector_entry_point="metaal_env.vector_env:MetaALVectorEnv",
        kwargs={"dataset": _dataset, **_OPTIONS.get(_dataset, {})},
    )

__all__ = ["VARIANTS", "InputError"]
