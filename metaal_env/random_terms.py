"""Draws the terms of tasks: prices, batch sizes, shares of targets, and what costs depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaal_env.tasks import TaskConfig, bounds, float_bounds


def draw_terms(rngs: Sequence[np.random.Generator], config: TaskConfig) -> dict[str, np.ndarray]:
    """Returns the fields of a `TaskBatch` that hold its terms, one task per generator.

    Nothing is drawn where `config` has no terms, and all else of a task is drawn before: terms change no pool.
    """
    b, n = len(rngs), config.max_pool
    prices, shares, hardness = (
        float_bounds(value) for value in (config.price, config.target, config.cost_hardness)
    )
    sizes = bounds(config.batch_size)
    uniform, noise = np.zeros((b, 4)), np.zeros((b, n), dtype=np.float32)
    if config.terms:
        for row, rng in enumerate(rngs):
            rng.random(out=uniform[row])
            if config.item_costs:
                rng.standard_normal(out=noise[row], dtype=np.float32)
    of_price, of_share, of_hardness, of_size = uniform.T
    price = np.zeros(b)
    if config.can_stop:
        low, high = np.log(prices)
        price = np.exp(low + of_price * (high - low))
    return {
        "price": price.astype(np.float32),
        "batch_size": (sizes[0] + of_size * (sizes[1] - sizes[0] + 1)).astype(np.int64),
        "target_share": (shares[0] + of_share * (shares[1] - shares[0])).astype(np.float32),
        "cost_noise": noise,
        "cost_hardness": (hardness[0] + of_hardness * (hardness[1] - hardness[0])).astype(np.float32),
    }
