"""metaal: active learning as a Gymnasium environment, with a meta-learned classifier as the inner learner.

Importing this package registers ``MetaAL-v0`` and its named variants with Gymnasium.
"""

from typing import Any

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
    "MetaAL-Stop-v0": "glyphs",
    "MetaAL-Batch-v0": "glyphs",
    "MetaAL-Cost-v0": "glyphs",
    "MetaAL-Target-v0": "glyphs",
    "MetaAL-Toy-v0": "toy",
}
"""Registered id → data set. Omniglot and CIFAR-100 need torchvision's files; the others need no download."""

PROBLEMS: dict[str, dict[str, Any]] = {
    "MetaAL-Stop-v0": {"reward": "accuracy_gain", "price": (0.002, 0.05), "budget": 40},
    "MetaAL-Batch-v0": {"batch_size": 5},
    "MetaAL-Cost-v0": {"reward": "aulc_over_money", "item_costs": 0.7, "cost_hardness": (0.0, 0.9)},
    "MetaAL-Target-v0": {"reward": "label_cost", "target": (0.5, 0.9), "budget": 60},
    "MetaAL-Toy-v0": {"learner": "svm", "reward": "accuracy_gain", "price": 0.05, "way": 4, "pool_size": 8, "budget": 7,
                      "class_concentration": float("inf"), "reward_per_class": 2, "test_per_class": 1},
}  # fmt: skip
"""Ids whose problem is another than the best area under the learning curve, and the options that make it; see
docs/environments.md."""

_SMALL = {"way": 2, "pool_size": 40, "budget": 10}  # few classes, or few items in a class
_OPTIONS: dict[str, dict[str, Any]] = {
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
        kwargs={"dataset": _dataset, **_OPTIONS.get(_dataset, {}), **PROBLEMS.get(_id, {})},
    )

__all__ = ["PROBLEMS", "VARIANTS", "InputError"]
